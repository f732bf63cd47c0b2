"""What the screen shows for what its controls say."""

from dataclasses import replace

import numpy as np
import pytest
from explored import DIGITS, REGIONS, SCENES, opened

from alutils.explorer.pictures import CAPTION, GAP, blank, framed, panels, thumbnail
from alutils.explorer.ranking import AS_CHOSEN, CHOSEN, EVERY_CLASS, LABELLED, TEST, UNLABELLED
from alutils.explorer.screen import BOTH, NOTHING, ONLY, Screen, State

pytestmark = pytest.mark.usefixtures("quick_provenance")
of_tiny_scenes = pytest.mark.usefixtures("tiny_everywhere")
RANDOM = replace(SCENES, query="random")
START = State(SCENES.run_name, NOTHING, 0, CHOSEN, AS_CHOSEN, EVERY_CLASS, "vote_entropy", 1)
TWO = replace(START, beside=RANDOM.run_name)


@pytest.fixture
def screen() -> Screen:
    return Screen({config.run_name: opened(config) for config in (SCENES, RANDOM, REGIONS)})


@of_tiny_scenes
def test_the_picture_is_of_the_image_at_the_rank(screen: Screen):
    run = screen.runs[START.run]
    for rank in range(1, 4):
        (view,) = screen.views(replace(START, number=1, rank=rank))
        assert (view.number, view.split, view.index) == (1, "train", run.chosen(1)[rank - 1])
        assert (screen.picture(replace(START, number=1, rank=rank))[:-GAP] == panels(run, view)).all()
    assert screen.views(replace(START, rank=99))[0].index == run.chosen(0)[-1], "past the last one is the last one"


@of_tiny_scenes
def test_two_runs_look_at_the_same_image(screen: Screen):
    height = len(screen.picture(START))
    start, later = (screen.picture(replace(TWO, number=number)) for number in (0, 1))
    assert screen.views(TWO)[0] == screen.views(TWO)[1]
    assert len(start) == 2 * height
    assert (start[CAPTION:height] == start[height + CAPTION :]).all(), "they start with the same network"
    assert (later[:height] != later[height:]).any()
    assert "vote entropy</b>, round 0" in screen.text(TWO)
    assert "random</b>, round 0" in screen.text(TWO)


@of_tiny_scenes
def test_the_text_says_round_labels_score_and_image(screen: Screen):
    run = screen.runs[START.run]
    text = screen.text(replace(START, number=1, rank=2))
    miou, name = run.rounds["miou"].iloc[1], run.train_set.item_names[run.chosen(1)[1]]
    assert f"round 1: 6 labelled images, mean IoU {miou:.3f}, then chose 3 images" in text
    assert f"image 2 of 3: {name}<br>chosen for round 2; " in text
    assert "labelled since round 0" in screen.text(replace(START, which=LABELLED))
    assert "never labelled" in screen.text(replace(START, which=UNLABELLED, rank=8, number=2))
    assert "a test image" in screen.text(replace(START, which=TEST))
    both = screen.text(replace(TWO, which=UNLABELLED, number=2))
    assert "<br>vote entropy: never labelled; " in both
    assert "<br>random: " in both
    of_regions = screen.text(replace(START, run=REGIONS.run_name))
    assert "regions in" in of_regions


@of_tiny_scenes
def test_after_the_last_round_the_screen_says_that_nothing_is_chosen(screen: Screen):
    last = replace(TWO, number=2)
    assert screen.views(last) == []
    assert "the last round, after which nothing is chosen" in screen.text(last)
    assert screen.picture(last).shape[0] < 40
    assert (screen.picture(last) == blank(screen._why_none(last))).all()
    assert "after the last round nothing is chosen; images: labelled so far, " in screen._why_none(last)
    assert screen._why_none(replace(last, which=LABELLED, class_name="a")) == "there are no such images"
    assert screen.thumbnails(last).shape[0] < 80
    assert screen.pixel(last, 50, 50) == ""


