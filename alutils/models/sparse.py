"""The logits of labelled pixels alone, for a loss that looks at no others, as if all had been computed."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pixels:
    """Those pixels of N maps of one size where `mask`, (N, h, w), is true: P rows, in the order of `nonzero`."""

    def __init__(self, mask: Tensor):
        self.mask = mask
        self.image, self.row, self.column = mask.nonzero().unbind(1)

    def of(self, maps: Tensor) -> Tensor:
        """Return these pixels of maps (N, D, h, w): (P, D)."""
        return maps.permute(0, 2, 3, 1)[self.image, self.row, self.column]

    @cached_property
    def number(self) -> Tensor:
        """The position of each pixel among these, (N, h, w); P where it is not one of them."""
        number = torch.full(self.mask.shape, len(self.image))
        number[self.mask] = torch.arange(len(self.image))
        return number

    def read_from(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what these pixels of maps are made of if maps of `size` are enlarged bilinearly to theirs.

        These are four pixels each, their positions (P, 4) in N maps of `size` as rows, and their weights (P, 4).
        """
        (top, bottom, y), (left, right, x) = (
            _ends(positions, count, small)
            for positions, count, small in zip((self.row, self.column), self.mask.shape[1:], size, strict=True)
        )
        first, width = self.image * size[0], size[1]
        above, below = (first + top) * width, (first + bottom) * width
        positions = torch.stack([above + left, above + right, below + left, below + right], dim=1)
        return positions, torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], dim=1)

    def around(self) -> "Pixels":
        """Return these pixels and their eight neighbours."""
        return Pixels(F.max_pool2d(self.mask[:, None].float(), 3, 1, 1)[:, 0] > 0)

    def neighbours(self, among: "Pixels") -> Tensor:
        """Return which of other pixels are the 3x3 neighbours of each pixel, (9, P); their count outside of the map."""
        number = F.pad(among.number, (1, 1, 1, 1), value=len(among.image))
        offsets = [(row, column) for row in range(3) for column in range(3)]
        return torch.stack([number[self.image, self.row + row, self.column + column] for row, column in offsets])


def _ends(positions: Tensor, count: int, small: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return between which two of `small` pixels each of `count` lies, and the weight of the second one."""
    source = ((torch.arange(count) + 0.5) * (small / count) - 0.5).clamp_min(0)
    low = source.long()
    return low[positions], (low + 1).clamp_max(small - 1)[positions], (source - low)[positions]


Read = tuple[Tensor, Tensor]  # positions (P, 4) among the pixels of the next coarser maps, and their weights (P, 4)


def pyramid(pixels: Pixels, sizes: Iterable[Sequence[int]]) -> tuple[list[Pixels], list[Read]]:
    """Return pixels of maps from fine to coarse: the given ones, then those of each size that the ones before read.

    sizes : heights and widths of the coarser maps; their number is also that of what is read
    """
    levels, read = [pixels], []
    for size in sizes:
        positions, weights = levels[-1].read_from(size)
        mask = torch.zeros(len(pixels.mask), *size, dtype=torch.bool)
        mask.view(-1)[positions.flatten()] = True
        levels.append(Pixels(mask))
        read.append((levels[-1].number.view(-1)[positions], weights))
    return levels, read


def enlarged_rows(rows: Sequence[Tensor], read: Sequence[Read]) -> Tensor:
    """Return what `frozen.enlarged_sum` does for the levels of a `pyramid`: rows (P, D) each, from fine to coarse."""
    *finer, total = rows
    for level, (positions, weights) in zip(reversed(finer), reversed(read), strict=True):
        total = level + F.embedding_bag(positions, total, per_sample_weights=weights.to(total.dtype), mode="sum")
    return total


def mixed(rows: Tensor, around: Pixels, pixels: Pixels, layer: nn.Conv2d) -> Tensor:
    """Return a depthwise 3x3 convolution at `pixels`, (P, D), of the rows (R, D) at the pixels around them."""
    weights = layer.weight.flatten(1).T.contiguous()  # (9, D)
    return _Mixed.apply(rows, pixels.neighbours(around), around.neighbours(pixels), weights, layer.bias)


class _Mixed(torch.autograd.Function):
    """One of nine neighbours at a time stays in the processor's cache; autograd would keep them all.

    The gradient of the rows is a convolution, too: with the weights in reverse order, at the pixels around.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, inwards: Tensor, outwards: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        rows = F.pad(rows, (0, 0, 0, 1))  # outside of the map all is 0
        ctx.save_for_backward(rows, inwards, outwards, weights)
        return _convolved(rows, inwards, weights).add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:
        rows, inwards, outwards, weights = ctx.saved_tensors
        of_rows = _convolved(F.pad(gradient, (0, 0, 0, 1)), outwards, weights.flip(0))
        read = torch.empty_like(gradient)
        of_weights = [torch.index_select(rows, 0, at, out=read).mul_(gradient).sum(0) for at in inwards]
        return of_rows, None, None, torch.stack(of_weights), gradient.sum(0)


def _convolved(rows: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over the nine neighbours of each pixel of its row times its weights."""
    read = rows.new_empty(neighbours.shape[1], rows.shape[1])
    total = torch.zeros_like(read)
    for at, weight in zip(neighbours, weights, strict=True):
        total.addcmul_(torch.index_select(rows, 0, at, out=read), weight)
    return total
