"""Windows and superpixels, their scores, what of their images is trained on, and what labelling them costs."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import DataError, ParameterError
from alutils.models import build_model
from alutils.queries.committee import Committee
from alutils.queries.parts import Superpixels, Windows
from alutils.queries.query import parse_query
from alutils.queries.reductions import mean_over_image, sum_over_image
from alutils.queries.regions import Pieces, clicks, divide, region_scores
from alutils.queries.scoring import random_scores, score_images
from alutils.training.recipe import Recipe

RECIPE = Recipe(
    epochs=1, steps=None, batch_size=5, learning_rate=0.01, weight_decay=0, class_weights=False, void_class=False,
    augmentation="none", precision="float32",
)  # fmt: skip


def test_windows_are_a_grid_of_like_size(tiny_scenes: ImageDataset):
    maps, most = divide(tiny_scenes, Windows(3, 4))
    assert most == 12
    assert maps.shape == (12, 24, 32)
    assert maps.dtype == np.uint16
    assert np.bincount(maps[5].ravel()).tolist() == [64] * 12
    assert maps[0, 0].tolist() == np.repeat(range(4), 8).tolist()
    assert maps[0, 23, 0] == 8
    uneven, _ = divide(tiny_scenes, Windows(5, 1))
    assert set(np.bincount(uneven[0].ravel())) == {4 * 32, 5 * 32}


def test_superpixels_follow_the_image_and_are_kept(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    scenes = replace(tiny_scenes, fingerprint="superpixels" + "f" * 20)
    maps, most = divide(scenes, Superpixels(12))
    assert most == 1 + maps.max()
    assert maps.dtype == np.uint16
    assert 6 <= most <= 24, "about 12"
    for regions, image in zip(maps, scenes.images, strict=True):
        assert set(np.unique(regions)) == set(range(regions.max() + 1)), "numbered without gaps"
        within = sum(image[:, regions == region].std(axis=1).sum() for region in np.unique(regions))
        assert within / (regions.max() + 1) < 0.8 * image.reshape(3, -1).std(axis=1).sum()
    monkeypatch.setattr("alutils.queries.regions._write_superpixels", None)
    again, _ = divide(scenes, Superpixels(12))
    np.testing.assert_array_equal(again, maps)


def test_damaged_superpixels_are_one_line(tiny_scenes: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    divide(tiny_scenes, Superpixels(12))
    (path,) = (tmp_path / "cache").glob("tiny-*/*.npy")
    content = path.read_bytes()
    for damaged in (b"", content[:-9], content[:-1] + bytes([content[-1] ^ 1])):
        time.sleep(0.02)  # until the clock of the file system ticks
        path.unlink()
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"^{path.parent}: damaged cache; remove this folder and start again"):
            divide(tiny_scenes, Superpixels(12))


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (Windows(25, 4), "rows of windows is 25; allowed: 1 to 24"),
        (Windows(4, 33), "columns of windows is 33; allowed: 1 to 32"),
        (Superpixels(193), "count of superpixels is 193; allowed: 2 to 192"),
    ],
)
def test_impossible_regions_are_one_line(regions: Windows | Superpixels, message: str, tiny_scenes: ImageDataset):
    with pytest.raises(ParameterError, match=f"^{message}$"):
        divide(tiny_scenes, regions)


def test_digits_have_no_regions():
    with pytest.raises(ParameterError, match=r"^digits has one label per image; allowed: queries of whole images$"):
        divide(load_dataset("digits", "test"), Windows(2, 2))


def test_a_regions_score_is_that_of_its_pixels():
    scores = torch.arange(8.0).reshape(2, 2, 2)
    maps = np.array([[[0, 0], [2, 2]], [[1, 0], [1, 1]]])
    found = region_scores(scores, maps, 3, mean_over_image)
    assert torch.nan_to_num(found, nan=-1).tolist() == [[0.5, -1, 2.5], [5, pytest.approx(17 / 3), -1]]
    assert torch.nan_to_num(region_scores(scores, maps, 3, sum_over_image), nan=-1).tolist() == [
        [1, -1, 5],
        [5, 17, -1],
    ]


def test_windows_of_a_query_average_to_the_images_score(tiny_scenes: ImageDataset):
    model = build_model("unet_small", 3, seed=0)

    def score(name: str) -> np.ndarray:
        indices = np.array([7, 0, 3, 11, 4, 5, 6])
        return score_images(parse_query(name), Committee([model], 3, 0.5), tiny_scenes, indices, RECIPE)

    windows = score("consensus_entropy+windows4x4")
    assert windows.shape == (7, 16)
    np.testing.assert_allclose(windows.mean(axis=1), score("consensus_entropy"), rtol=1e-5)
    generator = np.random.default_rng(0)
    drawn = random_scores(parse_query("random+windows4x4"), tiny_scenes, np.arange(7), generator=generator)
    assert drawn.shape == (7, 16)


def test_pieces_are_images_or_regions(tiny_scenes: ImageDataset):
    images = Pieces(tiny_scenes, None)
    assert images.numbers(np.array([3, 1]), np.array([-1, -1])).tolist() == [1, 3]
    assert images.room(5, np.array([1, 3])) == 3
    dataset, chosen = images.labelled_only(np.array([3, 1]))
    assert dataset is tiny_scenes
    assert chosen.tolist() == [1, 3]

    windows = Pieces(tiny_scenes, Windows(2, 2))
    assert len(windows.sizes) == 48
    assert windows.numbers(np.array([2, 5, 5]), np.array([-1, 3, 0])).tolist() == [8, 9, 10, 11, 23, 20]
    assert windows.room(1, np.array([8, 23])) == 24 * 32 // 2
    dataset, chosen = windows.labelled_only(np.array([8, 9, 10, 11, 23]))
    assert chosen.tolist() == [2, 5]
    np.testing.assert_array_equal(dataset.labels[2], tiny_scenes.labels[2])
    np.testing.assert_array_equal(dataset.labels[5, 12:, 16:], tiny_scenes.labels[5, 12:, 16:])
    assert (dataset.labels[5, :12] == 255).all()
    assert (dataset.labels[5, :, :16] == 255).all()
    assert (dataset.labels[0] == 255).all()
    assert windows.cost(5, 3)["pixels"] == 24 * 32 // 4
    assert windows.cost(5, -1) == images.cost(5, -1)


@pytest.mark.parametrize("regions", [None, Windows(2, 3), Superpixels(12)])
def test_pieces_are_numbered_image_by_image(regions: Windows | Superpixels | None, tiny_scenes: ImageDataset):
    """By a plain loop over what the maps hold; superpixels are more in one image than in another."""
    pieces = Pieces(replace(tiny_scenes, fingerprint="superpixels" + "f" * 20), regions)
    expected: list[tuple[int, int, int]] = []
    for image in range(12):
        of_image = np.zeros((1, 1), int) if pieces.maps is None else pieces.maps[image]
        expected += [(image, number, int((of_image == number).sum())) for number in range(int(of_image.max()) + 1)]
    found = zip(pieces.images.tolist(), pieces.regions.tolist(), pieces.sizes.tolist(), strict=True)
    assert list(found) == expected
    assert pieces.sizes.dtype == np.int64
    everything = np.arange(len(expected))
    np.testing.assert_array_equal(pieces.numbers(pieces.images, pieces.regions), everything)
    np.testing.assert_array_equal(pieces.numbers(np.arange(12), np.full(12, -1)), everything)
    assert [pieces.room(12, everything[:0]), pieces.room(12, everything)] == [pieces.sizes.sum(), 0]
    if regions is not None:
        one_too_many = int((pieces.images == 5).sum())
        with pytest.raises(ValueError, match=f"^image 5 has no region {one_too_many}$"):
            pieces.numbers(np.array([3, 5]), np.array([0, one_too_many]))


def test_each_region_costs_its_own_pixels_and_clicks(tiny_scenes: ImageDataset):
    label = np.zeros((24, 32), np.uint8)
    label[12:, :8] = 1  # half of the first of the two lower windows
    scenes = replace(tiny_scenes, labels=np.stack([label] * 12))
    windows = Pieces(scenes, Windows(2, 2))
    assert [windows.cost(3, region) for region in range(-1, 4)] == [
        {"pixels": 24 * 32, "clicks": 4 + 6},  # a rectangle, and what it leaves of the scene
        *[{"pixels": 12 * 16, "clicks": 1}] * 2,
        {"pixels": 12 * 16, "clicks": 4 + 4},
        {"pixels": 12 * 16, "clicks": 1},
    ]


def test_clicks_are_the_corners_of_polygons():
    label, everything = np.zeros((20, 20), np.uint8), np.ones((20, 20), bool)
    assert clicks(label, everything) == 1, "of one class: one click"
    assert clicks(np.full((20, 20), 255), everything) == 0, "void"
    label[:, 10:] = 1
    assert clicks(label, everything) == 8, "two rectangles"
    label[5:9, 2:6] = 2
    assert 8 + 4 + 4 <= clicks(label, everything) <= 8 + 6 + 6, "another one, in a hole"
    strips = np.zeros_like(label)
    strips[:, 7:14], strips[:, 14:] = 1, 2
    assert clicks(strips, everything) == 12, "three rectangles"
    speck = np.zeros_like(label)
    speck[5, 5] = 1
    assert clicks(speck, everything) == 4 + 1 + 1, "a pixel takes one click, and so does the hole that it is in"
    right = np.zeros_like(everything)
    right[:, 12:] = True
    assert clicks(label, right) == 1
    rows, columns = np.mgrid[:60, :60]
    disc = ((rows - 30) ** 2 + (columns - 30) ** 2 < 400).astype(np.uint8)
    assert 20 < clicks(disc, np.ones_like(disc, bool)) < 60, "a curve takes more"
