"""Models by name; each is built for a number of classes, with or without pretrained encoder weights."""

from collections.abc import Callable

import torch

from alutils.errors import ParameterError, check_choice
from alutils.models.base import SplitModel

__all__ = ["FOR_DIGITS", "MODELS", "SplitModel", "build_model"]

# The networks' modules are imported when one is built: torchvision takes longer to load than torch.


def mnist_cnn(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build the thesis's network for digits; there are no weights to load."""
    from alutils.models.mnist_cnn import MnistCnn

    _check_no_weights("mnist_cnn", weights)
    return MnistCnn(num_classes)


def unet_small(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build the U-Net for CPUs; there are no weights to load."""
    from alutils.models.unet_small import UnetSmall

    _check_no_weights("unet_small", weights)
    return UnetSmall(num_classes)


def deeplabv3_small(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build a small DeepLabV3 for CPUs; there are no weights to load."""
    from alutils.models.deeplabv3 import DeepLabV3Small

    _check_no_weights("deeplabv3_small", weights)
    return DeepLabV3Small(num_classes)


def vgg19_unet(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build the VGG19 encoder and U-Net decoder; `weights="imagenet"` loads torchvision's encoder weights."""
    from alutils.models.vgg19_unet import Vgg19Unet

    return Vgg19Unet(num_classes, weights)


def deeplabv3_resnet50(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build DeepLabV3 on ResNet-50; `weights="imagenet"` loads torchvision's encoder weights."""
    from alutils.models.deeplabv3 import DeepLabV3

    return DeepLabV3(num_classes, 50, weights)


def deeplabv3_resnet101(num_classes: int, weights: str | None = None) -> SplitModel:
    """Build DeepLabV3 on ResNet-101; `weights="imagenet"` loads torchvision's encoder weights."""
    from alutils.models.deeplabv3 import DeepLabV3

    return DeepLabV3(num_classes, 101, weights)


def _check_no_weights(name: str, weights: str | None) -> None:
    if weights is not None:
        raise ParameterError(f"weights is {weights!r}; {name} has none to load, allowed: None")


MODELS: dict[str, Callable[[int, str | None], SplitModel]] = {
    "mnist_cnn": mnist_cnn,
    "unet_small": unet_small,
    "deeplabv3_small": deeplabv3_small,
    "vgg19_unet": vgg19_unet,
    "deeplabv3_resnet50": deeplabv3_resnet50,
    "deeplabv3_resnet101": deeplabv3_resnet101,
}

FOR_DIGITS = {"mnist_cnn"}  # one class an image; all others give one a pixel


def build_model(name: str, num_classes: int, *, seed: int, weights: str | None = None) -> SplitModel:
    """Return the model `name` with initial weights fixed by `seed`.

    `weights` is `"imagenet"` for pretrained encoder weights, or `None` to start from scratch.
    """
    check_choice("model", name, MODELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](num_classes, weights)
