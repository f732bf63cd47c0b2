"""Pictures show what is in the arrays, and a place in a picture leads back to its pixel."""

from dataclasses import replace

import numpy as np
import pytest
from explored import DIGITS, REGIONS, SCENES, opened

from alutils.explorer.pictures import (
    CAPTION,
    CHOSEN_BEFORE,
    CHOSEN_NOW,
    GAP,
    View,
    below,
    beside,
    caption,
    colour_table,
    framed,
    outline,
    panels,
    pixel_at,
    zoom_of,
    zoomed,
)

pytestmark = pytest.mark.usefixtures("quick_provenance")
ZOOM = 10  # of images of 32 pixels


@pytest.mark.parametrize(
    ("width", "zoom"), [(28, 11), (32, ZOOM), (256, 2), (480, 1), (512, 1), (1024, 0.5), (2048, 0.25)]
)
def test_panels_are_about_as_wide_as_a_quarter_of_a_screen(width: int, zoom: float):
    assert zoom_of(width) == zoom
    assert 256 <= zoomed(np.zeros((10, width)), zoom).shape[1] <= 600


@pytest.mark.usefixtures("tiny_everywhere")
def test_panels_show_photo_label_prediction_and_disagreement():
    run = opened(SCENES)
    view = View(0, "train", 4, "vote_entropy")
    picture, dataset, look = panels(run, view), run.train_set, run.look(0, "train", 4)
    wide, high = 32 * ZOOM, 24 * ZOOM
    parts = [
        picture[CAPTION : CAPTION + high, left : left + wide][::ZOOM, ::ZOOM]
        for left in range(0, 4 * (wide + GAP), wide + GAP)
    ]
    photo, label, prediction, disagreement = parts[:4]
    assert (photo == dataset.images[4].transpose(1, 2, 0)).all()
    colours = np.array([*dataset.colours, (0, 0, 0)])
    assert (label == colours[np.where(dataset.labels[4] == 255, 3, dataset.labels[4])]).all()
    assert (prediction == colours[look.prediction]).all()
    level = (run.score_map(look, "vote_entropy") / np.log2(3) * 255).astype(int)
    assert (disagreement == colour_table()[level]).mean() > 0.99, "but for rounding"


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_place_in_a_picture_leads_to_its_pixel():
    run = opened(SCENES)
    size, height = (24, 32), 24 * ZOOM + CAPTION + GAP
    for which, row, column in ((0, 0, 0), (1, 23, 31), (1, 7, 12)):
        for panel in range(4):
            left, top = panel * (32 * ZOOM + GAP) + column * ZOOM, which * height + CAPTION + row * ZOOM
            assert pixel_at(size, left + ZOOM // 2, top + ZOOM // 2) == (which, row, column)
    assert pixel_at(size, 0, CAPTION - 1) is None, "a caption"
    assert pixel_at(size, 32 * ZOOM + 1, 100) is None, "between panels"
    assert pixel_at(size, 4 * (32 * ZOOM + GAP) + 3, 100) is None, "the colour scale"
    assert pixel_at((512, 1024), 5, CAPTION + 9) == (0, 18, 10), "of a picture at half its size"
    assert panels(run, View(0, "train", 4, "margin")).shape[0] == height - GAP


@pytest.mark.usefixtures("tiny_everywhere")
def test_regions_are_outlined_on_the_photo_of_the_pool_only():
    run = opened(REGIONS)
    row = run.acquired[run.acquired["round"] == 2].iloc[0]
    view = View(1, "train", int(row["index"]), "vote_entropy")
    photo = panels(run, view)[CAPTION : CAPTION + 24 * ZOOM, : 32 * ZOOM][::ZOOM, ::ZOOM]
    maps = np.asarray(run.region_maps)
    chosen = maps[row["index"]] == row["region"]
    drawn = (photo == CHOSEN_NOW).all(axis=2)
    assert drawn[chosen].any()
    of_choice = run.acquired[(run.acquired["round"] == 2) & (run.acquired["index"] == row["index"])]["region"]
    assert not drawn[~np.isin(maps[row["index"]], of_choice)].any()
    before = run.acquired[run.acquired["round"] == 0]["index"].iloc[0]
    start = panels(run, replace(view, index=int(before)))[CAPTION : CAPTION + 24 * ZOOM, : 32 * ZOOM]
    assert (start[::ZOOM, ::ZOOM] == CHOSEN_BEFORE).all(axis=2).any()
    test = panels(run, replace(view, split="test"))[CAPTION : CAPTION + 24 * ZOOM, : 32 * ZOOM][::ZOOM, ::ZOOM]
    assert (test == run.test_set.images[row["index"]].transpose(1, 2, 0)).all()


def test_an_outline_is_two_pixels_at_the_inner_edge():
    regions = np.zeros((9, 9), int)
    regions[:, :6] = 1
    expected = np.zeros((9, 9), bool)
    expected[:, :6] = True
    expected[2:-2, 2:4] = False
    assert (outline(regions) == expected).all()
    assert not outline(np.zeros((4, 4), int)).any()


def test_a_digit_stands_beside_what_its_members_say():
    run = opened(DIGITS)
    picture = panels(run, View(1, "test", 0, "vote_entropy"))
    zoom = zoom_of(28)
    digit = picture[CAPTION : CAPTION + 28 * zoom, : 28 * zoom][::zoom, ::zoom]
    assert (digit == run.test_set.images[0][0][..., None]).all()
    left = 28 * zoom + GAP
    corners = picture[CAPTION : CAPTION + 4 * 22 : 22, left : left + 10 * 22 : 22, 0].astype(int)
    expected = 255 - (200 * run.look(1, "test", 0).members).astype(int)
    assert np.abs(corners - expected).max() == 0


def test_a_long_caption_ends_before_the_next_one():
    short, long, longer = (caption("query: " + "item" * times, 200) for times in (1, 40, 41))
    assert (long[:, -6:] == 255).all()
    assert (long == longer).all()
    assert (short != long).any()


def test_pictures_beside_and_below_each_other_keep_their_pixels():
    one, other = np.zeros((2, 3, 3), np.uint8), np.full((4, 5, 3), 7, np.uint8)
    row = beside([one, other])
    assert row.shape == (4, 3 + 5 + 2 * GAP, 3)
    assert (row[:4, 3 + GAP : 8 + GAP] == 7).all()
    assert (row[2:, :3] == 255).all()
    column = below([one, other])
    assert column.shape == (6 + 2 * GAP, 5, 3)
    assert (framed(one, (1, 2, 3))[0, 0] == (1, 2, 3)).all()
    assert framed(one, (1, 2, 3)).shape == (10, 11, 3)
