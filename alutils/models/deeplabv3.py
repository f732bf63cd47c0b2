"""The thesis's first network, torchvision's DeepLabV3 with an auxiliary head, and two smaller ones for CPUs."""

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights, resnet50, resnet101
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead

from alutils.models import DEFAULT_ENCODER
from alutils.models.base import SplitModel, conv_bn_relu, resize_logits
from alutils.models.encoders import encoder_network, packaged_file
from alutils.models.weights import check_weights, pretrained

RESNETS = {50: (resnet50, ResNet50_Weights), 101: (resnet101, ResNet101_Weights)}


class PyramidModel(SplitModel):
    """A backbone, an atrous spatial pyramid, dropout 0.5, and a classifier.

    The layers and their order are torchvision's. Its dropout is the last layer of the pyramid; here it is the first of
    `head`, so that `encode` has no randomness.
    """

    def __init__(self, in_channels: int, rates: list[int], channels: int, num_classes: int):
        super().__init__()
        self.pyramid = ASPP(in_channels, rates, channels)
        dropout = self.pyramid.project[-1]
        self.pyramid.project = self.pyramid.project[:-1]
        self.head = nn.Sequential(dropout, conv_bn_relu(channels, channels), nn.Conv2d(channels, num_classes, 1))

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes, h, w)."""
        return self.head(features)


class DeepLabV3(PyramidModel):
    """DeepLabV3 on a ResNet of `depth` 50 or 101, dilated, at 1/8 of the resolution."""

    stride = 8

    def __init__(self, num_classes: int, depth: int, weights: str | None = None):
        builder, enum = RESNETS[depth]
        resnet = pretrained(weights, builder, enum, replace_stride_with_dilation=[False, True, True])
        super().__init__(2048, [12, 24, 36], 256, num_classes)
        self.backbone = IntermediateLayerGetter(resnet, {"layer3": "auxiliary", "layer4": "main"})
        self.auxiliary = FCNHead(1024, num_classes)

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 256, H/8, W/8) of images (N, 3, H, W)."""
        maps = self.backbone(images)["main"]  # (N, 2048, H/8, W/8)
        return self.pyramid(maps)

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the main and the auxiliary logits, both (N, classes, H, W)."""
        stages = self.backbone(images)
        main, auxiliary = self.decode(self.pyramid(stages["main"])), self.auxiliary(stages["auxiliary"])
        return resize_logits(main, images.shape[2:]), resize_logits(auxiliary, images.shape[2:])


class DeepLabV3Lite0(PyramidModel):
    """A DeepLabV3 on EfficientNet-Lite0, the encoder of networks on frozen maps, trained along; dilated, at 1/16.

    Its images are normalised as the encoder's were (`models.MODELS`).
    """

    stride = 16

    def __init__(self, num_classes: int, weights: str | None = None):
        check_weights(weights)
        super().__init__(320, [6, 12, 18], 128, num_classes)
        file = packaged_file() if weights else None
        self.backbone = encoder_network(DEFAULT_ENCODER, file, output_stride=16, out_indices=(4,))

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 128, H/16, W/16) of images (N, 3, H, W)."""
        return self.pyramid(self.backbone(images)[0])


class DeepLabV3Small(PyramidModel):
    """A DeepLabV3 of 0.17 million parameters for CPUs: four convolutions, the last one dilated, at 1/4 resolution."""

    stride = 4

    def __init__(self, num_classes: int):
        super().__init__(64, [2, 4, 6], 48, num_classes)
        self.backbone = nn.Sequential(
            conv_bn_relu(3, 16, stride=2),
            conv_bn_relu(16, 32, stride=2),
            conv_bn_relu(32, 48),
            conv_bn_relu(48, 64, dilation=2),
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 48, H/4, W/4) of images (N, 3, H, W)."""
        return self.pyramid(self.backbone(images))
