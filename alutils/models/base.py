"""The contract of every model: `encode` without randomness, `decode` with every dropout layer."""

import copy
import pickle
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import Tracer
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from alutils.errors import ParameterError

Model = TypeVar("Model", bound="SplitModel")


class SplitModel(nn.Module):
    """A network in two parts, so that a committee runs the expensive one once.

    `encode(images)` is deterministic in evaluation mode; `decode(features)` holds every dropout layer that
    a committee member's mask applies to, and ends at the features' own resolution. `forward` is both, enlarged:
    images (N, C, H, W) to logits (N, classes) or (N, classes, H, W). `head` is what `decode` is made of; it ends with
    the layer that gives the logits.
    """

    head: nn.Sequential

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of images (N, C, H, W): (N, D), or maps (N, D, h, w)."""
        raise NotImplementedError

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes), or (N, classes, h, w)."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Return pooled encoder features (N, D) of images (N, C, H, W): what tells an image from others."""
        features = self.encode(images)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images (N, C, H, W)."""
        return resize_logits(self.decode(self.encode(images)), images.shape[2:])

    def training_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits that the loss is taken of: the main output, then any auxiliary ones."""
        return (self(images),)


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UpBlock(nn.Module):
    """One step of a U-Net decoder: enlarge to the skip's size, concatenate, two convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels + skip_channels, out_channels), conv_bn_relu(out_channels, out_channels)
        )

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Return (N, out_channels, h, w) for maps of any smaller size and a skip of (N, ., h, w)."""
        enlarged = F.interpolate(maps, size=skip.shape[-2:], mode="nearest")
        return self.convs(torch.cat([enlarged, skip], dim=1))


def inference_copy(model: Model) -> Model:
    """Return a copy of `model` in evaluation mode, each batch norm folded into the convolution right before it."""
    copied = copy.deepcopy(model).eval()
    for part in ("encode", "decode"):
        tracer = Tracer()
        tracer.traced_func_name = part
        for node in tracer.trace(copied).nodes:
            if node.op != "call_module" or node.args[0].op != "call_module" or len(node.args[0].users) > 1:
                continue
            layer, before = (copied.get_submodule(name) for name in (node.target, node.args[0].target))
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                copied.set_submodule(node.args[0].target, fuse_conv_bn_eval(before, layer))
                copied.set_submodule(node.target, nn.Identity())
    return copied


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return logits (N, classes, h, w) at the height and width `size`, bilinearly; (N, classes) as they are."""
    if logits.ndim == 2 or logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def pretrained(weights: str | None, builder: Any, enum: Any, **options: Any) -> Any:
    """Return torchvision's network `builder`, with the weights `enum.IMAGENET1K_V1` for `"imagenet"`.

    Raises
    ------
    ParameterError
        if `weights` is neither `"imagenet"` nor `None`, or if they are not on this machine and there is no
        network to fetch them.
    """
    if weights is None:
        return builder(weights=None, **options)
    if weights != "imagenet":
        raise ParameterError(f"weights is {weights!r}; allowed: imagenet, None")
    chosen = enum.IMAGENET1K_V1
    try:
        return builder(weights=chosen, **options)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        folder, reason = f"{torch.hub.get_dir()}/checkpoints", " ".join(str(error).split())
        raise ParameterError(
            f"weights could not be loaded ({reason}); put {chosen.url} into {folder}, or use None"
        ) from error
