"""Batches on the device: the whole data set is kept on a GPU if it fits, else batches are gathered ahead of use."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset

RESIDENT_SHARE = 0.5  # of the GPU's free memory that a data set may take
CHUNK = 64  # images copied to the GPU at a time

Asked = TypeVar("Asked")
Given = TypeVar("Given")


def feed(
    dataset: ImageDataset,
    batches: Iterable[np.ndarray],
    device: torch.device,
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda images, labels: (images, labels),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each array of B indices, images (B, C, H, W) float32, normalised, and labels (B, ...) uint8.

    Both lie on `device`, and went through `change` as bytes. While a batch is worked on, the next one is gathered
    from the memory-mapped arrays by another thread.
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
    """Return images and labels, uint8, copied to a GPU; `None` on a CPU, or if they would take too much of it."""
    if device.type != "cuda":
        return None
    size = dataset.images.nbytes + dataset.labels.nbytes
    if size > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    return _copied(dataset.images, device), _copied(dataset.labels, device)


def _copied(array: np.ndarray, device: torch.device) -> Tensor:
    """Return a memory-mapped array on `device`, without holding the whole of it in memory."""
    copy = torch.empty(array.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(array), CHUNK):
        copy[start : start + CHUNK] = torch.from_numpy(np.array(array[start : start + CHUNK]))
    return copy


def one_ahead(function: Callable[[Asked], Given], items: Iterable[Asked]) -> Iterator[Given]:
    """Yield `function(item)` for each item, in order; the next one is computed meanwhile by another thread."""
    with ThreadPoolExecutor(1) as worker:
        pending: Future[Given] | None = None
        for item in items:
            following = worker.submit(function, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
