"""Accuracy and intersection over union, from one confusion matrix summed over the whole set."""

import torch
from torch import Tensor

from alutils.datasets import IGNORE_INDEX


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Count pixels (or digits) by true class (rows) and predicted class (columns), void left out.

    logits (N, C, ...) and integer labels (N, ...) give (C, C) int64.
    """
    classes = logits.shape[1]
    counted = labels != IGNORE_INDEX
    pairs = labels[counted].long() * classes + logits.argmax(dim=1)[counted]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Return the share of pixels (or digits) whose class is predicted, 0 to 1."""
    return confusion.diagonal().sum().item() / confusion.sum().item()


def class_iou(confusion: Tensor) -> Tensor:
    """Return (C,) float64, intersection over union of each class, 0 to 1.

    A class that is neither there nor predicted has no union and is NaN, as in the Cityscapes evaluation.
    """
    intersection = confusion.diagonal().double()
    return intersection / (confusion.sum(dim=0) + confusion.sum(dim=1) - intersection)


def mean_iou(confusion: Tensor) -> float:
    """Return the mean of `class_iou` over the classes that have one."""
    return float(torch.nanmean(class_iou(confusion)))
