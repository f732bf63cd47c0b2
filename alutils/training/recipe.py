"""How a network is trained: checked parameters; torch is not loaded for it."""

import math
from dataclasses import dataclass

from alutils.datasets import ImageDataset
from alutils.errors import check_choice, check_range

AUGMENTATIONS = ("flip", "scale", "colour")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: the same for every query that is compared.

    steps : optimizer steps of one training; if `None`, `epochs` times the labelled images decide
    class_weights : weigh the loss by 1 / ln(1.02 + share of the class among the labelled pixels)
    void_class : train void as one more class, instead of leaving it out of the loss; where it is predicted on a
        pixel of a class, that counts as an error
    augmentation : changes to every batch, joined by "+", of "flip", "scale", "colour"; "none" for digits
    precision : "float32", "bfloat16" (autocast), or "auto": bfloat16 on a GPU, float32 on a CPU
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
        """Return the changes to make, in the order named."""
        return [] if self.augmentation == "none" else self.augmentation.split("+")

    def total_steps(self, labelled: int) -> int:
        """Return the optimizer steps of one training on `labelled` images."""
        return self.steps or self.epochs * math.ceil(labelled / self.batch_size)

    def outputs(self, dataset: ImageDataset) -> int:
        """Return the number of classes that a network for `dataset` tells apart."""
        return dataset.num_classes + self.void_class


def check_committee(members: int, dropout: float) -> None:
    """Raise `ParameterError` unless a committee of `members` at rate `dropout` is possible."""
    check_range("committee_members", members, 1, 1000)
    check_range("committee_dropout", dropout, 0, 0.99)
