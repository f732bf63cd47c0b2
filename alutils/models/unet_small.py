"""A U-Net of 0.39 million parameters for CPUs; its stem halves the resolution, which quarters the cost."""

from itertools import pairwise

from torch import Tensor, nn

from alutils.models.base import SplitModel, UpBlock, conv_bn_relu

WIDTHS = (16, 32, 64, 96)  # channels at 1/2, 1/4, 1/8, 1/16 of the input's height and width


class UnetSmall(SplitModel):
    """Stem, three steps down, three steps up with skips, dropout 0.5, a 3x3 convolution to the classes."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.stem = nn.Sequential(conv_bn_relu(3, WIDTHS[0], stride=2), conv_bn_relu(WIDTHS[0], WIDTHS[0]))
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(fine, coarse, stride=2), conv_bn_relu(coarse, coarse))
            for fine, coarse in pairwise(WIDTHS)
        )
        self.up = nn.ModuleList(UpBlock(coarse, fine, fine) for fine, coarse in reversed(list(pairwise(WIDTHS))))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(WIDTHS[0], num_classes, 3, padding=1))

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 16, H/2, W/2) of images (N, 3, H, W)."""
        *skips, maps = self._downward(images)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            maps = step(maps, skip)
        return maps

    def embed(self, images: Tensor) -> Tensor:
        """Return (N, 96): the deepest maps, averaged."""
        return self._downward(images)[-1].mean(dim=(2, 3))

    def _downward(self, images: Tensor) -> list[Tensor]:
        """Return maps at 1/2, 1/4, 1/8, 1/16 of the resolution."""
        maps = [self.stem(images)]
        for step in self.down:
            maps.append(step(maps[-1]))
        return maps

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes, H/2, W/2)."""
        return self.head(features)
