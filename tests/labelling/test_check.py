"""A folder looked through: everything that is wrong in one go, and numbers by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from alutils.__main__ import main
from alutils.labelling.check import VOID_TEACHES_NOTHING, check

CLASSES = {"grass": [0, 255, 0], "path": [90, 90, 90], "wall": [200, 50, 0]}


@pytest.fixture(autouse=True)
def _own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))


def photo(seed: int, size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Return a photograph that looks like no other one."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


def write(root: Path, photos: dict[str, Image.Image], labels: dict[str, Any], **keys: Any) -> Path:
    """Write photographs and labels, each named SPLIT/FILE; return the path of their description."""
    for folder, files in (("photos", photos), ("labels", labels)):
        for name, file in files.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = file if isinstance(file, Image.Image) else Image.fromarray(np.asarray(file, np.uint8))
            image.save(path)
    splits = {split: {"images": f"photos/{split}", "labels": f"labels/{split}"} for split in ("train", "test")}
    path = root / "yard.yaml"
    path.write_text(yaml.safe_dump({"name": "yard", "classes": CLASSES, "splits": splits} | keys, sort_keys=False))
    return path


def test_a_good_data_set_in_numbers(tmp_path: Path, capsys: pytest.CaptureFixture):
    brighter = Image.fromarray((0.8 * np.asarray(photo(0)) + 20).astype(np.uint8))
    photos = {
        "train/a.png": photo(0),
        "train/b.png": photo(1),
        "train/c.jpg": brighter,
        "train/d.png": photo(2, (32, 64)),
    }
    photos |= {"test/t.png": photo(0), "test/u.png": photo(5)}
    quarter = np.full((32, 64), 255)
    quarter[:16, :32] = 1  # 512 of 2,048 pixels
    quarter[0, :32] = 0
    labels = {"train/a.png": quarter, "test/t.png": quarter * 0, "test/u.png": quarter * 0}
    path = write(tmp_path, photos, labels)
    assert main(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "yard: classes grass, path, wall",
        "",
        "train: 4 images, 1 with a label",
        "  width x height: 64x32 (3), 32x64 (1)",
        "  share of the labelled pixels: grass 6.2 %, path 93.8 %, wall never; void are 75.0 % of the pixels",
        f"{VOID_TEACHES_NOTHING}",
        "  near-duplicates: 2 images: a.png and c.jpg",
        "",
        "test: 2 images, 2 with a label",
        "  width x height: 64x32 (2)",
        "  share of the labelled pixels: grass 100.0 %, path never, wall never; void are 0.0 % of the pixels",
        "  near-duplicates: 0 images",
        "",
        "1 images of test look like images of train: a.png and t.png, c.jpg and t.png",
        f"contact sheet: {tmp_path}/results/labelling/yard/check-train.jpg",
        f"contact sheet: {tmp_path}/results/labelling/yard/check-test.jpg",
        "nothing is wrong",
    ]
    with Image.open(tmp_path / "results/labelling/yard/check-train.jpg") as sheet:
        assert sheet.width > 4 * 64


def test_everything_that_is_wrong_is_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture):
    photos = {f"train/{name}.png": photo(seed) for seed, name in enumerate("abcdef")} | {"test/t.png": photo(9)}
    plain = np.zeros((32, 64))
    labels = {"a": plain + 9, "b": plain[1:], "c": np.zeros((32, 64, 3)), "d": plain, "e": plain, "lonely": plain}
    path = write(tmp_path, photos, {f"train/{name}.png": label for name, label in labels.items()})
    (tmp_path / "photos/train/d.png").write_bytes(b"text")
    (tmp_path / "labels/train/e.png").write_bytes(b"text")
    (tmp_path / "photos/train/g.heic").write_bytes(b"text")
    assert main(["check", str(path)]) == 1
    text = capsys.readouterr().out
    said = [
        "photos/train/g.heic: image files of this kind are not read",
        "labels/train/lonely.png: its image is missing",
        "labels/train/a.png: label value 9 is neither a class nor ignored",
        "labels/train/b.png: size (64, 31), but its image",
        "labels/train/c.png: colour [0, 0, 0] at pixel (x 0, y 0) is no class's",
        "photos/train/d.png: cannot be decoded",
        "labels/train/e.png: cannot be decoded",
        "labels/test: no such folder",
    ]
    assert "8 problems:" in text, text
    problems = text[text.index("8 problems:") :].splitlines()[1:]
    assert len(problems) == len(said)
    assert all(problem.startswith(f"  {tmp_path}/{start}") for start, problem in zip(said, problems, strict=True)), text
    assert "train: 6 images, 5 with a label\n  width x height: 64x32 (5)\n" in text


def test_a_pool_without_labels_is_fine(tmp_path: Path):
    splits = {"train": {"images": "photos/train"}}
    report = check(write(tmp_path, {"train/a.png": photo(0)}, {}, splits=splits))
    assert report.problems == []
    assert "train: 1 images, 0 with a label" in report.text
    assert "share" not in report.text


@pytest.mark.parametrize(
    ("void_rows", "keys", "is_said"), [(4, {}, True), (3, {}, False), (4, {"rest": "wall"}, False)]
)
def test_what_void_does_is_said_where_much_is_void_and_nothing_becomes_of_it(
    void_rows: int, keys: dict[str, str], is_said: bool, tmp_path: Path
):
    label = np.zeros((32, 64))
    label[:void_rows] = 255  # 4 of 32 rows are 12.5 %
    splits = {"train": {"images": "photos/train", "labels": "labels/train"}}
    report = check(write(tmp_path, {"train/a.png": photo(0)}, {"train/a.png": label}, splits=splits, **keys))
    assert ("`read --rest CLASS` makes a class of it" in report.text) == is_said


def test_a_wrong_description_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = write(tmp_path, {}, {}, classes={})
    assert main(["check", str(path)]) == 1
    assert "classes is {}; allowed: for each label value" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
