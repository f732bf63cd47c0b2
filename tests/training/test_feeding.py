"""Batches: normalised, in order, gathered ahead; on a GPU kept there or not, the same."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from alutils.datasets import ImageDataset
from alutils.models.base import Maps
from alutils.training import feeding
from alutils.training.feeding import feed, one_ahead

CPU = torch.device("cpu")
BATCHES = [np.array([1, 0, 1]), np.array([11])]


def test_images_are_normalised_and_labels_kept(tiny_scenes: ImageDataset):
    tiny_scenes.images[0], tiny_scenes.images[1] = 0, 255
    (images, labels), (last, _) = feed(tiny_scenes, BATCHES, CPU)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.amax(dim=(1, 2, 3)).tolist() == [2.0, -2.0, 2.0]  # mean 0.5, standard deviation 0.25
    assert images.amin(dim=(1, 2, 3)).tolist() == [2.0, -2.0, 2.0]
    assert torch.equal(labels, torch.from_numpy(tiny_scenes.labels[[1, 0, 1]]))
    expected = (torch.from_numpy(tiny_scenes.images[[11]]) / 255 - 0.5) / 0.25
    torch.testing.assert_close(last, expected)


def test_a_change_is_made_to_bytes(tiny_scenes: ImageDataset):
    def invert(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert images.dtype == torch.uint8
        return 255 - images, labels * 0

    (images, labels), _ = feed(tiny_scenes, BATCHES, CPU, invert)
    (plain, _), _ = feed(tiny_scenes, BATCHES, CPU)
    torch.testing.assert_close(images, -plain)  # as the mean is 0.5
    assert labels.max() == 0


def test_the_next_item_is_worked_on_while_one_is_used():
    events: list[str] = []

    def work(item: int) -> int:
        events.append(f"made {item}")
        return item

    for item in one_ahead(work, range(3)):
        time.sleep(0.05)
        events.append(f"used {item}")
    assert [event for event in events if event.startswith("used")] == ["used 0", "used 1", "used 2"]
    assert events.index("made 1") < events.index("used 0")
    assert events.index("made 2") < events.index("used 1")


def test_an_error_while_gathering_reaches_the_consumer_after_what_came_before():
    numbers = one_ahead(lambda item: 1 // item, [1, 0])
    assert next(numbers) == 1
    with pytest.raises(ZeroDivisionError):
        next(numbers)


def test_nothing_is_kept_on_a_cpu(tiny_scenes: ImageDataset):
    assert feeding.resident(tiny_scenes, CPU) is None
    assert list(feed(tiny_scenes, [], CPU)) == []


def test_what_a_gpu_keeps_lies_in_memory_as_the_cached_maps_do(frozen_scenes: ImageDataset):
    for array in feeding.arrays(frozen_scenes):
        kept = feeding._copied(array, CPU)
        expected = torch.from_numpy(np.array(array))
        assert torch.equal(kept, expected)
        assert kept[[2, 0]].stride() == expected[[2, 0]].stride()


def test_maps_are_the_cached_ones(frozen_scenes: ImageDataset):
    assert frozen_scenes.features is not None
    for (maps, labels), indices in zip(feed(frozen_scenes, BATCHES, CPU), BATCHES, strict=True):
        assert torch.equal(labels, torch.from_numpy(frozen_scenes.labels[indices]))
        assert maps.shape == (len(indices), 3, 24, 32)
        assert maps.device == CPU
        for level, cached in zip(maps.levels, frozen_scenes.features.levels, strict=True):
            assert level.dtype == torch.float16
            assert np.array_equal(level, cached[indices])
            assert level.is_contiguous(memory_format=torch.channels_last)


def test_a_change_is_made_to_maps(frozen_scenes: ImageDataset):
    def negative(maps: Maps, labels: torch.Tensor) -> tuple[Maps, torch.Tensor]:
        return maps._replace(levels=[-level for level in maps.levels]), labels * 0

    (changed, labels), _ = feed(frozen_scenes, BATCHES, CPU, negative)
    (plain, _), _ = feed(frozen_scenes, BATCHES, CPU)
    assert all(torch.equal(one, -other) for one, other in zip(changed.levels, plain.levels, strict=True))
    assert labels.max() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_gpu_is_fed_the_same_maps(share: float, frozen_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(feeding, "RESIDENT_SHARE", share)
    for (given, _), (expected, _) in zip(
        feed(frozen_scenes, BATCHES, gpu), feed(frozen_scenes, BATCHES, CPU), strict=True
    ):
        for one, other in zip(given.levels, expected.levels, strict=True):
            assert one.device.type == "cuda"
            assert torch.equal(one.cpu(), other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_gpu_is_fed_the_same(share: float, tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    gpu, dataset = torch.device("cuda"), replace(tiny_scenes)
    monkeypatch.setattr(feeding, "RESIDENT_SHARE", share)
    assert (feeding.resident(dataset, gpu) is None) == (share == 0)
    for given, expected in zip(feed(dataset, BATCHES, gpu), feed(dataset, BATCHES, CPU), strict=True):
        for one, other in zip(given, expected, strict=True):
            assert one.device.type == "cuda"
            torch.testing.assert_close(one.cpu(), other)
