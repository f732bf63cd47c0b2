"""Accuracy and intersection over union, from one confusion matrix of the whole test set."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def confusion_matrix(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count pixels (or digits) by true class (rows) and predicted class (columns): (classes, classes) int64.

    predictions : (N, ...), integers below `classes`
    labels : (N, ...), integers below `classes`, or void, which is `IGNORE_INDEX` and is not counted
    """
    pairs = labels.int() * classes + predictions  # void comes after all classes
    return torch.bincount(pairs.flatten(), minlength=classes**2)[: classes**2].view(classes, classes)


def resize_predictions(predictions: Tensor, size: Sequence[int]) -> Tensor:
    """Return predictions or labels (N, h, w) at the size `size`, each pixel the nearest one; (N,) unchanged."""
    if predictions.shape[1:] == size:
        return predictions
    small = predictions[:, None].to(torch.uint8)  # far quicker to enlarge than int64
    return F.interpolate(small, size=tuple(size), mode="nearest-exact")[:, 0].long()


def accuracy(confusion: Tensor) -> float:
    """Return the share of pixels (or digits) that are predicted correctly, 0 to 1."""
    return confusion.diagonal().sum().item() / confusion.sum().item()


def class_iou(confusion: Tensor) -> Tensor:
    """Return the intersection over union of each class, (C,) float64, 0 to 1.

    confusion : (C, P) with P >= C; the columns from C on count predictions that are no class, such as void

    A class that is neither labelled nor predicted anywhere has no union and is NaN, as in the Cityscapes evaluation.
    """
    intersection, union = intersections_and_unions(confusion).double()
    return intersection / union


def category_iou(confusion: Tensor, categories: Sequence[Sequence[int]]) -> Tensor:
    """Return the intersection over union of each category, (K,) float64; a category is a group of classes."""
    group = torch.zeros(len(categories), confusion.shape[1], dtype=torch.int64)
    for position, classes in enumerate(categories):
        group[position, list(classes)] = 1
    merged = group[:, : len(confusion)] @ confusion @ torch.cat([group, 1 - group.sum(dim=0, keepdim=True)]).T
    return class_iou(merged)


def intersections_and_unions(confusions: Tensor) -> Tensor:
    """Return the pixels of each class's intersection and union, (..., 2, C) int64, of confusions (..., C, P)."""
    classes = confusions.shape[-2]
    intersections = confusions.diagonal(dim1=-2, dim2=-1)
    predicted, labelled = confusions.sum(dim=-2)[..., :classes], confusions.sum(dim=-1)
    return torch.stack([intersections, predicted + labelled - intersections], dim=-2)


def mean_iou(confusion: Tensor) -> float:
    """Return the mean of `class_iou` over all classes that are not NaN."""
    return float(torch.nanmean(class_iou(confusion)))
