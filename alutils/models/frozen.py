"""Networks on the maps of a frozen encoder, which read these maps in place of images; a step takes milliseconds."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.datasets import Features
from alutils.models.base import Maps, Model, SplitModel, resize_logits
from alutils.models.sparse import Pixels, enlarged_rows, mixed, pyramid

DROPOUT = 0.5  # of whole channels, right before the last layer
HIDDEN = 128  # channels in which context is mixed
FINE = 24  # channels of the branch for thin things
COARSE = 8  # pixels of the image for one of the maps in which context is mixed
FEW_PIXELS = 0.2  # share of labelled pixels; with more, computing all of them is quicker


class Standardise(nn.Module):
    """Bring each channel of an encoder's maps to the mean 0 and the standard deviation 1 over the training images."""

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", std.square())

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, D, h, w), standardised, in the precision of the network."""
        return F.batch_norm(maps.to(self.mean.dtype), self.mean, self.variance)


class FrozenHead(SplitModel):
    """A network on an encoder's maps. `encode` ends before channel dropout and a last linear layer, which are `decode`.

    The last layer reads maps of several sizes. It multiplies each at its own size, then enlarges and sums the logits:
    the result is the same as with enlarged maps, at less cost.

    joined : the number of heads that are computed as one, for `join` and `take_apart`; their channels lie side by side
    """

    at_own_size = True
    further_weight = 1.0  # joined heads are trained alike
    own_maps = True  # whether each of several joined heads has maps of its own, rather than the encoder's

    def __init__(self, features: Features, channels: Sequence[int], num_classes: int, joined: int = 1):
        super().__init__()
        statistics = zip(features.means, features.stds, strict=True)
        self.standardise = nn.ModuleList(Standardise(*map(torch.from_numpy, pair)) for pair in statistics)
        self.dropout = nn.ModuleList(nn.Dropout2d(DROPOUT) for _ in channels)
        self.last = nn.ParameterList(_weights(count, joined * num_classes) for count in channels)
        self.bias = nn.Parameter(torch.zeros(joined * num_classes, 1, 1))
        self.num_classes, self.joined = num_classes, joined
        self.fine_count = sum(stride < COARSE for stride in features.strides[:-1])

    def standardised(self, maps: Maps) -> list[Tensor]:
        """Return all levels of an encoder's maps, (N, D, h, w) each, standardised."""
        return [layer(maps.levels[number]) for number, layer in enumerate(self.standardise)]

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the maps (N, D, h, w) that the last layer reads, from fine to coarse."""
        raise NotImplementedError

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (N, classes, h, w) at the size of the finest maps; those of joined heads side by side."""
        parts = []
        for number, (dropout, last) in enumerate(zip(self.dropout, self.last, strict=True)):
            maps, channels = features[number], last.shape[1]
            # A dropped channel is a column of 0 among the image's weights, which are far fewer than its maps.
            mask = dropout(maps.new_ones(maps.shape[0], self.joined * channels, 1, 1))
            weights = last.unflatten(0, (self.joined, -1)) * mask.view(-1, self.joined, 1, channels)
            if self.own_maps and self.joined > 1:
                own = maps.split(channels, dim=1)
                parts.append(torch.cat([products(own[head], weights[:, head]) for head in range(self.joined)], dim=1))
            else:
                parts.append(products(maps, weights.flatten(1, 2)))
        return enlarged_sum(parts) + self.bias

    def decode_members(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Return the logits of T members at once, (T, N, classes, h, w), for features of `for_committee`.

        masks : (T, D) for each of the features; a channel is multiplied by its number
        """
        parts = [
            products(maps, (mask[:, None] * last).flatten(0, 1).expand(len(maps), -1, -1))
            for maps, mask, last in zip(features, masks, self.last, strict=True)
        ]
        logits = enlarged_sum(parts).unflatten(1, (len(masks[0]), -1))  # (N, T, classes, h, w)
        return logits.transpose(0, 1) + self.bias

    def for_committee(self, features: list[Tensor]) -> list[Tensor]:
        """Return features of which no map is finer than 1/8 of the resolution: finer ones are averaged.

        A committee is asked there, where its members cost a quarter of what they cost at 1/4.
        """
        fine, coarse = features[: self.fine_count], features[self.fine_count :]
        height, width = coarse[0].shape[2:]
        return [F.adaptive_avg_pool2d(maps, (height, width)) for maps in fine] + coarse

    def last_gradients(self, features: Sequence[Tensor], error: Tensor) -> Tensor:
        """Return the gradient with respect to the weights of the last layer, (N, classes, D) for all D channels.

        error : (N, classes, h, w), the gradient of each image's loss with respect to its logits
        """
        gradients = []
        for maps in features:  # from fine to coarse; the gradient of what was enlarged is summed over what it became
            sizes = list(error.shape[2:]), [*error.shape[:2], *maps.shape[2:]]
            error = torch.ops.aten.upsample_bilinear2d_backward(error, *sizes, align_corners=False)
            gradients.append(torch.einsum("nchw,ndhw->ncd", error, maps))
        return torch.cat(gradients, dim=2)

    def embed(self, images: Maps) -> Tensor:
        """Return the encoder's coarsest maps, standardised and averaged over height and width: (N, D)."""
        return self.standardised(images)[-1].mean(dim=(2, 3))

    def training_logits(self, images: Maps) -> tuple[Tensor, ...]:
        """Return logits (N, classes, h, w) at the size of the finest maps, of each head."""
        return self.decode(self.encode(images)).split(self.num_classes, dim=1)


class FrozenLinear(FrozenHead):
    """One linear layer on all maps of the encoder."""

    own_maps = False

    def __init__(self, num_classes: int, features: Features, joined: int = 1):
        super().__init__(features, [level.shape[1] for level in features.levels], num_classes, joined)

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the encoder's maps, standardised."""
        return self.standardised(images)


class FrozenSmall(FrozenHead):
    """A hidden layer at 1/8 of the resolution, where context is mixed, and a narrow one on finer maps.

    It needs no batch norm, because its inputs are standardised.
    """

    def __init__(self, num_classes: int, features: Features, joined: int = 1):
        counts = [level.shape[1] for level in features.levels]
        fine, hidden = sum(stride < COARSE for stride in features.strides[:-1]), joined * HIDDEN
        super().__init__(features, [FINE] * fine + [HIDDEN], num_classes, joined)
        self.fine = nn.ModuleList(nn.Conv2d(count, joined * FINE, 1) for count in counts[:fine])
        self.project = nn.ModuleList(nn.Conv2d(count, hidden, 1) for count in counts[fine:])
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the finer maps (N, 24, h, w), if the encoder has some, and the hidden ones (N, 128, H/8, W/8)."""
        levels = self.standardised(images)
        fine = [F.relu_(layer(levels[number])) for number, layer in enumerate(self.fine)]
        projected = [layer(levels[self.fine_count + number]) for number, layer in enumerate(self.project)]
        return [*fine, F.relu_(self.mix(F.relu_(enlarged_sum(projected))))]

    @property
    def few_pixels(self) -> float:
        """The share of labelled pixels below which a step on a CPU is quicker with `logits_at`."""
        return FEW_PIXELS

    def logits_at(self, images: Maps, wanted: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (P, classes) of each head at the pixels where `wanted`, (N, h, w), is true.

        They are those of `training_logits`, rounding aside, and take the same random numbers for dropout.
        """
        sizes = [level.shape[2:] for level in images.levels]
        pixels, read = pyramid(Pixels(wanted), sizes[1 : self.fine_count + 1])
        rows = [F.relu_(self._layer_at(number, pixels[number], images)) for number in range(self.fine_count)]
        around = pixels[-1].around()
        coarse, read_coarse = pyramid(around, sizes[self.fine_count + 1 :])
        projected = [self._layer_at(self.fine_count + number, at, images) for number, at in enumerate(coarse)]
        hidden = F.relu_(enlarged_rows(projected, read_coarse))
        rows.append(F.relu_(mixed(hidden, around, pixels[-1], self.mix)))
        parts = []
        for at, features, dropout, last in zip(pixels, rows, self.dropout, self.last, strict=True):
            mask = dropout(features.new_ones(len(wanted), features.shape[1], 1, 1)).flatten(1)
            kept = (features * mask[at.image]).chunk(self.joined, dim=1)
            parts.append(torch.cat([own @ of.T for own, of in zip(kept, last.chunk(self.joined), strict=True)], dim=1))
        return (enlarged_rows(parts, read) + self.bias.flatten()).split(self.num_classes, dim=1)

    def _layer_at(self, number: int, pixels: Pixels, images: Maps) -> Tensor:
        """Return what the 1x1 convolution of a level makes of some of its pixels, (P, channels)."""
        layer: Any = [*self.fine, *self.project][number]
        rows = self.standardise[number](pixels.of(images.levels[number]))
        return F.linear(rows, layer.weight.flatten(1), layer.bias)


def join(heads: Sequence[Any], features: Features | None) -> Any:
    """Return one network that computes several heads of one kind at once, with their weights; of one head, itself."""
    if len(heads) == 1:
        return heads[0]
    states = [head.state_dict() for head in heads]
    network = type(heads[0])(heads[0].num_classes, features, len(heads))
    network.load_state_dict(
        {
            name: value if name.startswith("standardise.") else torch.cat([state[name] for state in states])
            for name, value in states[0].items()
        }
    )
    return network


def take_apart(network: nn.Module, heads: list[Model]) -> list[Model]:
    """Return the `heads` that `join` made a network of, with its weights and on its device."""
    if network is heads[0]:
        return heads
    for number, head in enumerate(heads):
        head.load_state_dict(
            {
                name: value if name.startswith("standardise.") else value.chunk(len(heads))[number]
                for name, value in network.state_dict().items()
            }
        )
    return [head.to(next(network.parameters()).device) for head in heads]


def _weights(in_channels: int, out_channels: int) -> nn.Parameter:
    """Return the initial weights (out, in) of a linear layer."""
    return nn.Parameter(nn.Linear(in_channels, out_channels, bias=False).weight.detach())


class _Products(torch.autograd.Function):
    """Rows (N, P, D) times weights (N, C, D): (N, C, P), in the order that is several times faster for few classes.

    The gradient of the rows has their own order in memory, which autograd's would not have.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        return weights @ rows.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows, weights = ctx.saved_tensors
        kind = gradient.dtype  # bfloat16 after such a forward pass
        return gradient.mT @ weights.to(kind), gradient @ rows.to(kind)


def products(maps: Tensor, weights: Tensor) -> Tensor:
    """Return maps (N, C, h, w): the matrix product of weights (N, C, D) with each pixel of maps (N, D, h, w)."""
    rows = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h * w, D), a view of maps in channels-last order
    return _Products.apply(rows, weights).unflatten(2, maps.shape[2:])


def enlarged_sum(maps: Sequence[Tensor]) -> Tensor:
    """Return the sum of maps (N, D, h, w) of several sizes, from fine to coarse, at the size of the finest."""
    *finer, total = maps
    for level in reversed(finer):
        total = level + resize_logits(total, level.shape[2:])
    return total


torch.fx.wrap("products")  # `inference_copy` traces into neither
torch.fx.wrap("enlarged_sum")
