"""What every model is: `encode` without randomness, `decode` with every dropout layer."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import Tracer
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

Model = TypeVar("Model", bound="SplitModel")


class Maps(NamedTuple):
    """Maps of a frozen encoder for a batch of images: what a network for them reads in place of the images.

    levels : (N, D, h, w) float16 each, from fine to coarse
    shape : (N, channels, H, W) of the images
    """

    levels: list[Tensor]
    shape: torch.Size

    @property
    def device(self) -> torch.device:
        """Return the device that the maps are on."""
        return self.levels[0].device


class SplitModel(nn.Module):
    """A network in two parts, so that a committee runs the expensive part once for each image.

    `encode` is deterministic in evaluation mode. `decode` holds every dropout layer that the mask of a committee member
    applies to; its logits have the height and width of the features. `forward` runs both and enlarges the logits to
    the height and width of the images. Networks on the maps of a frozen encoder read `Maps` in place of images.

    head : the layers of `decode`; the last one gives the logits
    stride : pixels of the image for one of the coarsest maps; an image's height and width should be multiples of it
    further_weight : weight in the loss of each output after the first
    at_own_size : whether the loss and the committee's statistics are taken at the size of the logits, for speed;
        otherwise logits are enlarged first
    """

    head: nn.Sequential
    stride: int = 1
    further_weight: float = 0.4
    at_own_size: bool = False

    def encode(self, images: Any) -> Any:
        """Return the features of images (N, C, H, W): (N, D), or maps (N, D, h, w)."""
        raise NotImplementedError

    def decode(self, features: Any) -> Tensor:
        """Return logits (N, classes), or (N, classes, h, w)."""
        raise NotImplementedError

    def embed(self, images: Any) -> Tensor:
        """Return one vector (N, D) for each image of (N, C, H, W): the features, averaged over height and width."""
        features = self.encode(images)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features

    def forward(self, images: Any) -> Tensor:
        """Return the logits of images (N, C, H, W): (N, classes), or (N, classes, H, W)."""
        return resize_logits(self.decode(self.encode(images)), images.shape[2:])

    @property
    def few_pixels(self) -> float:
        """The share of labelled pixels below which a step on a CPU is quicker with `logits_at`; 0 if there is none."""
        return 0.0

    def logits_at(self, images: Any, wanted: Tensor) -> tuple[Tensor, ...]:
        """Return what `training_logits` does, (P, classes), at the pixels where `wanted`, (N, h, w), is true."""
        raise NotImplementedError

    def training_logits(self, images: Any) -> tuple[Tensor, ...]:
        """Return the logits of each output that enters the loss: the main one's first."""
        return (self(images),)


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class _Tracer(Tracer):
    """Looks into no network of timm, which cannot be traced."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__.startswith("timm.") or super().is_leaf_module(m, module_qualified_name)


def inference_copy(model: Model) -> Model:
    """Return a copy of `model` in evaluation mode; each batch norm is folded into the convolution right before it."""
    copied = copy.deepcopy(model).eval()
    for part in ("encode", "decode"):
        tracer = _Tracer()
        tracer.traced_func_name = part
        for node in tracer.trace(copied).nodes:
            if node.op != "call_module" or node.args[0].op != "call_module" or len(node.args[0].users) > 1:
                continue
            layer, before = (copied.get_submodule(name) for name in (node.target, node.args[0].target))
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                copied.set_submodule(node.args[0].target, fuse_conv_bn_eval(before, layer))
                copied.set_submodule(node.target, nn.Identity())
    return copied


def predicted_classes(scores: Tensor) -> Tensor:
    """Return the classes (N, ...) int64 of highest score, from logits or probabilities (N, classes, ...).

    The first of equal classes wins. `argmax` gives the same, several times slower on a CPU.
    """
    return scores.max(dim=1).indices


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return logits (N, classes, h, w), enlarged bilinearly to the height and width `size`; (N, classes) unchanged."""
    if logits.ndim <= 2 or logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
