"""Batches on the device. A data set that fits is kept on the GPU; otherwise batches are gathered ahead of their use."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset

RESIDENT_SHARE = 0.5  # the share of the GPU's free memory that a data set may take
CHUNK = 64  # images copied to the GPU at a time

Asked = TypeVar("Asked")
Given = TypeVar("Given")


def feed(
    dataset: ImageDataset,
    batches: Iterable[np.ndarray],
    device: torch.device,
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda images, labels: (images, labels),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, C, H, W) float32, normalised, and labels (B, ...) uint8 for each array of B indices.

    Both are on `device`. `change` is applied to both before the images are normalised. While a batch is in use,
    another thread reads the next one from the memory-mapped arrays.
    """
    mean, std = (255 * torch.tensor(x, device=device).view(1, -1, 1, 1) for x in (dataset.mean, dataset.std))
    kept = resident(dataset, device)

    def gather(indices: np.ndarray) -> tuple[Tensor, Tensor]:
        if kept is not None:
            chosen = torch.from_numpy(indices).to(device)
            return kept[0][chosen], kept[1][chosen]
        images, labels = torch.from_numpy(dataset.images[indices]), torch.from_numpy(dataset.labels[indices])
        return (images.pin_memory(), labels.pin_memory()) if device.type == "cuda" else (images, labels)

    for gathered in one_ahead(gather, batches):
        images, labels = (array.to(device, non_blocking=True) for array in gathered)
        images, labels = change(images.to(memory_format=torch.channels_last), labels)
        yield (images - mean).div_(std), labels


@lru_cache(maxsize=2)  # a training and a test set
def resident(dataset: ImageDataset, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return copies of images and labels on the GPU, uint8; `None` on a CPU, or if the GPU has too little memory."""
    if device.type != "cuda":
        return None
    size = dataset.images.nbytes + dataset.labels.nbytes
    if size > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    return _copied(dataset.images, device), _copied(dataset.labels, device)


def _copied(array: np.ndarray, device: torch.device) -> Tensor:
    """Return a copy of a memory-mapped array on `device`; main memory holds only `CHUNK` images at a time."""
    copy = torch.empty(array.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(array), CHUNK):
        copy[start : start + CHUNK] = torch.from_numpy(np.array(array[start : start + CHUNK]))
    return copy


def one_ahead(function: Callable[[Asked], Given], items: Iterable[Asked]) -> Iterator[Given]:
    """Yield `function(item)` for each item, in order; another thread computes the next result in the meantime."""
    with ThreadPoolExecutor(1) as worker:
        pending: Future[Given] | None = None
        for item in items:
            following = worker.submit(function, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
