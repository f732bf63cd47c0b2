"""The thesis's second network: a VGG19 encoder with batch norm and a U-Net decoder."""

from torch import Tensor, nn
from torchvision.models import VGG19_BN_Weights, vgg19_bn

from alutils.models.base import SplitModel, UpBlock, pretrained

SKIP_WIDTHS = (64, 128, 256, 512, 512)  # channels at 1/1, 1/2, ... 1/16 of the input's height and width
DECODER_WIDTHS = (256, 128, 64, 32, 16)  # channels at 1/16, 1/8, ... 1/1


class Vgg19Unet(SplitModel):
    """VGG19's five stages, five steps up with skips, dropout 0.5, a 3x3 convolution to the classes."""

    def __init__(self, num_classes: int, weights: str | None = None):
        super().__init__()
        vgg = pretrained(weights, vgg19_bn, VGG19_BN_Weights)
        self.stages, self.pool = _split_at_pooling(vgg.features), nn.MaxPool2d(2, ceil_mode=True)
        inputs = (SKIP_WIDTHS[-1], *DECODER_WIDTHS)
        self.up = nn.ModuleList(
            UpBlock(below, skip, out)
            for below, skip, out in zip(inputs, reversed(SKIP_WIDTHS), DECODER_WIDTHS, strict=False)
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(DECODER_WIDTHS[-1], num_classes, 3, padding=1))

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 16, H, W) of images (N, 3, H, W)."""
        *skips, maps = self._downward(images)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            maps = step(maps, skip)
        return maps

    def embed(self, images: Tensor) -> Tensor:
        """Return (N, 512): VGG19's last maps, averaged."""
        return self._downward(images)[-1].mean(dim=(2, 3))

    def _downward(self, images: Tensor) -> list[Tensor]:
        """Return the stages' maps, and the last ones pooled."""
        maps, pooled = [], images
        for stage in self.stages:
            maps.append(stage(pooled))
            pooled = self.pool(maps[-1])
        return [*maps, pooled]

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes, H, W)."""
        return self.head(features)


def _split_at_pooling(layers: nn.Sequential) -> nn.ModuleList:
    """Return the layers between one max-pooling and the next, each stage as one module."""
    stages: list[list[nn.Module]] = [[]]
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
        else:
            stages[-1].append(layer)
    return nn.ModuleList(nn.Sequential(*stage) for stage in stages if stage)
