"""How a network is trained: checked parameters. This module does not load torch."""

import math
from dataclasses import dataclass

from alutils.datasets import ImageDataset
from alutils.errors import check_choice, check_range

AUGMENTATIONS = ("flip", "scale", "colour")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. Queries are compared with one and the same recipe.

    batch_size : at most the number of training images; where fewer are labelled, some are in a batch several times
    steps : optimizer steps of one training; if `None`, a training has `epochs` passes over its images
    class_weights : weigh a pixel's loss by 1 / ln(1.02 + s), where s is its class's share of the labelled pixels
    void_class : train void as one more class instead of leaving it out of the loss; a pixel of a class that is
        predicted to be void counts as an error
    augmentation : random changes to every batch, "flip", "scale" and "colour", joined by "+"; "none" for digits
    precision : "float32", "bfloat16" (autocast), or "auto", which is bfloat16 on a GPU and float32 on a CPU; where the
        processor has no bfloat16, it is float32, and the run's provenance says so
    """

    epochs: int
    steps: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    class_weights: bool
    void_class: bool
    augmentation: str
    precision: str

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in self.augmentations:
            check_choice("augmentation", name, [*AUGMENTATIONS, "several of them joined by +, or none alone"])
        check_choice("precision", self.precision, PRECISIONS)
        check_range("epochs", self.epochs, 1, math.inf)
        check_range("steps", 1 if self.steps is None else self.steps, 1, math.inf)
        check_range("batch_size", self.batch_size, 2, math.inf)
        check_range("learning_rate", self.learning_rate, 1e-12, 10)
        check_range("weight_decay", self.weight_decay, 0, 10)

    @property
    def augmentations(self) -> list[str]:
        """Return the names of the random changes, in the order in which they are applied."""
        return [] if self.augmentation == "none" else self.augmentation.split("+")

    def total_steps(self, image_count: int) -> int:
        """Return the optimizer steps of one training on `image_count` images."""
        return self.steps or self.epochs * self.steps_per_epoch(image_count)

    def steps_per_epoch(self, image_count: int) -> int:
        """Return the optimizer steps of one pass over `image_count` images."""
        return math.ceil(image_count / self.batch_size)

    def total_epochs(self, image_count: int) -> int:
        """Return the epochs of one training on `image_count` images; `steps` may end within the last one."""
        return math.ceil(self.total_steps(image_count) / self.steps_per_epoch(image_count))

    def outputs(self, dataset: ImageDataset) -> int:
        """Return the number of classes that a network for `dataset` predicts."""
        return dataset.num_classes + self.void_class
