"""From a folder of photographs to batches and back, through files; drawn scenes stand in, hidden labels annotate."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from alutils import files
from alutils.__main__ import main
from alutils.datasets import load_dataset
from alutils.datasets.duplicates import near_duplicates, thumbnail
from alutils.errors import DataError, ParameterError
from alutils.labelling import choose, cvat, heads
from alutils.labelling.batch import heat
from alutils.labelling.choose import query_for
from alutils.labelling.next_batch import next_batch
from alutils.labelling.reading import read
from alutils.labelling.shapes import UNCOVERED, Drawing, classes_of
from alutils.paths import labelling_dir

HIDDEN = load_dataset("streets_tiny", "train", 64, 128)
CLASSES = dict(zip(HIDDEN.class_names, HIDDEN.colours, strict=True))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(heads.RECIPE, steps=8)
    for module in (heads, choose):
        monkeypatch.setattr(module, "RECIPE", recipe)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the description of 24 photographs without labels; of each drive, the first one is there twice."""
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(20):
        save(tmp_path, f"{HIDDEN.item_names[index]}.jpg", index)
    for index in range(0, 20, 5):
        save(tmp_path, f"copy of {HIDDEN.item_names[index]}.jpg", index)
    content = {"name": "own", "classes": {name: [*colour] for name, colour in CLASSES.items()}}
    splits = {"train": {"images": "photos", "labels": "labels"}}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content | {"splits": splits}, sort_keys=False))
    return path


def save(folder: Path, name: str, index: int) -> None:
    image = Image.fromarray(HIDDEN.images[index].transpose(1, 2, 0))
    image.resize((384, 192)).save(folder / "photos" / name, quality=90)


def hidden(file: str) -> np.ndarray:
    label = HIDDEN.labels[HIDDEN.item_names.index(Path(file).stem.removeprefix("copy of "))]
    return np.repeat(np.repeat(label, 3, 0), 3, 1)


def annotate(batch: Path) -> Path:
    """Return an export in which a person has drawn everything right."""
    drawn = [Drawing(file.name, hidden(file.name), [*CLASSES]) for file in sorted((batch / "images").iterdir())]
    cvat.write(batch / "exported", drawn, CLASSES)
    return batch / "exported"


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


