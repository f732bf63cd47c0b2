import hashlib
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes

from alutils.datasets.streets import FIRST_INDEX, FRAMES_PER_DRIVE, draw_scene, write_streets
from alutils.errors import DataError, ParameterError

# Of scene (0, 13) at height 64; whoever changes it raises DRAWING_VERSION in cityscapes.py.
PINNED = "b2f5174eed3b7502f62a88018433626a2b40d9e9f5ba345a423bcdff1dafe225"
TOLERANCE = 3.0  # 60 scenes scatter more than the 200 for which a factor of 2 is aimed at

# Percent of the labelled pixels, by label id: about what Cityscapes has.
SHARES = {
    7: 37, 8: 6, 11: 22, 12: 0.7, 13: 0.9, 17: 1.2, 19: 0.2, 20: 0.55, 21: 15, 22: 1.2, 23: 4, 24: 1.2, 25: 0.15,
    26: 7, 27: 0.3, 28: 0.25, 31: 0.25, 32: 0.1, 33: 0.4,
}  # fmt: skip


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.png"))}


def difference(first: int, second: int) -> float:
    """Return the mean absolute difference of two scenes' images."""
    one, other = (draw_scene(0, index, 64)[0].astype(int) for index in (first, second))
    return float(np.abs(one - other).mean())


@pytest.fixture(scope="module")
def counts_60() -> np.ndarray:
    """Return the pixels of each label id in the first 60 scenes of `val`, (60, 256)."""
    first = FIRST_INDEX["val"]
    labels = [draw_scene(0, index, 96)[1] for index in range(first, first + 60)]
    return np.stack([np.bincount(label.ravel(), minlength=256) for label in labels])


def test_scene_has_image_and_label_ids() -> None:
    image, labels = draw_scene(0, 5, 64)
    assert image.shape == (64, 128, 3)
    assert labels.shape == (64, 128)
    assert image.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*SHARES, 1, 4}


def test_scene_depends_on_seed_and_index_alone() -> None:
    image, labels = draw_scene(3, 5, 64)
    draw_scene(0, 0, 64)
    again = draw_scene(3, 5, 64)
    assert np.array_equal(image, again[0])
    assert np.array_equal(labels, again[1])
    assert not np.array_equal(image, draw_scene(3, 6, 64)[0])
    assert not np.array_equal(image, draw_scene(4, 5, 64)[0])


def test_scene_is_the_same_on_every_machine() -> None:
    image, labels = draw_scene(0, 13, 64)
    assert hashlib.sha256(image.tobytes() + labels.tobytes()).hexdigest() == PINNED


@pytest.mark.slow
def test_60_scenes_hold_every_class_several_times(counts_60: np.ndarray) -> None:
    scenes = (counts_60 > 0).sum(axis=0)
    assert {label: scenes[label] for label in SHARES if scenes[label] < 2} == {}


def test_rare_classes_are_rare_in_scenes(counts_60: np.ndarray) -> None:
    scenes = (counts_60 > 0).sum(axis=0)
    assert all(scenes[label] <= 12 for label in (27, 28, 31, 32))


def test_class_shares_are_like_cityscapes(counts_60: np.ndarray) -> None:
    pixels = counts_60.sum(axis=0)
    labelled = pixels.sum() - pixels[1] - pixels[4]
    percent = {label: 100 * pixels[label] / labelled for label in SHARES}
    outside = {k: v for k, v in percent.items() if not SHARES[k] / TOLERANCE < v < SHARES[k] * TOLERANCE}
    assert outside == {}


def test_frames_of_a_drive_are_near_duplicates() -> None:
    drives = [drive * FRAMES_PER_DRIVE for drive in range(6)]
    within = np.mean([difference(first, first + 1) for first in drives])
    between = np.mean([difference(first, first + FRAMES_PER_DRIVE) for first in drives])
    assert within < 0.5 * between


@pytest.mark.parametrize("height", [65, 62, 0, 4096])
def test_bad_height_is_refused(height: int, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=rf"^height is {height} pixels; allowed: "):
        draw_scene(0, 0, height)
    with pytest.raises(ParameterError, match="height"):
        write_streets(tmp_path / "streets", {"train": 1}, height=height)
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"split is 'night'; allowed: train, val, test"):
        write_streets(tmp_path / "streets", {"night": 1}, height=64)


