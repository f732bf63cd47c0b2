"""Training and testing: loss, learning rate and precision are all in this file."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alutils.datasets import IGNORE_INDEX, ImageDataset, clips, label_counts
from alutils.models import SplitModel
from alutils.models.base import Maps, inference_copy, predicted_classes
from alutils.progress import bar
from alutils.provenance import computes_bfloat16
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.augmentation import augment
from alutils.training.feeding import feed
from alutils.training.memory import keep_freed_memory
from alutils.training.metrics import (
    accuracy,
    category_iou,
    class_iou,
    confusion_matrix,
    intersections_and_unions,
    mean_iou,
    resize_predictions,
)
from alutils.training.optimizer import Adam
from alutils.training.recipe import Recipe

DIGITS_AT_ONCE = 250  # of few at a time, most of a committee's time would be that of calls


class Trainer:
    """A network in training, with its optimizer (Adam over all weights) and its recipe, on one device."""

    def __init__(self, network: SplitModel, recipe: Recipe, device: torch.device | None = None):
        keep_freed_memory()
        self.device = device or default_device()
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.optimizer: torch.optim.Optimizer = Adam(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )

    def state(self) -> dict[str, Any]:
        """Return the weights and the optimizer's state, for `load_state`."""
        return {"model": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def train(
        self,
        dataset: ImageDataset,
        indices: np.ndarray,
        *,
        seed: int,
        decay: tuple[float, float] = (1.0, 0.0),
        first_epoch: int = 0,
        after_epoch: Callable[[int, bool], None] = lambda epochs_done, is_last: None,
        left_out: Sequence[np.ndarray] = (),
    ) -> None:
        """Train the network on the images `indices` of `dataset`.

        The learning rate falls linearly from `decay[0]` to `decay[1]` times the recipe's. The order of the images,
        their augmentation and the dropout depend only on `seed` and the number of the epoch, so a training that is
        resumed at `first_epoch` gives the same network as one that was never interrupted.

        after_epoch : is called after each epoch, with the number of epochs done and whether this was the last one
        left_out : for heads that are trained as one, those of the images that each of them does not learn from
        """
        recipe, count = self.recipe, len(indices)
        weights = self._class_weights(dataset, [np.setdiff1d(indices, of) for of in left_out] or [indices])
        total, per_epoch, epochs = recipe.total_steps(count), recipe.steps_per_epoch(count), recipe.total_epochs(count)
        rates = recipe.learning_rate * (decay[0] + (decay[1] - decay[0]) * np.arange(total) / total)
        progress = bar(total, f"training on {count}")
        progress.update(first_epoch * per_epoch)
        for epoch in range(first_epoch, epochs):
            epoch_rates = rates[epoch * per_epoch :][:per_epoch]
            torch.manual_seed(derive_seed(seed, "dropout", epoch))
            losses = []
            batches = self._batches(dataset, indices, left_out, len(epoch_rates), seed, epoch)
            for rate, (images, targets, hidden) in zip(epoch_rates, batches, strict=True):
                losses.append(self.step(images, targets, weights, float(rate), hidden))
                progress.update()
            check_losses(torch.stack(losses), epoch_rates)
            after_epoch(epoch + 1, epoch + 1 == epochs)
        progress.close()

    def _class_weights(self, dataset: ImageDataset, images: Sequence[np.ndarray]) -> Tensor | None:
        """Return the weights of each class in the loss, (J, C), for each of J sets of images."""
        if not self.recipe.class_weights:
            return None
        weights = [class_loss_weights(dataset, indices, self.recipe.void_class) for indices in images]
        return torch.stack(weights).to(self.device)

    def _batches(
        self,
        dataset: ImageDataset,
        indices: np.ndarray,
        left_out: Sequence[np.ndarray],
        steps: int,
        seed: int,
        epoch: int,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield the first `steps` batches of an epoch, augmented, for `step`: images, targets and what is hidden."""
        batches = epoch_batches(indices, self.recipe.batch_size, derive_seed(seed, "order", epoch))[:steps]
        generator = numpy_generator(seed, "augmentation", epoch)
        change = partial(augment, names=self.recipe.augmentations, generator=generator)
        for batch, (images, labels) in zip(batches, feed(dataset, batches, self.device, change), strict=True):
            if self.recipe.void_class:
                labels = labels.masked_fill(labels == IGNORE_INDEX, dataset.num_classes)
            hidden = None
            if left_out:
                hidden = torch.from_numpy(np.stack([np.isin(batch, of) for of in left_out])).to(self.device)
            yield images, labels, hidden

    def step(
        self,
        images: Tensor | Maps,
        targets: Tensor,
        weights: Tensor | None,
        rate: float,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Take one optimizer step at the learning rate `rate` and return its loss, 0 for a batch without a label.

        The loss is a tensor on the device: reading its value waits for the GPU.

        images : (B, C, H, W) float32, or maps of a frozen encoder
        targets : (B, ...), classes or `IGNORE_INDEX`; logits of fewer pixels are compared with the nearest ones
        weights : (C,), the weight of each class in the loss, or (J, C) for J heads; `None` for equal weights
        hidden : (J, B), where one of J heads that are trained as one does not learn from an image
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with autocast(self.recipe.precision, images.device):
            outputs, targets_of = self._outputs(images, targets, hidden)
        weights_of = [None] * len(outputs) if weights is None else weights.expand(len(outputs), -1)
        losses = [mean_loss(*of) for of in zip(outputs, targets_of, weights_of, strict=True)]
        loss = losses[0] + self.network.further_weight * sum(losses[1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _outputs(
        self, images: Tensor | Maps, targets: Tensor, hidden: Tensor | None
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the logits that enter the loss, (N, classes, ...) each, and for each the targets (N, ...) of its size.

        Where few pixels have a label, these are the logits (P, classes) of the labelled ones, and their targets (P,).
        """
        if isinstance(images, Maps) and images.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            small = resize_predictions(targets, images.levels[0].shape[2:])
            labelled = small != IGNORE_INDEX
            if 0 < labelled.float().mean() < self.network.few_pixels:
                outputs = self.network.logits_at(images, labelled)
                return outputs, [of[labelled].long() for of in _for_each(outputs, small, hidden)]
        outputs = self.network.training_logits(images)
        return outputs, _for_each(outputs, resize_predictions(targets, outputs[0].shape[2:]).long(), hidden)


def _for_each(outputs: Sequence[Tensor], targets: Tensor, hidden: Tensor | None) -> list[Tensor]:
    """Return the targets (N, ...) of each output: all, or those of the images that are not hidden from it."""
    if hidden is None:
        return [targets] * len(outputs)
    return [targets.masked_fill(of.view(-1, *[1] * (targets.ndim - 1)), IGNORE_INDEX) for of in hidden]


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean cross entropy of logits (N, classes, ...) over targets (N, ...) with a label, 0 if there is none.

    weights : (C,), the weight of each class
    """
    mean = F.cross_entropy(logits.float(), targets, weights, ignore_index=IGNORE_INDEX)
    return torch.where((targets != IGNORE_INDEX).any(), mean, 0.0)  # the mean over none is not a number


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which forward passes run; `precision` is one of `recipe.PRECISIONS`."""
    is_asked_for = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=is_asked_for and computes_bfloat16(device))


def class_loss_weights(dataset: ImageDataset, indices: np.ndarray, void_class: bool = False) -> Tensor:
    """Return ENet's class weights 1 / ln(1.02 + share), (C,) float32; with `void_class` also void's, (C + 1,).

    A class's share is counted over the labels of the images `indices`.
    """
    counts = label_counts(dataset, indices, void_class)
    return torch.tensor(1 / np.log(1.02 + counts / max(counts.sum(), 1)), dtype=torch.float32)


def epoch_batches(indices: np.ndarray, batch_size: int, seed: int) -> np.ndarray:
    """Return `indices` in random order as (steps, B); the first images are repeated to fill the last batch."""
    order = np.random.default_rng(seed).permutation(indices)
    steps = math.ceil(len(order) / batch_size)
    return np.resize(order, (steps, batch_size))


def check_losses(losses: Tensor, rates: np.ndarray) -> None:
    """Raise `FloatingPointError` if one of an epoch's losses is not finite.

    Once an epoch is enough; looking at each step's loss would wait for the GPU each time.
    """
    broken = torch.nonzero(~torch.isfinite(losses))
    if len(broken):
        step = int(broken[0])
        raise FloatingPointError(
            f"the loss is {losses[step].item()} at learning rate {rates[step]:g}; a lower one may help"
        )


class Tested(NamedTuple):
    """What a network reaches on a test set.

    measures : the accuracy and, for scenes, the mean IoU and that of each class and each category
    clips : the pixels of each class's intersection and union in each of the test set's `clips`, (K, 2, C) int64
    """

    measures: dict[str, float]
    clips: Tensor


def measure_on_test_set(model: SplitModel, test_set: ImageDataset, recipe: Recipe) -> Tested:
    """Return what a network reaches on the test set."""
    confusions = evaluate(model, test_set, recipe)
    return Tested(_measures(confusions.sum(dim=0), test_set), intersections_and_unions(confusions))


def _measures(confusion: Tensor, test_set: ImageDataset) -> dict[str, float]:
    if not test_set.is_dense:
        return {"accuracy": accuracy(confusion)}
    of_classes, of_categories = class_iou(confusion), category_iou(confusion, list(test_set.categories.values()))
    return (
        {"miou": mean_iou(confusion), "accuracy": accuracy(confusion)}
        | {f"iou_{name}": iou for name, iou in zip(test_set.class_names, of_classes.tolist(), strict=True)}
        | {f"category_iou_{name}": iou for name, iou in zip(test_set.categories, of_categories.tolist(), strict=True)}
    )


@torch.inference_mode()
def evaluate(model: SplitModel, dataset: ImageDataset, recipe: Recipe) -> Tensor:
    """Return the confusion matrix of `model` on each of the `clips` of `dataset`, (K, C, C) int64, on the CPU.

    It is (K, C, C + 1) for a network that can predict void. Predictions are enlarged to the labels' resolution.
    """
    outputs, ends = recipe.outputs(dataset), np.cumsum([len(images) for _, images in clips(dataset)])
    totals, done = torch.zeros(len(ends), outputs, outputs, dtype=torch.int64), 0
    for predictions, labels in predict(model, dataset, recipe):
        clip_of = np.searchsorted(ends, np.arange(done, done + len(labels)), side="right")
        numbers, counts = np.unique(clip_of, return_counts=True)
        parts = predictions.split(counts.tolist()), labels.split(counts.tolist())
        for clip, of_predictions, of_labels in zip(numbers, *parts, strict=True):
            totals[clip] += confusion_matrix(of_predictions, of_labels, outputs).cpu()
        done += len(labels)
    return totals[:, : dataset.num_classes]


@torch.inference_mode()
def predict(model: SplitModel, dataset: ImageDataset, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield predictions and labels of all images in order, both (B, ...), a batch at a time."""
    device, model = next(model.parameters()).device, inference_copy(model)
    batches = in_batches(np.arange(len(dataset)), at_once(dataset, recipe), f"testing on {len(dataset)}")
    for images, labels in feed(dataset, batches, device):
        with autocast(recipe.precision, device):
            predictions = predicted_classes(model(images))
        yield resize_predictions(predictions, labels.shape[1:]), labels


def at_once(dataset: ImageDataset, recipe: Recipe) -> int:
    """Return how many images a network reads at once that does not learn from them; digits are small."""
    return recipe.batch_size if dataset.is_dense else max(recipe.batch_size, DIGITS_AT_ONCE)


def in_batches(indices: np.ndarray, batch_size: int, description: str) -> Iterator[np.ndarray]:
    """Yield `indices` in order, `batch_size` at a time, and show a progress bar."""
    progress = bar(len(indices), description)
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        yield batch
        progress.update(len(batch))
    progress.close()
