"""Pretrained weights of encoders: torchvision's files, checked before they are read, and read without running them."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from alutils.errors import ParameterError, shortened
from alutils.files import open_regular


def pretrained(weights: str | None, builder: Any, enum: Any, **options: Any) -> Any:
    """Return a network of torchvision, with the weights `enum.IMAGENET1K_V1` if `weights` is "imagenet".

    builder : the function of torchvision that builds it, with `options`

    Raises
    ------
    ParameterError
        if `weights` is neither "imagenet" nor `None`, if they are not on this machine and cannot be downloaded, or if
        their file is not what its name says.
    """
    check_weights(weights)
    network = builder(weights=None, **options)
    if weights:
        url = enum.IMAGENET1K_V1.url
        folder = Path(torch.hub.get_dir(), "checkpoints")
        try:
            network.load_state_dict(_state(url, folder))
        except Exception as error:  # a file from elsewhere may raise anything
            reason = shortened(getattr(error, "strerror", None) or str(error), 90)
            raise ParameterError(
                f"weights could not be loaded ({reason}); put {url} into {folder}, or use None"
            ) from error
    return network


def check_weights(weights: str | None) -> None:
    """Raise `ParameterError` unless `weights` is "imagenet" or `None`."""
    if weights not in (None, "imagenet"):
        raise ParameterError(f"weights is {weights!r}; allowed: imagenet, None")


def _state(url: str, folder: Path) -> dict[str, Any]:
    """Return the weights in the file of `url`, which is downloaded into `folder` if it is not there.

    The name of the file ends with the start of its SHA-256. What is read is what was checked, and it cannot run code.
    """
    path = folder / url.rpartition("/")[2]
    (expected,) = re.findall(r"-([0-9a-f]{8,})\.", path.name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected)
    with open_regular(path) as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(expected):
            raise ValueError(f"the SHA-256 of {path.name} there does not start with {expected}")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
