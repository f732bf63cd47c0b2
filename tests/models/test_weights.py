"""Pretrained weights come from a file that is what its name says, and that cannot run code."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import ResNet50_Weights, VGG19_BN_Weights, resnet50, vgg19_bn
from torchvision.models._api import WeightsEnum

from alutils.errors import ParameterError
from alutils.models import build_model
from alutils.models.weights import pretrained

ENCODERS: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    "deeplabv3_resnet50": (resnet50, ResNet50_Weights),
    "vgg19_unet": (vgg19_bn, VGG19_BN_Weights),
}


def linear(weights: None) -> nn.Module:
    """Build the smallest network."""
    return nn.Linear(2, 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh folder of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints"
    path.mkdir(parents=True)
    return path


def weights_of(content: object, path: Path) -> bytes:
    torch.save(content, path / "saved")
    return (path / "saved").read_bytes()


def load(file: Path) -> nn.Module:
    """Load the weights that lie, or would be downloaded, in `file`."""
    url = file.parent.parent / "from" / file.name
    enum = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=f"file://{url}"))
    return pretrained("imagenet", linear, enum)


def hashed(content: bytes) -> str:
    return f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"


STATE = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}


def test_the_file_that_lies_there_is_loaded(folder: Path, tmp_path: Path) -> None:
    content = weights_of(STATE, tmp_path)
    (folder / hashed(content)).write_bytes(content)
    assert load(folder / hashed(content))(torch.ones(1, 2)).item() == 6


def test_a_file_that_does_not_is_downloaded_once(folder: Path, tmp_path: Path) -> None:
    content = weights_of(STATE, tmp_path)
    source = folder.parent / "from" / hashed(content)
    source.parent.mkdir()
    source.write_bytes(content)
    for _ in range(2):
        assert load(folder / hashed(content))(torch.ones(1, 2)).item() == 6
        source.unlink(missing_ok=True)
    assert (folder / hashed(content)).read_bytes() == content


def test_what_is_downloaded_and_is_not_what_its_name_says_is_not_kept(folder: Path) -> None:
    source = folder.parent / "from" / "net-01234567.pth"
    source.parent.mkdir()
    source.write_bytes(b"<html>log in first</html>")
    with pytest.raises(ParameterError, match=r"^weights could not be loaded .*01234567.*$"):
        load(folder / source.name)
    assert not list(folder.iterdir())


class Program:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_pickle_in_the_place_of_weights_does_not_run(is_named: bool, folder: Path, tmp_path: Path) -> None:
    content = pickle.dumps(Program(tmp_path / "ran"), 2)
    file = folder / (hashed(content) if is_named else "net-01234567.pth")
    file.write_bytes(content)
    with pytest.raises(ParameterError, match=r"^weights could not be loaded .*$"):
        load(file)
    assert not (tmp_path / "ran").exists()


def test_weights_with_another_hash_than_their_name_are_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / "net-01234567.pth").write_bytes(weights_of(STATE, tmp_path))
    with pytest.raises(ParameterError, match=r"^weights could not be loaded \(the SHA-256 of net-01234567.pth"):
        load(folder / "net-01234567.pth")


@pytest.mark.parametrize(
    "state",
    [{}, {"weight": torch.ones(1, 2)}, STATE | {"more": torch.ones(1)}, STATE | {"bias": torch.ones(2)}, [1], None],
)
def test_weights_of_another_network_are_one_line(state: Any, folder: Path, tmp_path: Path) -> None:
    content = weights_of(state, tmp_path)
    (folder / hashed(content)).write_bytes(content)
    with pytest.raises(ParameterError, match=r"^weights could not be loaded .*$") as caught:
        load(folder / hashed(content))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [b"", b"<html>not weights</html>", b"PK\3\4", b"\x80\2}q\0"])
def test_a_damaged_file_is_one_line(content: bytes, folder: Path) -> None:
    (folder / hashed(content)).write_bytes(content)
    with pytest.raises(ParameterError, match=r"^weights could not be loaded .*checkpoints.*$"):
        load(folder / hashed(content))


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "net-01234567.pth")
    with pytest.raises(ParameterError, match="not a regular file"):
        load(folder / "net-01234567.pth")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_without_network_one_line_says_what_to_put_where(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(ParameterError) as caught:
        build_model(name, 5, seed=0, weights="imagenet")
    url = ENCODERS[name][1].IMAGENET1K_V1.url
    assert url.startswith("https://download.pytorch.org/models/")
    assert str(caught.value).startswith("weights ")
    assert "no network" in str(caught.value)
    assert str(caught.value).endswith(f"put {url} into {folder}, or use None")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_a_network_is_the_same_as_with_torchvisions_own_loading(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers behind the encoder, too, which get the next random numbers."""
    with torch.device("meta"):
        shapes = ENCODERS[name][0]().state_dict()
    state = {key: torch.tensor(number).expand(value.shape) for number, (key, value) in enumerate(shapes.items())}
    monkeypatch.setattr("alutils.models.weights._state", lambda *_: state)
    ours: Any = build_model(name, 5, seed=3, weights="imagenet")
    encoder, prefix = (ours.stages, "features.") if name == "vgg19_unet" else (ours.backbone, "")
    expected = [number for number, key in enumerate(state) if key.startswith(prefix) and not key.startswith("fc.")]
    values = list(encoder.state_dict().values())
    assert [value.unique().tolist() for value in values] == [[number] for number in expected]

    def torchvisions(weights: str, builder: Any, enum: Any, init_weights: bool = False, **options: Any) -> nn.Module:
        return builder(weights=enum.IMAGENET1K_V1, **options)

    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
    monkeypatch.setattr(f"alutils.models.{'unet' if name == 'vgg19_unet' else 'deeplabv3'}.pretrained", torchvisions)
    theirs = build_model(name, 5, seed=3, weights="imagenet").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.state_dict().items())
