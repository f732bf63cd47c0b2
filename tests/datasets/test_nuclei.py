"""The nuclei's download becomes images and labels; what is wrong with it is one line, and nothing is left behind."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import need_real_data
from PIL import Image, JpegImagePlugin
from scipy.ndimage import maximum_filter

from alutils.datasets import label_counts, load_dataset, nuclei
from alutils.datasets.folder import read_description, scene_files
from alutils.datasets.labels import read_values
from alutils.datasets.nuclei import labels_of, main, read_instances, split_of
from alutils.errors import DataError
from alutils.paths import ROOT, data_dir

IDS = [f"{number:012x}{'f' * 52}" for number in range(201)]
TRAIN_ID = 20  # the only one of 201 that is not among the first 200

# Nuclei 1 and 4 are cut by the border; 2 and 3 touch; nucleus 4 has a pixel whose only background is diagonal.
INSTANCES = [
    "1110004444",
    "1110004444",
    "1110000444",
    "0000000000",
    "0222233330",
    "0222233330",
    "0222233330",
    "0000000000",
]
LABELS = [
    "1120002111",
    "1120002211",
    "2220000222",
    "0000000000",
    "0222222220",
    "0211221120",
    "0222222220",
    "0000000000",
]


def digits(rows: list[str]) -> np.ndarray:
    return np.array([[*row] for row in rows]).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


SMALL_IMAGE, SMALL_MASK = png(np.full((4, 4, 4), 90, np.uint8)), png(np.full((4, 4), 255, np.uint8))  # RGBA, grey


def write_image(folder: Path, image: bytes, *masks: bytes) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "images" / f"{folder.name}.png").write_bytes(image)
    for number, mask in enumerate(masks):
        (folder / "masks" / f"mask{number}.png").write_bytes(mask)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Return a download of 201 images of 4x4 pixels, each with one nucleus that fills it."""
    for name in IDS:
        write_image(tmp_path / "stage1_train" / name, SMALL_IMAGE, SMALL_MASK)
    return tmp_path / "stage1_train"


def written(target: Path, number: int) -> tuple[Image.Image, np.ndarray]:
    """Return the image and the labels of a test image's number."""
    with Image.open(target / "test" / f"{number:012x}.jpg") as image:
        image.load()
    return image, np.asarray(read_values(target / "testannot" / f"{number:012x}.png"))


# Labels


def test_an_edge_touches_background_or_another_nucleus_but_not_the_border() -> None:
    labels = labels_of(digits(INSTANCES).astype(np.int32))
    assert labels.dtype == np.uint8
    assert labels.tolist() == digits(LABELS).tolist()


def test_any_value_but_0_is_a_nucleus_and_the_last_mask_has_the_pixel(tmp_path: Path) -> None:
    paths = [tmp_path / "first.png", tmp_path / "last.png"]
    for path, row in zip(paths, ([255, 1, 0, 0], [0, 7, 255, 0]), strict=True):
        path.write_bytes(png(np.array([row], np.uint8)))
    assert read_instances(paths, (4, 1)).tolist() == [[1, 2, 2, 0]]


# What is written


