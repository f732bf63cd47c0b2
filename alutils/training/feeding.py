"""Batches on the device. A data set that fits is kept on the GPU; otherwise batches are gathered ahead of their use."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset
from alutils.models.base import Maps

RESIDENT_SHARE = 0.5  # the share of the GPU's free memory that a data set may take
CHUNK = 64  # images copied to the GPU at a time

Asked = TypeVar("Asked")
Given = TypeVar("Given")


def feed(
    dataset: ImageDataset,
    batches: Iterable[np.ndarray],
    device: torch.device,
    change: Callable[[Any, Tensor], tuple[Any, Tensor]] = lambda images, labels: (images, labels),
) -> Iterator[tuple[Any, Tensor]]:
    """Yield images (B, C, H, W) float32, normalised, and labels (B, ...) uint8 for each array of B indices.

    A data set with features gives `Maps` in place of images. All are on `device`. `change` is applied to both before
    images are normalised. While a batch is in use, another thread reads the next one from the memory-mapped arrays.
    """
    mean, std = (255 * torch.tensor(x, device=device).view(1, -1, 1, 1) for x in (dataset.mean, dataset.std))
    kept = resident(dataset, device)

    def gather(indices: np.ndarray) -> list[Tensor]:
        if kept is not None:
            chosen = torch.from_numpy(indices).to(device)
            return [array[chosen] for array in kept]
        gathered = [torch.from_numpy(array[indices]) for array in arrays(dataset)]
        return [array.pin_memory() for array in gathered] if device.type == "cuda" else gathered

    for gathered in one_ahead(gather, batches):
        labels, *read = (array.to(device, non_blocking=True) for array in gathered)
        if dataset.features:
            shape = torch.Size([len(labels), *dataset.images.shape[1:]])
            yield change(Maps(read, shape), labels)
        else:
            images, labels = change(read[0].to(memory_format=torch.channels_last), labels)
            yield (images - mean).div_(std), labels


def arrays(dataset: ImageDataset) -> list[np.ndarray]:
    """Return the labels of a data set, and what a network reads: its images, or all levels of its features."""
    return [dataset.labels, *(dataset.features.levels if dataset.features else [dataset.images])]


@lru_cache(maxsize=2)  # a training and a test set
def resident(dataset: ImageDataset, device: torch.device) -> list[Tensor] | None:
    """Return copies of `arrays` on the GPU; `None` on a CPU, or if the GPU has too little memory."""
    if device.type != "cuda":
        return None
    if sum(array.nbytes for array in arrays(dataset)) > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    return [_copied(array, device) for array in arrays(dataset)]


def _copied(array: np.ndarray, device: torch.device) -> Tensor:
    """Return a copy of a memory-mapped array on `device`, in its order; memory holds only `CHUNK` images at a time."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    copy = torch.empty_strided(
        array.shape, strides, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device
    )
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
