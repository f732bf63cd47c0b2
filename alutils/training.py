"""Training and evaluation; loss, schedule and precision in plain sight."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alutils.config import Recipe
from alutils.datasets import IGNORE_INDEX, ImageDataset, label_counts
from alutils.metrics import confusion_matrix
from alutils.models import SplitModel
from alutils.progress import bar
from alutils.seeds import derive_seed, numpy_generator

AUXILIARY_WEIGHT = 0.4


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_optimizer(model: SplitModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return Adam over all weights of `model`."""
    return torch.optim.Adam(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which forward passes run."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def load_images(dataset: ImageDataset, indices: np.ndarray, device: torch.device) -> Tensor:
    """Return images (B, C, H, W) float32, normalised, on `device`."""
    images = torch.from_numpy(dataset.images[indices]).to(device)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    return ((images / 255 - mean) / std).to(memory_format=torch.channels_last)


def load_labels(dataset: ImageDataset, indices: np.ndarray, device: torch.device) -> Tensor:
    """Return labels (B, ...) int64 on `device`."""
    return torch.from_numpy(dataset.labels[indices]).to(device).long()


def class_loss_weights(dataset: ImageDataset, indices: np.ndarray) -> Tensor:
    """Return (C,) float32, ENet's 1 / ln(1.02 + share), shares counted on the labelled images only."""
    counts = label_counts(dataset, indices)
    return torch.tensor(1 / np.log(1.02 + counts / max(counts.sum(), 1)), dtype=torch.float32)


def train(
    model: SplitModel,
    optimizer: torch.optim.Optimizer,
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    decay: tuple[float, float] = (1.0, 0.0),
    first_epoch: int = 0,
    after_epoch: Callable[[int, bool], None] = lambda epochs_done, is_last: None,
) -> None:
    """Train `model` on the images `indices` of `dataset`, in place.

    The learning rate falls linearly from `decay[0]` to `decay[1]` times the recipe's. Order, flips and
    dropout of an epoch depend on `seed` and its number only, so that training resumed at `first_epoch` is the
    same training; `after_epoch` is told how many are done and whether that was the last.
    """
    device = next(model.parameters()).device
    weights = class_loss_weights(dataset, indices).to(device) if recipe.class_weights else None
    total, per_epoch = recipe.total_steps(len(indices)), math.ceil(len(indices) / recipe.batch_size)
    rates = recipe.learning_rate * (decay[0] + (decay[1] - decay[0]) * np.arange(total) / total)
    epochs = math.ceil(total / per_epoch)
    progress = bar(total, f"training on {len(indices)}")
    progress.update(first_epoch * per_epoch)
    for epoch in range(first_epoch, epochs):
        batches = epoch_batches(indices, recipe.batch_size, derive_seed(seed, "order", epoch))
        torch.manual_seed(derive_seed(seed, "dropout", epoch))
        flips = numpy_generator(seed, "flips", epoch)
        for rate, batch in zip(rates[epoch * per_epoch :], batches, strict=False):
            images, labels = load_images(dataset, batch, device), load_labels(dataset, batch, device)
            if dataset.is_dense:
                images, labels = flip_half(images, labels, flips)
            train_step(model, optimizer, images, labels, weights, float(rate), recipe.precision)
            progress.update()
        after_epoch(epoch + 1, epoch + 1 == epochs)
    progress.close()


def epoch_batches(indices: np.ndarray, batch_size: int, seed: int) -> np.ndarray:
    """Return (steps, B) indices in random order; the last batch is filled up with the first images."""
    order = np.random.default_rng(seed).permutation(indices)
    steps = math.ceil(len(order) / batch_size)
    return np.resize(order, (steps, batch_size))


def flip_half(images: Tensor, labels: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror about half of the images, and their labels with them, left to right."""
    chosen = torch.from_numpy(generator.random(len(images)) < 0.5).to(images.device)
    images = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    return images, torch.where(chosen[:, None, None], labels.flip(-1), labels)


def train_step(
    model: SplitModel,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    rate: float,
    precision: str,
) -> None:
    """Take one optimizer step; a loss that is not finite raises `FloatingPointError`."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.train()
    with autocast(precision, images.device):
        main, *auxiliary = model.training_logits(images)
    losses = [F.cross_entropy(x.float(), labels, weights, ignore_index=IGNORE_INDEX) for x in (main, *auxiliary)]
    loss = losses[0] + AUXILIARY_WEIGHT * sum(losses[1:])
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss.item()} at learning rate {rate:g}; a lower one may help, if a label is not all void"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.inference_mode()
def evaluate(model: SplitModel, dataset: ImageDataset, recipe: Recipe) -> Tensor:
    """Return the confusion matrix (C, C) int64 of `model` on the whole of `dataset`, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    total = torch.zeros(dataset.num_classes, dataset.num_classes, dtype=torch.int64, device=device)
    for batch in in_batches(np.arange(len(dataset)), recipe.batch_size, f"testing on {len(dataset)}"):
        with autocast(recipe.precision, device):
            logits = model(load_images(dataset, batch, device))
        total += confusion_matrix(logits, load_labels(dataset, batch, device))
    return total.cpu()


def in_batches(indices: np.ndarray, batch_size: int, description: str) -> Iterator[np.ndarray]:
    """Yield `indices` in order, `batch_size` at a time, under a bar."""
    progress = bar(len(indices), description)
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        yield batch
        progress.update(len(batch))
    progress.close()
