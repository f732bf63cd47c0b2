"""The thesis's first network: torchvision's DeepLabV3 with an auxiliary head."""

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights, resnet50, resnet101
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead

from alutils.models.base import SplitModel, conv_bn_relu, pretrained, resize_logits

RESNETS = {50: (resnet50, ResNet50_Weights), 101: (resnet101, ResNet101_Weights)}


class DeepLabV3(SplitModel):
    """Dilated ResNet, atrous spatial pyramid, dropout 0.5, and the classifier, at 1/8 of the resolution.

    torchvision keeps the dropout as the last layer of its ASPP; here it opens `head`, so that `encode`
    ends where the randomness begins. The layers and their order are torchvision's.
    """

    def __init__(self, num_classes: int, depth: int, weights: str | None = None):
        super().__init__()
        builder, enum = RESNETS[depth]
        resnet = pretrained(weights, builder, enum, replace_stride_with_dilation=[False, True, True])
        self.backbone = IntermediateLayerGetter(resnet, {"layer3": "auxiliary", "layer4": "main"})
        self.pyramid = ASPP(2048, [12, 24, 36])
        dropout = self.pyramid.project[-1]
        self.pyramid.project = self.pyramid.project[:-1]
        self.head = nn.Sequential(dropout, conv_bn_relu(256, 256), nn.Conv2d(256, num_classes, 1))
        self.auxiliary = FCNHead(1024, num_classes)

    def encode(self, images: Tensor) -> Tensor:
        """Return features (N, 256, H/8, W/8) of images (N, 3, H, W)."""
        maps = self.backbone(images)["main"]  # (N, 2048, H/8, W/8)
        return self.pyramid(maps)

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes, H/8, W/8)."""
        return self.head(features)

    def training_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the main and the auxiliary logits, both (N, classes, H, W)."""
        stages = self.backbone(images)
        main, auxiliary = self.decode(self.pyramid(stages["main"])), self.auxiliary(stages["auxiliary"])
        return resize_logits(main, images.shape[2:]), resize_logits(auxiliary, images.shape[2:])
