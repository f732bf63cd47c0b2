"""Models by name; each is built for a number of classes, with or without pretrained encoder weights."""

from collections.abc import Callable

import torch

from alutils.errors import check_choice
from alutils.models.base import SplitModel
from alutils.models.deeplabv3 import deeplabv3_resnet50, deeplabv3_resnet101
from alutils.models.mnist_cnn import mnist_cnn
from alutils.models.unet_small import unet_small
from alutils.models.vgg19_unet import vgg19_unet

__all__ = ["MODELS", "SplitModel", "build_model"]

MODELS: dict[str, Callable[[int, str | None], SplitModel]] = {
    "mnist_cnn": mnist_cnn,
    "unet_small": unet_small,
    "vgg19_unet": vgg19_unet,
    "deeplabv3_resnet50": deeplabv3_resnet50,
    "deeplabv3_resnet101": deeplabv3_resnet101,
}


def build_model(name: str, num_classes: int, *, seed: int, weights: str | None = None) -> SplitModel:
    """Return the model `name` with initial weights fixed by `seed`.

    `weights` is `"imagenet"` for pretrained encoder weights, or `None` to start from scratch.
    """
    check_choice("model", name, MODELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](num_classes, weights)
