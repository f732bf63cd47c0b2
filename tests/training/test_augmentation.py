"""Images and labels change together, within the bounds, by the generator alone."""

import numpy as np
import pytest
import torch

from alutils.models.base import Maps
from alutils.training import recipe
from alutils.training.augmentation import CHANGES, FACTORS, augment, colour, flip, log_uniform, scale


def random_generator() -> np.random.Generator:
    return np.random.default_rng(0)


def squares(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, 3, 40, 60) that show their label: a square of class 1, value 1, on class 0, value -1."""
    labels = torch.zeros(count, 40, 60, dtype=torch.uint8)
    labels[:, 10:30, 20:50] = 1
    return (2.0 * labels[:, None] - 1).expand(-1, 3, -1, -1), labels


def test_flip_moves_image_and_label_alike():
    images = torch.arange(400 * 6).reshape(400, 1, 2, 3).float()
    flipped, labels = flip(images, images[:, 0], random_generator())
    assert torch.equal(flipped[:, 0], labels)
    mirrored = (flipped == images.flip(-1)).all(dim=(1, 2, 3))
    unchanged = (flipped == images).all(dim=(1, 2, 3))
    assert (mirrored ^ unchanged).all()
    assert 150 < mirrored.sum() < 250


class Chosen:
    """A generator that chooses the first image, and not the second."""

    def random(self, count: int) -> np.ndarray:
        return np.array([0.4, 0.5])


def test_flip_moves_maps_and_labels_alike_by_hand():
    fine, coarse = torch.arange(16.0).reshape(2, 2, 1, 4), torch.arange(8.0).reshape(2, 2, 2, 1)
    odd = torch.arange(6.0).reshape(2, 1, 1, 3)
    labels = torch.tensor([[[1, 2, 3, 4, 5]], [[6, 7, 8, 9, 10]]], dtype=torch.uint8)
    maps, moved = flip(Maps([fine, odd, coarse], torch.Size([2, 3, 1, 5])), labels, Chosen())  # type: ignore[arg-type]
    assert moved.tolist() == [[[5, 4, 3, 2, 1]], [[6, 7, 8, 9, 10]]]
    assert maps.levels[0].tolist() == [[[[3, 2, 1, 0]], [[7, 6, 5, 4]]], [[[8, 9, 10, 11]], [[12, 13, 14, 15]]]]
    assert maps.levels[1].tolist() == [[[[2, 1, 0]]], [[[3, 4, 5]]]]
    assert torch.equal(maps.levels[2], coarse)
    assert maps.shape == (2, 3, 1, 5)


def test_maps_and_images_are_flipped_by_the_same_draws():
    images, labels = torch.rand(20, 3, 4, 6), torch.zeros(20, 4, 6)
    flipped, _ = flip(images, labels, random_generator())
    maps, _ = flip(Maps([images], images.shape), labels, random_generator())
    assert torch.equal(maps.levels[0], flipped)


def test_scale_moves_image_and_label_alike():
    images, labels = scale(*squares(50), random_generator())
    assert labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) == {0, 1, 255}
    assert (images[:, 0][labels == 1] > -0.51).all(), "at a corner a quarter of a pixel may be in the square"
    assert (images[:, 0][labels == 0] < 0.01).all()
    sizes = (labels == 1).sum(dim=(1, 2)).float() / 600  # of the square: the factor squared, where it is not cropped
    assert sizes.min() < 0.4
    assert sizes.max() > 2
    framed = (labels == 255).any(dim=2).any(dim=1)
    assert 10 < framed.sum() < 40, "about half of the images are shrunk"
    assert (images[:, 0][labels == 255].abs() < 1.01).all()


def test_scale_without_change_is_the_identity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alutils.training.augmentation.SCALES", (1.0, 1.0))
    images, labels = torch.randn(3, 3, 7, 9), torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8)
    same, same_labels = scale(images, labels, random_generator())
    torch.testing.assert_close(same, images, atol=1e-5, rtol=1e-5)
    assert torch.equal(same_labels, labels)


def test_colour_changes_images_within_bounds_and_no_label():
    images, labels = squares(200)
    changed, same = colour(images, labels, random_generator())
    assert same is labels
    contrast = (changed.amax(dim=(1, 2, 3)) - changed.amin(dim=(1, 2, 3))) / 2
    assert FACTORS[0] <= contrast.min() < 0.8
    assert 1.25 < contrast.max() <= FACTORS[1] + 1e-6
    tinted = images * torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)
    saturation = colour(tinted, labels, random_generator())[0].std(dim=1).amax(dim=(1, 2)) / contrast
    assert saturation.std() > 0.05


def test_factors_enlarge_as_often_as_they_shrink():
    factors = log_uniform((0.5, 2.0), (1000,), random_generator())
    assert 0.5 <= factors.min() < 0.55
    assert 1.9 < factors.max() <= 2.0
    assert 430 < (factors > 1).sum() < 570


def test_all_that_a_recipe_may_name_are_there_and_follow_the_generator():
    assert tuple(CHANGES) == recipe.AUGMENTATIONS
    first, again = (augment(*squares(4), names=CHANGES, generator=random_generator()) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert augment(*squares(4), names=[], generator=random_generator())[0].equal(squares(4)[0])


@pytest.mark.parametrize("name", CHANGES)
def test_bytes_and_floats_are_changed_alike(name: str):
    images, labels = torch.randint(0, 256, (4, 3, 8, 9), dtype=torch.uint8), torch.zeros(4, 8, 9, dtype=torch.uint8)
    from_bytes = CHANGES[name](images, labels, random_generator())[0]
    torch.testing.assert_close(from_bytes.float(), CHANGES[name](images.float(), labels, random_generator())[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CHANGES)
def test_a_gpu_does_the_same(name: str):
    images, labels = squares(4)
    expected = CHANGES[name](images, labels, random_generator())
    for given, other in zip(CHANGES[name](images.cuda(), labels.cuda(), random_generator()), expected, strict=True):
        torch.testing.assert_close(given.cpu(), other, atol=1e-4, rtol=0)
