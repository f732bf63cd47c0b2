"""Models by name. To import this package loads neither torch nor torchvision, so that names are checked quickly."""

import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alutils.datasets import Features, ImageDataset
from alutils.errors import ParameterError, check_choice

if TYPE_CHECKING:
    from alutils.models.base import SplitModel

__all__ = ["DEFAULT_ENCODER", "FOR_DIGITS", "MODELS", "Network", "SplitModel", "build_model", "warn_of_size"]


@dataclass(frozen=True)
class Network:
    """Where a network's class is found and how it is built.

    path : "module:class" of a `SplitModel`
    options : arguments of the class, beside the number of classes
    has_weights : whether the class takes `weights`, None or "imagenet" for pretrained weights of the encoder
    is_frozen : whether the class takes `features`, the maps of a frozen encoder that it reads in place of images
    normalisation : mean and standard deviation, of 0..1, that its images are brought to; `None` for the data set's own
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    has_weights: bool = False
    is_frozen: bool = False
    normalisation: tuple[float, float] | None = None

    def load(self) -> type["SplitModel"]:
        """Return the class, importing its module."""
        return pkgutil.resolve_name(self.path)


MODELS = {
    "mnist_cnn": Network("alutils.models.mnist_cnn:MnistCnn"),
    "unet_small": Network("alutils.models.unet:UnetSmall"),
    "deeplabv3_small": Network("alutils.models.deeplabv3:DeepLabV3Small"),
    "frozen_linear": Network("alutils.models.frozen:FrozenLinear", is_frozen=True),
    "frozen_small": Network("alutils.models.frozen:FrozenSmall", is_frozen=True),
    "vgg19_unet": Network("alutils.models.unet:Vgg19Unet", has_weights=True),
    "deeplabv3_lite0": Network("alutils.models.deeplabv3:DeepLabV3Lite0", has_weights=True, normalisation=(0.5, 0.5)),
    "deeplabv3_resnet50": Network("alutils.models.deeplabv3:DeepLabV3", {"depth": 50}, has_weights=True),
    "deeplabv3_resnet101": Network("alutils.models.deeplabv3:DeepLabV3", {"depth": 101}, has_weights=True),
}

DEFAULT_ENCODER = "tf_efficientnet_lite0"  # of networks on frozen maps; its weights are a package of the lock

FOR_DIGITS = {"mnist_cnn"}  # predicts one class for an image; all others predict one for each pixel


def build_model(
    name: str, num_classes: int, *, seed: int, weights: str | None = None, features: Features | None = None
) -> "SplitModel":
    """Return the model `name` with initial weights fixed by `seed`.

    weights : "imagenet" for pretrained weights of the encoder, or `None` to start from scratch
    features : the training set's, for a model on the maps of a frozen encoder

    Raises `ParameterError` for an unknown name and for weights that the model does not have.
    """
    import torch

    check_choice("model", name, MODELS)
    check_weights(name, weights)
    network = MODELS[name]
    options = dict(network.options)
    if network.has_weights:
        options["weights"] = weights
    if network.is_frozen:
        options["features"] = features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.load()(num_classes, **options)


def check_weights(name: str, weights: str | None) -> None:
    """Raise `ParameterError` if the model `name` has no pretrained weights to load, and some are asked for."""
    if weights is not None and not MODELS[name].has_weights:
        raise ParameterError(f"weights is {weights!r}; {name} has none to load, allowed: None")


def warn_of_size(name: str, dataset: ImageDataset) -> None:
    """Print one line to stderr if the height or width of a data set does not suit the model `name`.

    Sides should be multiples of the model's stride, and not longer than those of the stored images.
    """
    height, width = dataset.images.shape[2:]
    stride = MODELS[name].load().stride
    problems = []
    if height % stride or width % stride:
        near = " x ".join(str(max(1, round(side / stride)) * stride) for side in (height, width))
        problems.append(f"{name} works at best with multiples of {stride}, such as {near}")
    if dataset.stored_size is not None and (height > dataset.stored_size[0] or width > dataset.stored_size[1]):
        stored = " x ".join(map(str, dataset.stored_size))
        problems.append(f"{dataset.name} is stored at {stored}, to enlarge it costs time and adds no detail")
    if problems:
        print(f"warning: height x width is {height} x {width}; {'; '.join(problems)}", file=sys.stderr)  # noqa: T201


def __getattr__(name: str) -> Any:
    """Import `SplitModel`, and with it torch, when it is first asked for."""
    if name == "SplitModel":
        from alutils.models.base import SplitModel

        return SplitModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
