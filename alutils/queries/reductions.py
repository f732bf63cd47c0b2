"""One score per image, made from the scores of its pixels.

A reduction takes scores (N, ...), perhaps committee statistics besides, and returns (N,). Scores that are (N,) already,
such as those of digits, stay as they are.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from alutils.models.base import predicted_classes
from alutils.queries.parts import Interior, Sum, Top


def mean_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over all pixels of an image, also over void ones."""
    return scores.flatten(1).mean(dim=1) if scores.ndim > 1 else scores


def sum_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the sum over an image's pixels; it ranks images of one size as the mean does."""
    return scores.flatten(1).sum(dim=1) if scores.ndim > 1 else scores


def top_mean(scores: Tensor, *, share: float) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean of the highest `share` (above 0, at most 1) of an image's pixels.

    A part of a pixel counts as one.
    """
    if scores.ndim == 1:
        return scores
    flat = scores.flatten(1)
    count = math.ceil(Fraction(str(share)) * flat.shape[1])  # exact: 0.07 of 100 pixels are 7
    return flat.topk(count, dim=1).values.mean(dim=1)


def interior_mean(scores: Tensor, mean_probability: Tensor, *, width: int) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over pixels farther than `width` from any other predicted class.

    Scores are high along outlines in every image. An image without such pixels gets the mean over all its pixels.
    """
    if scores.ndim == 1:
        return scores
    predicted = predicted_classes(mean_probability)[:, None].float()
    highest, lowest = (F.max_pool2d(sign * predicted, 2 * width + 1, 1, width) for sign in (1, -1))
    inside = highest == -lowest
    inside = inside[:, 0] | ~inside.flatten(1).any(dim=1)[:, None, None]
    return (scores * inside).flatten(1).sum(dim=1) / inside.flatten(1).sum(dim=1)


REDUCTIONS: dict[type, Callable[..., Tensor]] = {Sum: sum_over_image, Top: top_mean, Interior: interior_mean}


def reduction_of(part: Sum | Top | Interior | None) -> Callable[..., Tensor]:
    """Return the function that reduces scores as a query's part says; without a part, the mean."""
    return partial(REDUCTIONS[type(part)], **asdict(part)) if part is not None else mean_over_image