@of_tiny_scenes
def test_a_pixel_is_told_with_probabilities_votes_and_scores(screen: Screen):
    run = screen.runs[START.run]
    (view,) = screen.views(START)
    said = screen.pixel(START, 10 * 12 + 5, CAPTION + 10 * 7 + 5)
    look = run.look(view.number, view.split, view.index)
    probabilities = look.statistics["mean_probability"][0, :, 7, 12].numpy()
    votes = (look.statistics["vote_share"][0, :, 7, 12].numpy() * 4).round().astype(int)
    names = [*run.train_set.class_names, "void"]
    label, predicted = run.train_set.labels[view.index][7, 12], look.prediction[7, 12]
    label_name = "void" if label == 255 else names[label]
    assert f"row 7, column 12: label {label_name}, predicted {names[predicted]}" in said
    for name, probability, vote in zip("abc", probabilities, votes, strict=True):
        assert f"{name}</td><td>{probability:.2f}</td><td>{vote} of 4</td>" in said
    assert f"vote entropy {run.score_map(look, 'vote_entropy')[7, 12]:.3f}" in said
    assert screen.pixel(START, 10 * 12 + 5, 3) == "", "a caption"
    assert "row 7" in screen.pixel(TWO, 10 * 12 + 5, len(screen.picture(START)) + CAPTION + 10 * 7 + 5)
    assert screen.pixel(START, 10 * 12 + 5, len(screen.picture(START)) + CAPTION + 75) == "", "no run is there"


@of_tiny_scenes
def test_thumbnails_show_what_both_chose_in_green_and_lead_to_their_image(screen: Screen):
    chosen = screen.chosen(TWO)
    both = {*chosen[0]} & {*chosen[1]}
    picture = screen.thumbnails(TWO)
    small = framed(thumbnail(screen.runs[TWO.run], 0), ONLY)
    high, wide = len(small) + CAPTION + GAP, small.shape[1] + GAP
    for row, images in enumerate(chosen):
        for place, index in enumerate(images):
            frame = picture[row * high + CAPTION, place * wide]
            assert tuple(frame) == (BOTH if index in both else ONLY)
            there = screen.at_thumbnail(TWO, place * wide + 9, row * high + CAPTION + 9)
            assert there
            assert screen.views(there)[0].index == index
    assert screen.at_thumbnail(TWO, 3 * wide + 9, 40) is None
    assert screen.at_thumbnail(TWO, 9, 2 * high + 9) is None


@of_tiny_scenes
def test_every_image_of_the_pool_can_be_gone_to(screen: Screen):
    for number in range(3):
        for index in range(12):
            there = screen.at_image(replace(START, number=number), index)
            assert screen.views(there)[0].index == index
    with pytest.raises(ValueError, match="image is 12; allowed: 0 to 11"):
        screen.at_image(START, 12)


@of_tiny_scenes
def test_curves_are_marked_at_the_round_and_lead_back_to_it(screen: Screen):
    curve = screen.curve(TWO.run, TWO.beside)
    plain = curve.marked(0)
    for number in range(3):
        changed = np.flatnonzero((curve.marked(number) != plain).any(axis=(0, 2)))
        at = np.flatnonzero((curve.marked(number)[len(plain) // 2] == (200, 0, 0)).all(axis=1))
        assert curve.round_at(int(at[0])) == number
        assert len(changed) == (4 if number else 0), "the mark is two columns wide, and the one of round 0 is gone"
    assert curve.round_at(0) == 0
    assert curve.round_at(9999) == 2


@of_tiny_scenes
def test_neighbours_are_asked_about_ahead(screen: Screen):
    run = screen.runs[START.run]
    run.look.cache_clear()
    for _ in screen.ahead(replace(START, number=1, rank=2)):
        pass
    assert run.look.cache_info().currsize >= 3
    missed = run.look.cache_info().misses
    for neighbour in (replace(START, number=1, rank=1), replace(START, number=1, rank=3), replace(START, rank=2)):
        screen.picture(neighbour)
    assert run.look.cache_info().misses == missed


def test_digits_have_no_pixels_but_all_else():
    screen = Screen({DIGITS.run_name: opened(DIGITS)})
    state = replace(START, run=DIGITS.run_name)
    assert screen.picture(state).shape[2] == 3
    assert "accuracy" in screen.text(state)
    assert screen.pixel(state, 50, 50) == ""
    assert screen.at_thumbnail(state, 9, CAPTION + 9)
