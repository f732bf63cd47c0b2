"""Training and evaluation; loss, schedule and precision in plain sight."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alutils.datasets import IGNORE_INDEX, ImageDataset, label_counts
from alutils.errors import DataError
from alutils.models import SplitModel
from alutils.models.base import inference_copy
from alutils.progress import bar
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.augmentation import augment
from alutils.training.feeding import feed
from alutils.training.memory import keep_freed_memory
from alutils.training.metrics import confusion_matrix, resize_predictions
from alutils.training.recipe import Recipe

AUXILIARY_WEIGHT = 0.4

keep_freed_memory()


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


def class_loss_weights(dataset: ImageDataset, indices: np.ndarray, void_class: bool = False) -> Tensor:
    """Return (C,) float32, ENet's 1 / ln(1.02 + share), shares counted on the labelled images only.

    With `void_class` void is one class more, the last.
    """
    counts = label_counts(dataset, indices, void_class)
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

    The learning rate falls linearly from `decay[0]` to `decay[1]` times the recipe's. Order, augmentation and
    dropout of an epoch depend on `seed` and its number only, so that training resumed at `first_epoch` is the
    same training; `after_epoch` is told how many are done and whether that was the last.
    """
    check_labels(dataset, indices)
    device = next(model.parameters()).device
    weights = class_loss_weights(dataset, indices, recipe.void_class).to(device) if recipe.class_weights else None
    total, per_epoch = recipe.total_steps(len(indices)), math.ceil(len(indices) / recipe.batch_size)
    rates = recipe.learning_rate * (decay[0] + (decay[1] - decay[0]) * np.arange(total) / total)
    epochs = math.ceil(total / per_epoch)
    progress = bar(total, f"training on {len(indices)}")
    progress.update(first_epoch * per_epoch)
    for epoch in range(first_epoch, epochs):
        epoch_rates = rates[epoch * per_epoch :][:per_epoch]
        torch.manual_seed(derive_seed(seed, "dropout", epoch))
        losses = []
        batches = _epoch(dataset, indices, recipe, len(epoch_rates), device, seed, epoch)
        for rate, (images, targets) in zip(epoch_rates, batches, strict=True):
            losses.append(train_step(model, optimizer, images, targets, weights, float(rate), recipe.precision))
            progress.update()
        check_losses(torch.stack(losses), epoch_rates)
        after_epoch(epoch + 1, epoch + 1 == epochs)
    progress.close()


def _epoch(
    dataset: ImageDataset, indices: np.ndarray, recipe: Recipe, steps: int, device: torch.device, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, C, H, W) and targets (B, ...) of an epoch's first `steps` batches, in its order, augmented."""
    batches = epoch_batches(indices, recipe.batch_size, derive_seed(seed, "order", epoch))[:steps]
    generator = numpy_generator(seed, "augmentation", epoch)
    change = partial(augment, names=recipe.augmentations, generator=generator)
    void = dataset.num_classes if recipe.void_class else IGNORE_INDEX
    for images, labels in feed(dataset, batches, device, change):
        yield images, labels.long().masked_fill_(labels == IGNORE_INDEX, void)


def check_labels(dataset: ImageDataset, indices: np.ndarray) -> None:
    """Raise `DataError` if no label of the images `indices` is of a class."""
    if all((dataset.labels[index] == IGNORE_INDEX).all() for index in indices):
        raise DataError(f"{dataset.name} {dataset.split}: the labels of all {len(indices)} labelled images are void")


def epoch_batches(indices: np.ndarray, batch_size: int, seed: int) -> np.ndarray:
    """Return (steps, B) indices in random order; the last batch is filled up with the first images."""
    order = np.random.default_rng(seed).permutation(indices)
    steps = math.ceil(len(order) / batch_size)
    return np.resize(order, (steps, batch_size))


def train_step(
    model: SplitModel,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    rate: float,
    precision: str,
) -> Tensor:
    """Take one optimizer step; return its loss, of which nothing is known yet where a GPU is still computing it.

    images (B, C, H, W) float32; targets (B, ...) int64, classes or `IGNORE_INDEX`
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.train()
    with autocast(precision, images.device):
        main, *auxiliary = model.training_logits(images)
    losses = [F.cross_entropy(x.float(), targets, weights, ignore_index=IGNORE_INDEX) for x in (main, *auxiliary)]
    loss = losses[0] + AUXILIARY_WEIGHT * sum(losses[1:])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def check_losses(losses: Tensor, rates: np.ndarray) -> None:
    """Raise `FloatingPointError` if one of an epoch's losses is not finite: once an epoch, a GPU is not waited for."""
    broken = torch.nonzero(~torch.isfinite(losses))
    if len(broken):
        step = int(broken[0])
        raise FloatingPointError(
            f"the loss is {losses[step].item()} at learning rate {rates[step]:g}; a lower one may help, if no batch is"
            " all void"
        )


@torch.inference_mode()
def evaluate(model: SplitModel, dataset: ImageDataset, recipe: Recipe) -> Tensor:
    """Return the confusion matrix of `model` on the whole of `dataset`, int64, on the CPU.

    (C, C), or (C, C + 1) of a network that can predict void. Predictions are enlarged to the labels' resolution.
    """
    outputs = recipe.outputs(dataset)
    total = torch.zeros(outputs, outputs, dtype=torch.int64)
    for predictions, labels in predict(model, dataset, recipe):
        total += confusion_matrix(predictions, labels, outputs).cpu()
    return total[: dataset.num_classes]


@torch.inference_mode()
def predict(model: SplitModel, dataset: ImageDataset, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield predictions and labels, both (B, ...), of all images in order, a batch at a time."""
    device, model = next(model.parameters()).device, inference_copy(model)
    batches = in_batches(np.arange(len(dataset)), recipe.batch_size, f"testing on {len(dataset)}")
    for images, labels in feed(dataset, batches, device):
        with autocast(recipe.precision, device):
            predictions = model(images).argmax(dim=1)
        yield resize_predictions(predictions, labels.shape[1:]), labels


def in_batches(indices: np.ndarray, batch_size: int, description: str) -> Iterator[np.ndarray]:
    """Yield `indices` in order, `batch_size` at a time, under a bar."""
    progress = bar(len(indices), description)
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        yield batch
        progress.update(len(batch))
    progress.close()
