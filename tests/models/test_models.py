import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import segmentation

from alutils.datasets import Features, ImageDataset, load_dataset
from alutils.errors import ParameterError
from alutils.models import MODELS, SplitModel, build_model, warn_of_size
from alutils.models.base import Maps, inference_copy, resize_logits
from alutils.paths import ROOT

CLASSES = 5
CHANNELS, STRIDES = (24, 40, 112, 320), (4, 8, 16, 32)  # of EfficientNet-Lite0


@pytest.fixture(scope="module", params=MODELS)
def named_model(request: pytest.FixtureRequest) -> tuple[str, SplitModel]:
    """Return each model once for all tests; vgg19_unet takes two seconds to build."""
    return request.param, built(request.param)


def built(name: str) -> SplitModel:
    return build_model(name, CLASSES, seed=0, features=features() if MODELS[name].is_frozen else None)


def features() -> Features:
    """Return what a network on frozen maps is built from; it reads no map yet."""
    levels = tuple(np.zeros((1, channels, 1, 1), np.float16) for channels in CHANNELS)
    means = tuple(np.full(channels, 0.5, np.float32) for channels in CHANNELS)
    return Features("", levels, STRIDES, means, tuple(2 + mean for mean in means))


def images_for(name: str, height: int = 64, width: int = 64) -> Tensor | Maps:
    """Return two random images, or the maps of two, as the network `name` reads them."""
    generator = torch.Generator().manual_seed(0)
    if MODELS[name].is_frozen:
        shapes = [
            (2, count, -(-height // stride), -(-width // stride))
            for count, stride in zip(CHANNELS, STRIDES, strict=True)
        ]
        return Maps([torch.randn(shape, generator=generator) for shape in shapes], torch.Size([2, 3, height, width]))
    shape = (2, 1, 28, 28) if name == "mnist_cnn" else (2, 3, height, width)
    return torch.randn(shape, generator=generator)


# The contract of every model


@pytest.mark.slow
def test_forward_and_backward(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    images = images_for(name)
    outputs = model.train().training_logits(images)
    shape = (2, CLASSES) if name == "mnist_cnn" else (2, CLASSES, 64, 64)
    if model.at_own_size:
        shape = (2, CLASSES, 16, 16)
    assert [tuple(output.shape) for output in outputs] == [shape] * len(outputs)
    model.zero_grad()
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@torch.inference_mode()
def test_output_has_the_size_of_the_input(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    if name == "mnist_cnn":
        assert model.eval()(images_for(name)).shape == (2, CLASSES)
        return
    for height, width in [(65, 97), (33, 50), (7, 1)]:
        assert model.eval()(images_for(name, height, width)).shape == (2, CLASSES, height, width)


@torch.inference_mode()
def test_all_randomness_is_in_decode(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    images = images_for(name)
    model.eval()
    features = model.encode(images)
    assert torch.equal(resize_logits(model.decode(features), images.shape[2:]), model(images))
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.train()
    torch.testing.assert_close(model.encode(images), features, atol=0, rtol=0)
    assert not torch.equal(model.decode(features), model.decode(features))


def test_the_copy_for_inference_gives_the_same_logits_without_batch_norm(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    images = images_for(name)
    model.train()(images)  # so that batch norm's statistics are no longer 0 and 1
    copied = inference_copy(model)
    calls: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(lambda layer, *_: calls.append(type(layer).__name__))
    with torch.inference_mode():
        logits = copied(images)
        handle.remove()
        torch.testing.assert_close(logits, model.eval()(images), atol=1e-5 * float(logits.abs().max()), rtol=0)
    assert "Conv2d" in calls or name == "frozen_linear"
    assert "BatchNorm2d" not in calls


def test_a_batch_norm_without_a_convolution_of_its_own_stays() -> None:
    class Odd(SplitModel):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.norm = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.conv(self.first(images))
            return self.norm(maps) + maps

        def decode(self, features: torch.Tensor) -> torch.Tensor:
            return 2 * features

    model, images = Odd(), torch.rand(2, 3, 4, 4)
    model.train()(images)
    with torch.inference_mode():
        torch.testing.assert_close(inference_copy(model)(images), model.eval()(images))


def test_the_page_has_a_row_for_each_model(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    page = (ROOT / "docs" / "data-and-models.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` | "))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    weights = "`None`, `imagenet`" if MODELS[name].has_weights else "`None`"
    assert row.endswith(f" | {millions:.2g} | {model.stride} | {weights} |")


# Building


def test_initial_weights_are_fixed_by_the_seed() -> None:
    first, same, other = (build_model("unet_small", 3, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["stem.0.0.weight"], other["stem.0.0.weight"])


def test_building_leaves_the_global_random_state() -> None:
    state = torch.get_rng_state()
    build_model("unet_small", 3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_unet_small_is_small() -> None:
    model = build_model("unet_small", 19, seed=0)
    assert 0.2e6 < sum(parameter.numel() for parameter in model.parameters()) < 0.9e6


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ParameterError, match=rf"^model is 'unet'; allowed: {', '.join(MODELS)}$"):
        build_model("unet", 3, seed=0)


@pytest.mark.slow
@torch.inference_mode()
def test_deeplabv3_is_torchvisions() -> None:
    theirs = segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True)
    images = images_for("deeplabv3_resnet50", 16, 320)  # so wide that the largest dilation, 36 at 1/8, acts
    theirs.train()(images)  # so that batch norm's statistics are no longer 0 and 1
    ours = build_model("deeplabv3_resnet50", CLASSES, seed=0)
    renamed = {"head.1.0": "classifier.1", "head.1.1": "classifier.2", "head.2": "classifier.4"}
    renamed |= {"pyramid": "classifier.0", "auxiliary": "aux_classifier"}
    state = theirs.state_dict()
    for our_name, their_name in renamed.items():
        keys = [key for key in state if key.startswith(f"{their_name}.")]
        state |= {our_name + key.removeprefix(their_name): state.pop(key) for key in keys}
    ours.load_state_dict(state)  # strict: every layer of one is in the other
    expected, (main, auxiliary) = theirs.eval()(images), ours.eval().training_logits(images)
    assert expected["out"].std() > 0.01
    torch.testing.assert_close(main, expected["out"], atol=1e-4, rtol=0)
    torch.testing.assert_close(auxiliary, expected["aux"], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("from alutils.models import FOR_DIGITS, MODELS", ["torch", "torchvision"]),
        ("from alutils.models import build_model; build_model('unet_small', 3, seed=0)", ["torchvision"]),
    ],
)
def test_what_takes_long_to_load_is_loaded_when_it_is_needed(program: str, absent: list[str]) -> None:
    check = f"import sys; {program}; print(*(name for name in {absent} if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "\n"


# Sizes


@torch.inference_mode()
def test_the_coarsest_maps_have_a_pixel_for_each_stride(named_model: tuple[str, SplitModel]) -> None:
    name, model = named_model
    if name == "mnist_cnn" or MODELS[name].is_frozen:
        return
    areas: list[float] = []

    def note(_: nn.Module, __: object, maps: Tensor) -> None:
        if isinstance(maps, Tensor) and maps.ndim == 4 and maps.shape[-1] > 1:  # the pyramid also pools to one pixel
            areas.append(maps.shape[-1])

    handles = [module.register_forward_hook(note) for module in model.modules()]
    model.eval()(images_for(name, 128, 128))
    for handle in handles:
        handle.remove()
    assert min(areas) == 128 / model.stride


@pytest.mark.parametrize(
    ("height", "width", "stored", "lines"),
    [
        (24, 32, None, "height x width is 24 x 32; unet_small works at best with multiples of 16, such as 32 x 32"),
        (48, 64, (24, 128), "height x width is 48 x 64; tiny is stored at 24 x 128, to enlarge it costs time and"),
        (10, 40, (9, 40), "such as 16 x 32; tiny is stored at 9 x 40, to enlarge it"),
        (48, 64, None, ""),
        (48, 64, (48, 64), ""),
    ],
)
def test_a_size_that_does_not_suit_is_a_line_on_stderr(
    height: int,
    width: int,
    stored: tuple[int, int] | None,
    lines: str,
    tiny_scenes: ImageDataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = np.zeros((2, 3, height, width), np.uint8)
    warn_of_size("unet_small", replace(tiny_scenes, images=images, stored_size=stored))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == bool(lines)
    assert captured.err.startswith("warning: height x width is ") == bool(lines)
    assert lines in captured.err


def test_digits_suit_their_network(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_size("mnist_cnn", load_dataset("digits", "test"))
    assert capsys.readouterr().err == ""


# Pretrained weights


@pytest.mark.parametrize("name", MODELS)
def test_other_weights_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"^weights is 'coco'.*None$"):
        build_model(name, CLASSES, seed=0, weights="coco")


@pytest.mark.parametrize("name", [name for name, network in MODELS.items() if not network.has_weights])
def test_models_without_weights_refuse_imagenet(name: str) -> None:
    with pytest.raises(ParameterError, match=rf"^weights is 'imagenet'; {name} has none to load.*$"):
        build_model(name, CLASSES, seed=0, weights="imagenet")