def test_images_and_labels_are_written_into_their_splits(download: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.zeros((8, 10, 4), np.uint8)
    image[..., :3] = 250, 130, 10  # alpha is 0, and is ignored
    write_image(download / IDS[0], png(image), *(png((digits(INSTANCES) == k) * np.uint8(255)) for k in (1, 2, 3, 4)))
    target = download.parent / "new" / "nuclei"
    assert main([str(download), str(target)]) == 0
    assert capsys.readouterr() == (f"{target}: 1 images with labels in train, 200 in test\n", "")
    assert sorted(path.name for path in target.iterdir()) == ["test", "testannot", "train", "trainannot"]
    assert [path.name for path in (target / "train").iterdir()] == [f"{TRAIN_ID:012x}.jpg"]
    assert [path.name for path in (target / "trainannot").iterdir()] == [f"{TRAIN_ID:012x}.png"]
    photo, labels = written(target, 0)
    assert labels.tolist() == digits(LABELS).tolist()
    assert np.abs(np.asarray(photo).astype(int) - (250, 130, 10)).max() <= 2
    assert isinstance(photo, JpegImagePlugin.JpegImageFile)
    assert (photo.mode, JpegImagePlugin.get_sampling(photo)) == ("RGB", 0), "0 is 4:4:4"
    assert max(photo.quantization[0]) == 24, "quality 90 makes a fifth of the standard table's 121"
    assert (written(target, 1)[1] == 1).all(), "a nucleus that fills its image has no edge"


def test_large_images_are_reduced_and_edges_are_found_after(download: Path) -> None:
    """A nucleus fills the left half; with 12 masks its number is 12, beside which interpolation would give others."""
    is_left = np.arange(1024) < 512
    mask = np.tile(is_left * np.uint8(255), (600, 1))
    write_image(download / IDS[3], png(np.stack([mask, mask, 255 - mask], axis=2)), *[png(mask)] * 12)
    target = download.parent / "nuclei"
    nuclei.write_nuclei(download, target)
    photo, labels = written(target, 3)
    assert photo.size == (512, 300)
    assert labels.tolist() == [[1] * 255 + [2] + [0] * 256] * 300
    pixels = np.asarray(photo)
    assert np.abs(pixels[:, :240].astype(int) - (255, 255, 0)).max() <= 4
    assert np.abs(pixels[:, 272:].astype(int) - (0, 0, 255)).max() <= 4


def test_the_split_depends_on_the_ids_and_not_on_their_order() -> None:
    splits = split_of(IDS)
    assert [name for name in IDS if splits[name] == "train"] == [IDS[TRAIN_ID]]
    assert split_of(IDS[::-1]) == splits
    assert [*split_of([str(number) for number in range(1000, 1664)]).values()].count("train") == 464


def test_an_empty_target_is_filled(download: Path) -> None:
    target = download.parent / "nuclei"
    target.mkdir()
    assert main([str(download), str(target)]) == 0
    assert len([*target.glob("*/*")]) == 402


# What is wrong


def bad_mask(content: bytes) -> Callable[[Path], None]:
    return lambda download: write_image(download / IDS[200], SMALL_IMAGE, content)


BAD_DOWNLOADS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "/stage1_train: no such folder"),
    "too few": (lambda download: shutil.rmtree(download / IDS[7]), "/stage1_train: 200 folders; allowed: 201 or more"),
    "one name": (
        lambda download: shutil.copytree(download / IDS[9], download / f"{IDS[9][:12]}0"),
        "/stage1_train: 2 folders begin with 000000000009; allowed: one, as 12 characters name an image",
    ),
    "no masks": (lambda download: shutil.rmtree(download / IDS[5] / "masks"), f"/{IDS[5]}/masks: no such folder"),
    "empty masks": (
        lambda download: (download / IDS[5] / "masks" / "mask0.png").rename(download / IDS[5] / "masks" / "notes.txt"),
        f"/{IDS[5]}/masks: no mask; it needs a PNG file for each nucleus",
    ),
    "mask of another size": (
        bad_mask(png(np.ones((4, 5), np.uint8))),
        f"/{IDS[200]}/masks/mask0.png: size (5, 4), but its image has (4, 4); both must agree",
    ),
    "mask in colours": (bad_mask(SMALL_IMAGE), "/mask0.png: pixels of mode RGBA; "),
    "broken mask": (bad_mask(b"text"), "/mask0.png: cannot be decoded"),
    "no image": (lambda download: shutil.rmtree(download / IDS[200] / "images"), f"{IDS[200]}.png: cannot be read"),
    "name of two lines": (
        lambda download: (download / IDS[5]).rename(download / "a\nb"),
        "/stage1_train: the file name 'a\\nb' holds control characters",
    ),
}


