"""U-Nets: a small one for CPUs, and the thesis's second network, which has a VGG19 encoder with batch norm."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.models.base import SplitModel, conv_bn_relu
from alutils.models.weights import pretrained

SMALL_WIDTHS = (16, 32, 64, 96)  # channels at 1/2, 1/4, 1/8, 1/16 of the input's height and width
VGG_WIDTHS = (64, 128, 256, 512, 512)  # channels at 1/1, 1/2, ... 1/16
VGG_DECODER_WIDTHS = (256, 128, 64, 32, 16)  # channels at 1/16, 1/8, ... 1/1


class UpBlock(nn.Module):
    """One step up: enlarge the maps to the size of the skip, concatenate both, apply two convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels + skip_channels, out_channels), conv_bn_relu(out_channels, out_channels)
        )

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Return (N, out_channels, h, w) for smaller maps (N, in_channels, ...) and a skip (N, skip_channels, h, w)."""
        enlarged = F.interpolate(maps, size=skip.shape[-2:], mode="nearest")
        return self.convs(torch.cat([enlarged, skip], dim=1))


class Unet(SplitModel):
    """Steps down, as many steps up with skips, dropout 0.5, and a 3x3 convolution to the classes.

    Subclasses make the layers of `downward` before `up` and `head`: this order fixes the initial weights of a seed.
    """

    up: nn.ModuleList

    def downward(self, images: Tensor) -> list[Tensor]:
        """Return maps from fine to coarse; the way up starts from the last ones, the others are its skips."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """Return features of images (N, 3, H, W): (N, 16, H, W), of `UnetSmall` (N, 16, H/2, W/2)."""
        *skips, maps = self.downward(images)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            maps = step(maps, skip)
        return maps

    def embed(self, images: Tensor) -> Tensor:
        """Return the coarsest maps averaged over height and width: (N, 512), of `UnetSmall` (N, 96)."""
        return self.downward(images)[-1].mean(dim=(2, 3))

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes, h, w) of features (N, 16, h, w)."""
        return self.head(features)


class UnetSmall(Unet):
    """A U-Net of 0.39 million parameters; its first step halves the resolution, which makes it four times as fast."""

    stride = 16

    def __init__(self, num_classes: int):
        super().__init__()
        first, *coarser = SMALL_WIDTHS
        self.stem = nn.Sequential(conv_bn_relu(3, first, stride=2), conv_bn_relu(first, first))
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(fine, coarse, stride=2), conv_bn_relu(coarse, coarse))
            for fine, coarse in pairwise(SMALL_WIDTHS)
        )
        finer = SMALL_WIDTHS[-2::-1]
        self.up = _up_blocks(coarser[-1], finer, finer)
        self.head = _head(first, num_classes)

    def downward(self, images: Tensor) -> list[Tensor]:
        """Return maps at 1/2, 1/4, 1/8, 1/16 of the resolution."""
        maps = [self.stem(images)]
        for step in self.down:
            maps.append(step(maps[-1]))
        return maps


class Vgg19Unet(Unet):
    """The five stages of VGG19 and five steps up; `weights="imagenet"` loads torchvision's weights of the stages."""

    stride = 32

    def __init__(self, num_classes: int, weights: str | None = None):
        from torchvision.models import VGG19_BN_Weights, vgg19_bn  # takes longer to load than torch

        super().__init__()
        vgg = pretrained(weights, vgg19_bn, VGG19_BN_Weights, init_weights=weights is None)
        self.stages, self.pool = _split_at_pooling(vgg.features), nn.MaxPool2d(2, ceil_mode=True)
        self.up = _up_blocks(VGG_WIDTHS[-1], VGG_WIDTHS[::-1], VGG_DECODER_WIDTHS)
        self.head = _head(VGG_DECODER_WIDTHS[-1], num_classes)

    def downward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the five stages, at 1/1 to 1/16 of the resolution, and the last ones pooled to 1/32."""
        maps, pooled = [], images
        for stage in self.stages:
            maps.append(stage(pooled))
            pooled = self.pool(maps[-1])
        return [*maps, pooled]


def _up_blocks(coarsest: int, skips: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    """Return the steps up from maps of `coarsest` channels; `skips` and `widths` are channels, from coarse to fine."""
    inputs = (coarsest, *widths[:-1])
    return nn.ModuleList(UpBlock(*channels) for channels in zip(inputs, skips, widths, strict=True))


def _head(channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5), nn.Conv2d(channels, num_classes, 3, padding=1))


def _split_at_pooling(layers: nn.Sequential) -> nn.ModuleList:
    """Return the layers between one max-pooling and the next, each stage as one module."""
    stages: list[list[nn.Module]] = [[]]
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
        else:
            stages[-1].append(layer)
    return nn.ModuleList(nn.Sequential(*stage) for stage in stages if stage)