def test_cityscapes_reader_reads_them(tmp_path: Path) -> None:
    write_streets(tmp_path / "streets", {"train": 12, "val": 3}, height=64, processes=1)
    for split, count in (("train", 12), ("val", 3)):
        scenes = Cityscapes(tmp_path / "streets", split=split, mode="fine", target_type="semantic")
        assert len(scenes) == count
        assert sorted(Path(path).name for path in scenes.images)[0] == f"{split}00_000000_000000_leftImg8bit.png"
        position = [Path(path).name.split("_")[1:3] for path in scenes.images].index(["000000", "000002"])
        image, labels = scenes[position]
        expected_image, expected_labels = draw_scene(0, FIRST_INDEX[split] + 2, 64)
        assert np.array_equal(np.asarray(image), expected_image)
        assert np.array_equal(np.asarray(labels), expected_labels)


def test_a_curated_recording_has_one_frame_of_each_drive(tmp_path: Path) -> None:
    write_streets(tmp_path / "streets", {"train": 12, "val": 2}, height=64, train_step=11, processes=1)
    names = sorted(path.name for path in (tmp_path / "streets" / "gtFine" / "train").rglob("*.png"))
    assert names[0] == "train00_000000_000000_gtFine_labelIds.png"
    assert names[1] == "train00_000001_000001_gtFine_labelIds.png"
    assert names[10] == "train02_000003_000000_gtFine_labelIds.png", "drive 11, its first frame"
    assert len({name.rsplit("_", 3)[0] for name in names}) == 12
    image, _ = draw_scene(0, 110, 64)
    path = tmp_path / "streets" / "leftImg8bit" / "train" / "train02" / "train02_000003_000000_leftImg8bit.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    assert len(list((tmp_path / "streets" / "gtFine" / "val").rglob("*_000001_gtFine_labelIds.png"))) == 1


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path) -> None:
    for processes in (1, 2):
        write_streets(tmp_path / str(processes), {"train": 12, "val": 1}, height=64, processes=processes)
    assert files_below(tmp_path / "1") == files_below(tmp_path / "2")
    assert len(files_below(tmp_path / "1")) == 26


def test_splits_share_no_scene(tmp_path: Path) -> None:
    write_streets(tmp_path / "streets", {"train": 2, "val": 2, "test": 2}, height=64, processes=1)
    images = [data for name, data in files_below(tmp_path / "streets").items() if name.startswith("leftImg8bit")]
    assert len(set(images)) == 6


def test_complete_folder_is_left_alone_and_a_killed_one_does_no_harm(tmp_path: Path) -> None:
    killed = tmp_path / "streets.12345.part"
    killed.mkdir()
    (killed / "half.png").write_bytes(b"half")
    write_streets(tmp_path / "streets", {"train": 2}, height=64, processes=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "streets").rglob("*.png")}
    assert len(times) == 4
    write_streets(tmp_path / "streets", {"train": 2}, height=64, processes=1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "streets").rglob("*.png")} == times
    assert sorted(path.name for path in tmp_path.iterdir()) == ["streets", "streets.lock"]


def test_second_writer_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "streets"
    rename = Path.rename

    def late_rename(draft: Path, target: Path) -> Path:
        shutil.copytree(draft, target)
        (target / "from_the_other").touch()
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", late_rename)
    write_streets(root, {"train": 1}, height=64, processes=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["streets", "streets.lock"]
    assert (root / "from_the_other").exists()


def test_a_drawn_scene_that_changed_is_one_line(tmp_path: Path) -> None:
    write_streets(tmp_path / "streets", {"train": 2}, height=64, processes=1)
    scene, other = sorted((tmp_path / "streets" / "leftImg8bit").rglob("*.png"))
    time.sleep(0.02)  # until the clock of the file system ticks
    scene.unlink()
    shutil.copy(other, scene)
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(tmp_path))}/streets: damaged cache; remove .*{scene.name} has changed"
    ):
        write_streets(tmp_path / "streets", {"train": 2}, height=64, processes=1)