@pytest.mark.slow
def test_three_rounds_through_files(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    batches = [tmp_path / f"results/labelling/own/batch{number}" for number in (1, 2, 3)]
    assert run("next", photos, "-k", 6) == 0
    out = capsys.readouterr().out
    assert "own train: 24 photographs, 0 with a label\nnext 6 photographs, by typiclust; " in out
    assert f"open {batches[0]}/next.html" in out
    first = pd.read_csv(batches[0] / "next.csv")
    assert first[["score", "score_rank"]].isna().all(axis=None)
    assert first["stands_for"].sum() == 24
    assert first["why"].str.startswith("typical, stands for ").all()
    assert json.loads((batches[0] / "label_studio/tasks.json").read_text())[0]["predictions"] == []
    assert run("read", photos, annotate(batches[0])) == 0
    assert "6 photographs, 6 new labels" in capsys.readouterr().out

    assert run("next", photos, "-k", 6) == 0
    out = capsys.readouterr().out
    assert "6 with a label\nmean IoU on photographs that a network has not seen, by the number of labels: 0." in out
    assert "next 6 photographs, by vote_entropy+diverse4" in out
    second = pd.read_csv(batches[1] / "next.csv")
    assert not {*second["file"]} & {*first["file"]}
    assert (
        second["why"].str.match(r"vote_entropy \d\.\d{3}, the (\d+(st|nd|rd|th) )?highest, stands for \d+ photo").all()
    )
    assert run("read", photos, annotate(batches[1])) == 0
    assert " % kept it, " in capsys.readouterr().out

    assert run("next", photos, "-k", 4, "--regions", "windows4x4", "--query", "margin") == 0
    out = capsys.readouterr().out
    assert "last labels helped" in out or "last labels did not help" in out
    assert "next 4 regions, by margin+windows4x4" in out
    history = pd.read_csv(tmp_path / "results/labelling/own/history.csv")
    assert history["labelled"].tolist() == [0, 6, 12]
    assert history["query"].tolist() == ["typiclust", "vote_entropy+diverse4", "margin+windows4x4"]
    assert history["score"].notna().tolist() == [False, True, True]


@pytest.mark.slow
def test_what_tools_are_given_is_the_prediction(photos: Path, tmp_path: Path):
    label_first(photos, tmp_path, 8)
    batch = next_batch(photos, 3, query="consensus_entropy").folder
    content = (batch / "cvat/annotations.xml").read_bytes()
    numbers = {name: number for number, name in enumerate(CLASSES)}
    by_cvat = {shapes.name: classes_of(shapes, numbers) for shapes in cvat.read_annotations(content, lambda *_: None)}
    page = (batch / "next.html").read_text()
    assert page.count("Correct what is drawn") == 2
    assert len({*re.findall(r"disagreement \(consensus_entropy\), from 0 \(black\) to \d\.\d\d", page)}) == 1
    for file in pd.read_csv(batch / "next.csv")["file"]:
        guess = np.asarray(Image.open(batch / "guesses" / f"{Path(file).stem}.png"))
        assert guess.shape == (192, 384)
        assert np.array_equal(by_cvat[file], guess)
        assert (batch / "images" / file).read_bytes() == (tmp_path / "photos" / file).read_bytes()
        assert f"<h2>{file}</h2>" in page
    sure = next_batch(photos, 3, query="consensus_entropy", prelabel="sure").folder
    for path in sorted((sure / "guesses").iterdir()):
        part, whole = (np.asarray(Image.open(folder / "guesses" / path.name)) for folder in (sure, batch))
        assert np.isin(part, [255]).any() or (part == whole).all()
        assert (part[part != 255] == whole[part != 255]).all()
    nothing = next_batch(photos, 3, query="consensus_entropy", prelabel="none").folder
    assert "<mask" not in (nothing / "cvat/annotations.xml").read_text()
    assert not (nothing / "guesses").exists()


@pytest.mark.slow
def test_regions_are_outlines_to_fill_and_ignore_elsewhere(photos: Path, tmp_path: Path):
    label_first(photos, tmp_path, 4)
    done = next_batch(photos, 5, regions="windows4x4")
    numbers = {name: number for number, name in enumerate(CLASSES)}
    content = (done.folder / "cvat/annotations.xml").read_bytes()
    assert done.choice.regions is not None
    for shapes in cvat.read_annotations(content, lambda *_: None):
        position = [path.name for path in done.photos.files].index(shapes.name)
        regions = done.choice.regions[done.choice.positions == position]
        inside = np.zeros((4, 4), bool)
        inside.ravel()[regions] = True
        classes = classes_of(shapes, numbers)
        assert np.array_equal(classes != 255, np.repeat(np.repeat(inside, 48, 0), 96, 1))
        guess = np.asarray(Image.open(done.folder / "guesses" / f"{Path(shapes.name).stem}.png"))
        assert np.array_equal(guess, classes), "what was drawn, no more"
        assert (classes != UNCOVERED).all(), "all of a region has a guess"
    assert content.count(b"<polyline") == len({*done.choice.positions.tolist()}) == 5, "one region an image"
    # A person draws everything; what lies outside the regions stays void.
    drawn = []
    for shapes in cvat.read_annotations(content, lambda *_: None):
        outside = classes_of(shapes, numbers) == 255
        drawn.append(Drawing(shapes.name, np.where(outside, 255, hidden(shapes.name)), [*CLASSES], outside))
    cvat.write(tmp_path / "exported", drawn, CLASSES)
    read(photos, tmp_path / "exported")
    again = next_batch(photos, 60, regions="windows4x4").choice
    assert again.regions is not None
    chosen = {*zip(done.choice.positions.tolist(), done.choice.regions.tolist(), strict=True)}
    assert not chosen & {*zip(again.positions.tolist(), again.regions.tolist(), strict=True)}, "none twice"
    assert {*done.choice.positions.tolist()} & {*again.positions.tolist()}, "other regions of the same photographs"


def label_first(photos: Path, folder: Path, count: int) -> None:
    """Label the first photographs, with the value of each pixel."""
    for file in sorted((folder / "photos").iterdir())[:count]:
        Image.fromarray(hidden(file.name)).save(folder / "labels" / f"{file.stem}.png")


def test_of_photographs_that_look_alike_one_is_chosen(photos: Path):
    batch = next_batch(photos, 5)
    images = [Image.fromarray(image.transpose(1, 2, 0)) for image in batch.photos.dataset.images]
    alike = near_duplicates([thumbnail(image) for image in images]).toarray()
    chosen = batch.choice.positions
    assert not alike[np.ix_(chosen, chosen)].any()
    assert alike[chosen].any(), "there are some"
    assert batch.choice.left_out >= 4, "the copies"
    assert len({*next_batch(photos, 24).choice.positions.tolist()}) == 24, "all, if all are wanted"


def test_without_a_score_there_is_no_place_by_score(photos: Path):
    table = pd.read_csv(next_batch(photos, 2, size=(64, 128)).folder / "next.csv")
    assert table[["score", "score_rank"]].isna().all(axis=None)
    assert table["rank"].tolist() == [1, 2]


def test_a_photograph_like_a_labelled_one_is_left_out(photos: Path, tmp_path: Path):
    name = f"{HIDDEN.item_names[5]}.jpg"
    Image.fromarray(hidden(name)).save(tmp_path / "labels" / f"{Path(name).stem}.png")
    found = next_batch(photos, 3, query="random")
    assert found.choice.left_out >= 1
    files = [path.name for path in found.photos.files]
    assert files.index(f"copy of {name}") not in found.choice.positions
    all_others = next_batch(photos, 23, query="random").choice
    assert files.index(f"copy of {name}") in all_others.positions, "if no others are left"


def test_the_page_names_the_command_that_reads_the_labels_back(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    own = photos.rename(tmp_path / "my own.yaml")
    own.write_text(own.read_text().replace("train:", "pool:") + "rest: sky\n")
    assert run("next", own, "-k", 2, "--split", "pool", "--size", 64, 128) == 0
    command = f".venv/bin/alutils read '{own}' EXPORT --split pool"
    assert f"\nwhen it is labelled: {command}\n" in capsys.readouterr().out
    page = (tmp_path / "results/labelling/own/batch1/next.html").read_text()
    assert unescape(page).count(f"<code>{command}</code>") == 2
    assert "becomes <b>sky</b>" in page
    assert "Correct" not in page, "nothing is drawn in the first batch"


def test_colours_of_disagreement_mean_the_same_on_a_whole_page():
    maps = [np.array([[0.0, 0.5]]), np.array([[0.0, 2.0]])]
    low, high = (np.asarray(heat(of, (2, 1), 2.0)).astype(int) for of in maps)
    assert low[0, 0].tolist() == high[0, 0].tolist() == [0, 0, 3]
    assert low[0, 1].sum() < high[0, 1].sum()
    assert high[0, 1].tolist() == [251, 252, 191]


def test_a_batch_that_nobody_labelled_is_named(photos: Path):
    first = next_batch(photos, 3)
    assert not any("chosen before" in line for line in first.said)
    second = next_batch(photos, 3)
    assert second.said[1] == "3 of these photographs were chosen before and have no label yet"
    assert second.folder.name == "batch2"


@pytest.mark.parametrize(
    ("text", "regions", "has_labels", "expected"),
    [
        ("", "", False, "typiclust"),
        ("random", "", False, "random"),
        ("", "", True, "vote_entropy+diverse4"),
        ("", "windows8x8", True, "vote_entropy+perimage1+windows8x8"),
        ("bald+power1", "superpixels50", True, "bald+power1+superpixels50"),
        ("bald+dropout0.3", "", True, "bald+dropout0.3"),
    ],
)
def test_the_query_suits_what_is_labelled(text: str, regions: str, has_labels: bool, expected: str):
    assert str(query_for(text, regions, has_labels=has_labels)) == expected


@pytest.mark.parametrize(
    ("text", "regions", "has_labels", "said"),
    [
        ("bald", "", False, "nothing is labelled yet, so bald has no network to ask; allowed: typiclust, random"),
        ("", "windows8x8", False, "nothing is labelled yet, so a query.windows8x8 has no network to ask"),
        ("bald+ensemble3", "", True, "the heads are an ensemble already; allowed: a query without ensemble"),
        ("balt", "", True, r"balt.* did you mean bald\?"),
        ("", "window8", True, "regions is 'window8'; allowed: windows<rows>x<columns>, superpixels<"),
        ("margin", "top0.1", True, "regions is 'top0.1'; allowed: "),
        ("core_set", "windows8x8", True, "core_set has a selection of its own"),
    ],
)
def test_what_cannot_be_asked_is_one_line(text: str, regions: str, has_labels: bool, said: str):
    with pytest.raises(ParameterError, match=said):
        query_for(text, regions, has_labels=has_labels)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-k", 25], "k is 25; allowed: 1 to 24"),
        (["--regions", "window8"], "regions is 'window8'; allowed: windows"),
        (["-k", 0], "k is 0; allowed: 1 to 24"),
        (["--prelabel", "some"], "prelabel is 'some'; allowed: all, sure, none"),
        (["--split", "test"], "split of own is 'test'; allowed: train"),
        (["--query", "bald"], "nothing is labelled yet"),
    ],
)
def test_a_wrong_option_is_one_line(
    options: list[Any], said: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert run("next", photos, *options) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results/labelling").exists()


@pytest.mark.parametrize(("regions", "k", "left"), [("", 5, 4), ("windows2x2", 17, 16)])
def test_more_than_are_left_is_refused_before_the_training(
    regions: str, k: int, left: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("alutils.labelling.next_batch.train_heads", train)
    label_first(photos, tmp_path, 20)
    with pytest.raises(ParameterError, match=f"k is {k}; allowed: 1 to {left}$"):
        next_batch(photos, k, regions=regions, size=(64, 128))


def test_a_label_that_is_void_everywhere_teaches_no_committee(photos: Path, tmp_path: Path):
    Image.fromarray(np.full((192, 384), 255, np.uint8)).save(tmp_path / "labels" / f"{HIDDEN.item_names[3]}.png")
    assert str(next_batch(photos, 2, size=(64, 128)).choice.query) == "typiclust"


def test_all_labelled_is_one_line(photos: Path, tmp_path: Path):
    label_first(photos, tmp_path, 24)
    with pytest.raises(DataError, match="own train: all 24 photographs have labels"):
        next_batch(photos, 3)


def test_a_class_named_like_a_mark_is_one_line(photos: Path):
    photos.write_text(photos.read_text().replace("road:", "ignore:", 1))
    with pytest.raises(DataError, match="own: a class is named ignore or region; allowed: other names"):
        next_batch(photos, 3)


def test_a_second_process_is_told_to_wait(photos: Path):
    held, said = (
        labelling_dir("own") / ".next.lock",
        "another process chooses photographs of own; wait until it is done",
    )
    with files.locked(held, "photographs"), pytest.raises(DataError, match=said):
        next_batch(photos, 3)
    assert next_batch(photos, 3, size=(64, 128)).folder.name == "batch1"


def test_classes_that_no_label_has_are_named(photos: Path, tmp_path: Path):
    label = np.full((192, 384), HIDDEN.class_names.index("road"), np.uint8)
    Image.fromarray(label).save(tmp_path / "labels" / f"{HIDDEN.item_names[3]}.png")
    said = next_batch(photos, 2, size=(64, 128)).said
    (line,) = [line for line in said if line.startswith("no label has yet: ")]
    assert line == f"no label has yet: {', '.join(name for name in HIDDEN.class_names if name != 'road')}"
