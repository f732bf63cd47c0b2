"""Near-duplicates on drawn streets and by a plain loop."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from alutils.datasets.duplicates import NEAR, near_duplicates, thumbnail
from alutils.datasets.streets import FRAMES_PER_DRIVE, draw_scene


def graph(images: np.ndarray) -> Any:
    """Return which of images (N, 3, H, W) are near-duplicates."""
    return near_duplicates([thumbnail(Image.fromarray(image.transpose(1, 2, 0))) for image in images])


@pytest.fixture(scope="module")
def drives() -> np.ndarray:
    """Return the ten frames of each of ten drives, (10, 10, 3, 64, 128)."""
    frames = [draw_scene(0, index, 64)[0].transpose(2, 0, 1) for index in range(10 * FRAMES_PER_DRIVE)]
    return np.stack(frames).reshape(10, FRAMES_PER_DRIVE, 3, 64, 128)


@pytest.fixture(scope="module")
def alike(drives: np.ndarray) -> np.ndarray:
    """Return which frames are near-duplicates, (drive, frame, drive, frame)."""
    found = graph(drives.reshape(-1, *drives.shape[2:])).toarray() > 0
    return found.reshape(drives.shape[:2] * 2)


@pytest.mark.slow
def test_frames_of_different_drives_are_no_near_duplicates(alike: np.ndarray):
    pairs = alike.transpose(0, 2, 1, 3)[~np.eye(10, dtype=bool)]
    assert pairs.size == 9000
    assert not pairs.any()


def test_most_neighbouring_frames_of_a_drive_are_near_duplicates(alike: np.ndarray):
    """Events and the camera's exposure set some of them apart."""
    within = alike[np.arange(10), :, np.arange(10)]
    one, two, five = (np.diagonal(within, steps, 1, 2).mean() for steps in (1, 2, 5))
    assert one > 0.5
    assert one > two > five, "the farther the car has come, the fewer"
    assert np.diagonal(within, 1, 1, 2).any(axis=1).all(), "in every drive"


def test_near_duplicates_are_those_of_a_plain_loop(drives: np.ndarray):
    """Thumbnails by hand are not rounded to whole numbers, so that pairs at the very threshold are left out."""
    frames = drives[:4].reshape(-1, 3, 64, 128)
    thumbnails = frames.reshape(-1, 3, 16, 4, 32, 4).mean(axis=(3, 5)).reshape(len(frames), -1)
    standard = [(thumbnail - thumbnail.mean()) / thumbnail.std() for thumbnail in thumbnails]
    distances = np.array([[np.square(one - other).mean() ** 0.5 for other in standard] for one in standard])
    is_clear = (abs(distances - NEAR) > 0.005) & ~np.eye(len(frames), dtype=bool)
    assert is_clear.mean() > 0.95
    found = graph(frames).toarray()
    assert np.array_equal(found[is_clear], distances[is_clear] < NEAR)
    assert found[is_clear].any()


def test_a_copy_is_a_near_duplicate_but_no_image_is_its_own(drives: np.ndarray):
    one, other = drives[0, 0], drives[1, 0]
    assert graph(np.stack([one, other, one])).toarray().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(("contrast", "brightness"), [(0.5, 0), (0.5, 100), (0.8, 50)])
def test_brightness_and_contrast_do_not_matter(drives: np.ndarray, contrast: float, brightness: float):
    for frame in drives[:, 0]:
        changed = (contrast * frame + brightness).astype(np.uint8)
        assert graph(np.stack([frame, changed]))[0, 1] == 1


def test_images_of_one_colour_are_alike_and_unlike_others():
    noise = np.random.default_rng(0).integers(20, 200, (3, 16, 32))
    images = np.stack([*(np.full((3, 16, 32), grey) for grey in (0, 100)), noise])
    assert graph(images.astype(np.uint8)).toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