@pytest.mark.parametrize("case", BAD_DOWNLOADS)
def test_a_bad_download_is_one_line_and_leaves_nothing(
    case: str, download: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = BAD_DOWNLOADS[case]
    spoil(download)
    target = download.parent / "data" / "nuclei"
    assert main([str(download), str(target)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert len(err) <= len("error: \n") + 290
    assert [path.name for path in target.parent.glob("*")] in ([], ["nuclei.lock"])


def test_a_target_that_is_there_stays_as_it_is(download: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = download.parent / "nuclei" / "own.txt"
    file.parent.mkdir()
    file.write_text("mine")
    for target in (file.parent, file):
        assert main([str(download), str(target)]) == 1
        message = f"error: {target}: it is there already; allowed: a new folder or an empty one\n"
        assert capsys.readouterr() == ("", message)
    assert [*file.parent.iterdir()] == [file]
    assert file.read_text() == "mine"


def test_who_stops_it_is_told_that_nothing_was_written(
    download: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(instances_H_W: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(nuclei, "labels_of", stop)
    assert main([str(download), str(download.parent / "nuclei")]) == 130
    assert capsys.readouterr() == ("", "stopped; nothing was written\n")
    assert not (download.parent / "nuclei").exists()


@pytest.mark.slow
def test_the_module_is_a_command(tmp_path: Path) -> None:
    words = ["-W", "error", "-m", "alutils.datasets.nuclei", str(tmp_path / "nowhere"), str(tmp_path / "nuclei")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}/nowhere: no such folder; the data set needs it\n"


# The data set


def test_several_sizes_need_height_and_width_and_scores_at_the_training_resolution(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    mask = (digits(INSTANCES) > 0).astype(np.uint8)
    write_image(download / IDS[0], png(np.stack([mask] * 3, axis=2)), png(mask))
    nuclei.write_nuclei(download, tmp_path / "data" / "nuclei")
    with pytest.raises(DataError, match=r"^.*/test/0{11}1\.jpg: size \(4, 4\), .* \(10, 8\); give height and width$"):
        load_dataset("nuclei", "test")
    with pytest.raises(DataError, match=r"^.*/testannot/0{11}1\.png: size .*, test_resolution can be training$"):
        load_dataset("nuclei", "test", 4, 4, native_labels=True)
    dataset = load_dataset("nuclei", "test", 4, 4)
    assert dataset.images.shape == (200, 3, 4, 4)
    assert dataset.class_names == ["background", "nucleus", "edge"]
    assert dataset.label_values == [0, 1, 2, 255]
    assert dataset.labels[1].tolist() == [[1] * 4] * 4


@pytest.mark.slow
def test_real_nuclei() -> None:
    need_real_data("nuclei")
    splits = {split: load_dataset("nuclei", split, 256, 256) for split in ("train", "test")}
    assert {split: len(dataset) for split, dataset in splits.items()} == {"train": 464, "test": 200}
    split_of_name = split_of([name for dataset in splits.values() for name in dataset.item_names])
    for split, dataset in splits.items():
        assert {split_of_name[name] for name in dataset.item_names} == {split}
        assert label_counts(dataset, np.arange(len(dataset)), void_class=True)[-1] == 0
    train = splits["train"]
    channels = train.images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert train.mean == pytest.approx(channels.mean(axis=1), abs=2e-4)
    assert train.std == pytest.approx(channels.std(axis=1), abs=2e-4)


@pytest.mark.slow
def test_edges_of_the_real_nuclei_are_closed_but_for_the_border() -> None:
    need_real_data("nuclei")
    description = read_description(ROOT / "alutils" / "datasets" / "nuclei.yaml")
    counts, on_border = np.zeros(3, int), 0
    for split in description.splits:
        for path in scene_files(description, data_dir(), split).labels:
            labels = np.asarray(read_values(path))
            near_background = maximum_filter(labels == 0, 3)
            assert not (near_background & (labels == 1)).any(), path
            counts += np.bincount(labels.ravel(), minlength=3)
            on_border += int(np.count_nonzero(labels[[0, -1]] == 1))
    assert 100 * counts / counts.sum() == pytest.approx([84.8, 12.2, 3.0], abs=0.05)
    assert on_border > 10_000
