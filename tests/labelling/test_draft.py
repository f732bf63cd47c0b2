"""A first YAML file by looking: what it says is what was written into the folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from alutils.__main__ import main
from alutils.datasets import load_dataset
from alutils.errors import DataError
from alutils.labelling.check import check
from alutils.labelling.draft import draft

MASK = np.array([[0, 1, 2, 0], [1, 0, 0, 2], [2, 2, 1, 1]], np.uint8)
COLOURS = np.array([[128, 64, 128], [0, 0, 142], [70, 70, 70]], np.uint8)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))


def photos(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def label(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.repeat(np.repeat(pixels, 10, 0), 10, 1))
    if palette is not None:
        image.putpalette(palette.ravel().tolist())
    image.save(path)


def written(folder: Path, *names: str) -> dict[str, Any]:
    draft(folder, names)
    path = folder.with_suffix(".yaml")
    assert check(path).problems == [], "what is written is right"
    return yaml.safe_load(path.read_text())


def test_photos_alone_get_a_folder_for_their_labels(tmp_path: Path, capsys: pytest.CaptureFixture):
    photos(tmp_path / "my photos", "a b.JPG", "ü.jpeg", "x.1.png")
    assert main(["new-dataset", str(tmp_path / "my photos"), "--classes", "road", "car"]) == 0
    path = tmp_path / "my photos.yaml"
    out = capsys.readouterr().out
    assert f"wrote {path}\n  classes road, car: given\n  split train: 3 images in my photos, 0 labels in" in out
    content = yaml.safe_load(path.read_text())
    assert (content["name"], [*content["classes"]]) == ("my_photos", ["road", "car"])
    assert content["splits"] == {"train": {"images": "my photos", "labels": "my photos-labels"}}
    assert (tmp_path / "my photos-labels").is_dir()
    assert check(path).problems == []


def test_what_nobody_will_draw_on_gets_a_class(tmp_path: Path, capsys: pytest.CaptureFixture):
    photos(tmp_path / "yard", "1.png")
    assert main(["new-dataset", str(tmp_path / "yard"), "--classes", "road", "car", "--rest", "other"]) == 0
    assert "classes road, car, other: given" in (out := capsys.readouterr().out)
    assert "\n  what nobody draws on: other\n" in out
    content = yaml.safe_load((tmp_path / "yard.yaml").read_text())
    assert ([*content["classes"]], content["rest"]) == (["road", "car", "other"], "other")
    assert check(tmp_path / "yard.yaml").problems == []


def test_a_class_that_is_there_may_be_that_of_what_nobody_will_draw_on(tmp_path: Path):
    photos(tmp_path / "yard", "1.png")
    draft(tmp_path / "yard", ["road", "car"], "road")
    content = yaml.safe_load((tmp_path / "yard.yaml").read_text())
    assert ([*content["classes"]], content["rest"]) == (["road", "car"], "road")


def test_without_such_a_class_one_line_says_so(tmp_path: Path):
    photos(tmp_path / "yard", "1.png")
    assert "what nobody draws on is void: networks learn nothing there; `rest: CLASS` makes it" in draft(
        tmp_path / "yard", ["road"]
    )
    assert "rest" not in yaml.safe_load((tmp_path / "yard.yaml").read_text())


def test_the_example_has_such_a_class(tmp_path: Path):
    photos(tmp_path / "yard", "1.png")
    content = written(tmp_path / "yard")
    assert ([*content["classes"]], content["rest"]) == (["background", "object"], "background")


def test_labels_that_are_there_say_which_class_it_may_be(tmp_path: Path):
    photos(tmp_path / "yard", "1.png", "2.png")
    label(tmp_path / "yard/labels/2.png", MASK)
    with pytest.raises(DataError, match="rest is 'other'; allowed: a class that the labels hold: class_0, class_1, c"):
        draft(tmp_path / "yard", rest="other")
    assert "what nobody draws on: class_1" in draft(tmp_path / "yard", rest="class_1")


def test_splits_and_values_are_found(tmp_path: Path):
    for split in ("train", "test"):
        photos(tmp_path / "yard" / split, "1.png", "2.jpg", "3.png")
        for number in (1, 2):
            label(tmp_path / "yard" / f"{split}annot" / f"{number}.png", np.where(MASK == 2, 4, MASK))
    label(tmp_path / "yard/trainannot/3.png", np.full((3, 4), 255, np.uint8))
    content = written(tmp_path / "yard")
    assert [*content["classes"]] == ["class_0", "class_1", "class_2", "class_3", "class_4"]
    assert content["splits"] == {
        split: {"images": f"yard/{split}", "labels": f"yard/{split}annot"} for split in ("test", "train")
    }
    dataset = load_dataset(str(tmp_path / "yard.yaml"), "test", 3, 4)
    assert dataset.labels.tolist() == [np.where(MASK == 2, 4, MASK).tolist()] * 2


@pytest.mark.parametrize("with_map", [False, True])
def test_colours_are_found_frequent_ones_first(with_map: bool, tmp_path: Path):
    photos(tmp_path / "yard/images", "1.png", "2.png")
    label(tmp_path / "yard/labels/1.png", COLOURS[np.minimum(MASK, 1)])
    label(tmp_path / "yard/labels/2.png", COLOURS[MASK])
    if with_map:
        (tmp_path / "yard/labelmap.txt").write_text(
            "# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\nhouse:70,70,70::\n"
        )
    classes = written(tmp_path / "yard")["classes"]
    names = ["road", "car", "house"] if with_map else ["colour_00008e", "colour_804080", "colour_464646"]
    assert [*classes] == names
    assert {tuple(colour) for colour in classes.values()} == {*map(tuple, COLOURS.tolist())}


def test_a_palette_gives_the_colours(tmp_path: Path):
    photos(tmp_path / "yard/images", "1.png")
    label(tmp_path / "yard/masks/1.png", MASK, COLOURS)
    assert [*written(tmp_path / "yard")["classes"].values()] == COLOURS.tolist()


@pytest.mark.parametrize("values", [(0, 255), (0, 100, 200)])
def test_grey_values_beyond_class_numbers_are_read_as_colours(values: tuple[int, ...], tmp_path: Path):
    photos(tmp_path / "yard/images", "1.png")
    label(tmp_path / "yard/masks/1.png", np.array(values, np.uint8)[MASK % len(values)])
    content = written(tmp_path / "yard")
    assert content["classes"] == {f"grey_{value}": [value] * 3 for value in values}
    assert load_dataset(str(tmp_path / "yard.yaml"), "train", 3, 4).labels.tolist() == [(MASK % len(values)).tolist()]


def test_labels_of_some_photos_only(tmp_path: Path):
    photos(tmp_path / "yard", "1.png", "2.png")
    label(tmp_path / "yard/labels/2.png", MASK)
    assert written(tmp_path / "yard")["splits"] == {"train": {"images": "yard", "labels": "yard/labels"}}


def no_images(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.txt").touch()


def exists(folder: Path) -> None:
    photos(folder, "1.png")
    folder.with_suffix(".yaml").write_text("mine")


def other_names(folder: Path) -> None:
    photos(folder / "images", "1.png")
    label(folder / "labels/1_mask.png", MASK)


def many_colours(folder: Path) -> None:
    photos(folder / "images", *(f"{number}.png" for number in range(9)))
    for number in range(9):
        colours = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)[..., :3] + 21 * number
        label(folder / f"labels/{number}.png", colours)


def two_kinds(folder: Path) -> None:
    photos(folder / "images", "1.png", "2.png")
    label(folder / "labels/1.png", MASK)
    label(folder / "labels/2.png", COLOURS[MASK])


@pytest.mark.parametrize(
    ("names", "rest"), [(["road", "ignore"], ""), (["region"], ""), (["road", "car", "road"], ""), (["road"], "ignore")]
)
def test_names_that_mean_something_else_or_are_there_twice_are_one_line(names: list[str], rest: str, tmp_path: Path):
    photos(tmp_path / "yard", "1.png")
    with pytest.raises(DataError, match=r"^classes: \w+; allowed: names, each once, other than ignore and region$"):
        draft(tmp_path / "yard", names, rest)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_images, r"yard: no images there; allowed: a folder with \.bmp"),
        (lambda folder: None, "yard: no such folder"),
        (exists, r"yard\.yaml: it exists; allowed: another name"),
        (other_names, r"yard/labels: it looks like labels, but no folder has images of all its names, such as 1_mask"),
        (many_colours, "yard/labels: more than 64 colours in its labels; allowed: one for each class"),
        (two_kinds, "yard/labels: some labels are in colours and some are not; allowed: one kind"),
    ],
)
def test_what_is_not_to_be_understood_is_one_line(make: Any, said: str, tmp_path: Path):
    make(tmp_path / "yard")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=said):
        draft(tmp_path / "yard")
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left"
