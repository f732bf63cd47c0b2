"""Networks on the maps of a frozen encoder, which read these maps in place of images; a step takes milliseconds."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.datasets import Features
from alutils.models.base import Maps, SplitModel

DROPOUT = 0.5  # of whole channels, right before the last layer
HIDDEN = 128  # channels in which context is mixed
FINE = 24  # channels of the branch for thin things
MIXED = 5  # height and width of the area that is mixed
COARSE = 8  # pixels of the image for one of the maps in which context is mixed


class Standardise(nn.Module):
    """Bring each channel of an encoder's maps to the mean 0 and the standard deviation 1 over the training images."""

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", std.square())

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, D, h, w), standardised."""
        return F.batch_norm(maps, self.mean, self.variance)


class FrozenHead(SplitModel):
    """A network on an encoder's maps. `encode` ends before channel dropout and a last linear layer, which are `decode`.

    The last layer reads maps of several sizes. It multiplies each at its own size, then enlarges and sums the logits:
    the result is the same as with enlarged maps, at less cost.
    """

    at_own_size = True

    def __init__(self, features: Features, channels: Sequence[int], num_classes: int):
        super().__init__()
        statistics = zip(features.means, features.stds, strict=True)
        self.standardise = nn.ModuleList(Standardise(*map(torch.from_numpy, pair)) for pair in statistics)
        self.dropout = nn.ModuleList(nn.Dropout2d(DROPOUT) for _ in channels)
        self.last = nn.ModuleList(nn.Linear(count, num_classes, bias=False) for count in channels)
        self.bias = nn.Parameter(torch.zeros(num_classes, 1, 1))
        self.fine_count = sum(stride < COARSE for stride in features.strides[:-1])

    def standardised(self, maps: Maps) -> list[Tensor]:
        """Return all levels of an encoder's maps, (N, D, h, w) each, standardised."""
        return [layer(maps.levels[number]) for number, layer in enumerate(self.standardise)]

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the maps (N, D, h, w) that the last layer reads, from fine to coarse."""
        raise NotImplementedError

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (N, classes, h, w) at the size of the finest maps."""
        parts = []
        for number, (dropout, last) in enumerate(zip(self.dropout, self.last, strict=True)):
            maps = features[number]
            # A dropped channel is a column of 0 among the image's weights, which are far fewer than its maps.
            weights = last.weight * dropout(maps.new_ones(maps.shape[0], maps.shape[1], 1, 1))[:, None, :, 0, 0]
            parts.append(products(maps, weights))
        return enlarged_sum(parts) + self.bias

    def decode_members(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Return the logits of T members at once, (T, N, classes, h, w), for features of `for_committee`.

        masks : (T, D) for each of the features; a channel is multiplied by its number
        """
        parts = [
            products(maps, (mask[:, None] * last.get_parameter("weight")).flatten(0, 1))
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

    def training_logits(self, images: Maps) -> tuple[Tensor]:
        """Return logits (N, classes, h, w) at the size of the finest maps."""
        return (self.decode(self.encode(images)),)


class FrozenLinear(FrozenHead):
    """One linear layer on all maps of the encoder."""

    def __init__(self, num_classes: int, features: Features):
        super().__init__(features, [level.shape[1] for level in features.levels], num_classes)

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the encoder's maps, standardised."""
        return self.standardised(images)


class FrozenSmall(FrozenHead):
    """A hidden layer at 1/8 of the resolution, where context is mixed, and a narrow one on finer maps."""

    def __init__(self, num_classes: int, features: Features):
        counts = [level.shape[1] for level in features.levels]
        fine = sum(stride < COARSE for stride in features.strides[:-1])
        super().__init__(features, [FINE] * fine + [HIDDEN], num_classes)
        self.fine = nn.ModuleList(_pointwise(count, FINE) for count in counts[: self.fine_count])
        self.project = nn.ModuleList(nn.Conv2d(count, HIDDEN, 1, bias=False) for count in counts[self.fine_count :])
        self.mix = nn.Sequential(
            nn.Conv2d(HIDDEN, HIDDEN, MIXED, padding=MIXED // 2, groups=HIDDEN, bias=False), *_pointwise(HIDDEN, HIDDEN)
        )

    def encode(self, images: Maps) -> list[Tensor]:
        """Return the finer maps (N, 24, h, w), if the encoder has some, and the hidden ones (N, 128, H/8, W/8)."""
        levels = self.standardised(images)
        fine = [layer(levels[number]) for number, layer in enumerate(self.fine)]
        projected = [layer(levels[self.fine_count + number]) for number, layer in enumerate(self.project)]
        return [*fine, self.mix(F.relu(enlarged_sum(projected)))]


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 1x1 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


def products(maps: Tensor, weights: Tensor) -> Tensor:
    """Return maps (N, C, h, w): the matrix product of weights, (C, D) or (N, C, D), with each pixel of (N, D, h, w)."""
    rows = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h * w, D), a view of maps in channels-last order
    return (rows @ weights.mT).mT.unflatten(2, maps.shape[2:])


def enlarged_sum(maps: Sequence[Tensor]) -> Tensor:
    """Return the sum of maps (N, D, h, w) of several sizes, from fine to coarse, at the size of the finest."""
    *finer, total = maps
    for level in reversed(finer):
        total = level + F.interpolate(total, size=level.shape[2:], mode="bilinear", align_corners=False)
    return total
