"""Encoders of timm: the packaged one sees what is there, files of weights are loaded or refused, nothing else is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import DEFAULT_ENCODER, build_model, encoders
from alutils.models.encoders import encoded, encoder_network, load_encoder, normalised, packaged_file
from alutils.training.loop import Trainer, measure_on_test_set
from alutils.training.recipe import Recipe

CPU = torch.device("cpu")
CUP, CAT = 967, 285  # ImageNet's classes espresso and Egyptian cat
SMALL = "test_resnet"  # a model of timm for its own tests
RECIPE = Recipe(
    epochs=4, steps=None, batch_size=4, learning_rate=0.01, weight_decay=0, class_weights=False, void_class=False,
    augmentation="flip", precision="float32",
)  # fmt: skip


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of caches and that of downloaded weights, which are not there yet."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    return tmp_path / "cache"


def no_network(url: str, *_: object, **__: object) -> None:
    raise URLError("Name or service not known")


def random_images(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, height, width)).astype(np.uint8)


def untrained(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights of a model of timm, those of its batch norms included."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = timm.create_model(name).state_dict()
        for key in [key for key in state if key.endswith("running_mean")]:
            state[key].normal_(std=0.1)
    return state


def saved(path: Path, state: Any) -> str:
    """Return the path of a file that holds weights, as timm's own do or as PyTorch's."""
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


# The packaged encoder


@torch.inference_mode()
def test_the_packaged_encoder_sees_a_cup_and_a_cat_best_with_its_own_normalisation():
    import timm
    from skimage import data

    network = timm.create_model(DEFAULT_ENCODER).eval()
    network.load_state_dict(encoders._packaged(packaged_file()))
    photos = [
        Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC) for image in (data.coffee(), data.cat())
    ]
    pixels = torch.from_numpy(np.stack([np.asarray(photo) for photo in photos])).permute(0, 3, 1, 2)
    (cup, cat), (other_cup, other_cat) = (
        network(normalised(pixels, name)).softmax(dim=1)[[0, 1], [CUP, CAT]].tolist()
        for name in (DEFAULT_ENCODER, "resnet50")  # which has ImageNet's mean and deviation
    )
    assert min(cup, cat) > 0.75
    assert other_cup < cup - 0.05
    assert other_cat < cat - 0.005


def test_the_normalisation_by_hand():
    pixels = torch.tensor([0, 127.5, 255]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    assert normalised(pixels, DEFAULT_ENCODER)[0, :, 0].tolist() == [[-1, 0, 1]] * 3
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(normalised(pixels, "resnet50")[0, :, 0, 2], expected)


@pytest.mark.parametrize("size", [(64, 96), (45, 61)])
def test_maps_are_those_of_timm_in_half_precision(size: tuple[int, int]):
    import timm

    images = random_images(*size)
    found = load_encoder(DEFAULT_ENCODER, packaged_file(), CPU)(images)
    plain = timm.create_model(DEFAULT_ENCODER, features_only=True).eval()
    plain.load_state_dict(encoders._packaged(packaged_file()), strict=False)
    with torch.inference_mode():
        expected = plain(torch.from_numpy(images) / 127.5 - 1)[1:]
    assert [maps.shape[3] for maps in found] == [24, 40, 112, 320]
    for maps, other, stride in zip(found, expected, (4, 8, 16, 32), strict=True):
        assert maps.dtype == np.float16
        assert maps.shape[:3] == (2, *(-(-side // stride) for side in size))
        np.testing.assert_allclose(maps, other.permute(0, 2, 3, 1), rtol=2e-3, atol=1e-3)
        assert maps.std(dtype=np.float32) > 0.1


# Files of weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_file(suffix: str, tmp_path: Path, tiny_scenes: ImageDataset):
    state = untrained(SMALL)
    file = saved(tmp_path / f"weights{suffix}", state)
    found = encoded(tiny_scenes, SMALL, file, CPU).features
    assert found is not None
    plain = encoder_network(SMALL, None).eval()
    plain.load_state_dict(state, strict=False)
    with torch.inference_mode():
        expected = plain(normalised(torch.from_numpy(tiny_scenes.images), SMALL))
    assert found.strides == (4, 8, 16, 32)[: len(found.strides)]
    for level, maps in zip(found.levels, expected[1:], strict=True):
        np.testing.assert_allclose(level, maps, rtol=2e-3, atol=1e-3)


def test_other_weights_are_another_encoder_and_a_copied_file_is_the_same(tmp_path: Path, tiny_scenes: ImageDataset):
    files = [saved(tmp_path / f"{seed}.pth", untrained(SMALL, seed)) for seed in range(2)]
    files.insert(1, shutil.copy(files[0], str(tmp_path / "copy.pth")))
    first, same, other = (encoded(tiny_scenes, SMALL, file, CPU).features for file in files)
    assert first is not None
    assert same is not None
    assert other is not None
    assert first.digest == same.digest != other.digest
    assert not np.array_equal(first.levels[0], other.levels[0])


def test_a_vision_transformer_has_maps_of_one_stride_and_a_head_on_them_learns(
    tmp_path: Path, tiny_scenes: ImageDataset
):
    name = "vit_tiny_patch16_224"
    file = saved(tmp_path / "vit.safetensors", untrained(name))
    scenes = replace(tiny_scenes, images=tiny_scenes.images.repeat(2, axis=2).repeat(2, axis=3))
    scenes = replace(scenes, labels=scenes.labels.repeat(2, axis=1).repeat(2, axis=2))
    dataset = encoded(scenes, name, file, CPU)
    assert dataset.features is not None
    assert dataset.features.strides == (16, 16, 16)
    assert [level.shape for level in dataset.features.levels] == [(12, 192, 3, 4)] * 3
    trainer = Trainer(build_model("frozen_small", 3, seed=0, features=dataset.features), RECIPE, CPU)
    before = measure_on_test_set(trainer.network, dataset, RECIPE).measures["accuracy"]
    trainer.train(dataset, np.arange(12), seed=0)
    assert measure_on_test_set(trainer.network, dataset, RECIPE).measures["accuracy"] > max(0.8, before + 0.2)


def test_maps_with_channels_last_are_read_as_such(tmp_path: Path):
    file = Path(saved(tmp_path / "weights.pth", untrained("test_mambaout")))
    found = load_encoder("test_mambaout", file, CPU)(random_images(45, 61))
    assert [maps.shape[3] for maps in found] == [16, 32, 48, 64]
    assert found[0].shape[1:3] == (12, 16)


# What is refused


class Code:
    """Something that runs code when it is read from a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: {"weights": Code()}, "weights_only"),
        (lambda: untrained("test_efficientnet"), "they are those of another network"),
        (
            lambda: {key: value for key, value in untrained(SMALL).items() if "layer3" not in key},
            "they are those of another network",
        ),
        (lambda: [1], ""),
    ],
    ids=["code", "another network", "half of it", "a list"],
)
def test_a_file_that_does_not_suit_is_one_line(
    content: Callable[[], Any], reason: str, tmp_path: Path, tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path / "weights.pth", content())
    assert reason in refusal(tiny_scenes, SMALL, file, f"encoder {SMALL} cannot be made with the weights in {file} (")
    assert not Path("ran").exists()


def test_a_transformer_that_reads_one_size_is_one_line(tmp_path: Path, tiny_scenes: ImageDataset):
    name = "test_maxvit"
    file = saved(tmp_path / "weights.safetensors", untrained(name))
    said = f"encoder {name} cannot be made with the weights in {file} (it reads images of one size only)"
    assert refusal(tiny_scenes, name, file, "encoder") == said


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_text_and_no_file_are_one_line(name: str, tmp_path: Path, tiny_scenes: ImageDataset):
    file = str(tmp_path / name)
    missing = f"encoder_weights: {file}: cannot be read (No such file or directory); allowed: a file of weights"
    assert refusal(tiny_scenes, SMALL, file, "encoder_weights") == missing
    Path(file).write_text("<html>")
    refusal(tiny_scenes, SMALL, file, f"encoder {SMALL} cannot be made with the weights in {file} (")
    assert "not a regular file" in refusal(tiny_scenes, SMALL, str(tmp_path), "encoder_weights: ")


@pytest.mark.parametrize("has_file", [False, True])
@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet5", "did you mean resnet"), ("resnet50.a1_in2k", "did you mean resnet50.a1_in1k?"), ("../x", "allowed")],
)
def test_an_unknown_encoder_is_one_line(
    name: str, hint: str, has_file: bool, tmp_path: Path, tiny_scenes: ImageDataset, caches: Path
):
    file = saved(tmp_path / "weights.pth", {}) if has_file else None
    said = refusal(tiny_scenes, name, file, f"encoder is {name!r}; ")
    assert hint in said
    assert said.endswith("allowed: a model of timm, such as tf_efficientnet_lite0, resnet50")
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "weights.pth"}


def test_without_a_network_a_line_says_which_file_to_put_where(
    tmp_path: Path, tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, of in ((SMALL, "r160_in1k"), ("vit_small_patch14_dinov2", "lvd142m")):
        assert refusal(tiny_scenes, name, None, "encoder") == (
            f"encoder: its weights cannot be fetched (Name or service not known); download https://huggingface.co/timm/"
            f"{name}.{of}/resolve/main/model.safetensors as ~/hub/checkpoints/timm-{name}.safetensors"
        )
    saved(tmp_path / "hub" / "checkpoints" / f"timm-{SMALL}.safetensors", untrained(SMALL))
    assert encoded(tiny_scenes, SMALL, None, CPU).features, "as it says"
    line = "encoder convnextv2_small has no weights to fetch; allowed: a file of weights, as encoder_weights"
    assert refusal(tiny_scenes, "convnextv2_small", None, "encoder") == line


def refusal(dataset: ImageDataset, name: str, weights: str | None, start: str) -> str:
    """Return the line with which an encoder is refused."""
    with pytest.raises(ParameterError, match=rf"^{re.escape(start)}") as caught:
        encoded(dataset, name, weights, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is loaded, and when

PROCESS = """
import sys
from dataclasses import replace
import numpy as np
import torch
from alutils.datasets import ImageDataset
from alutils.models import build_model
from alutils.models.encoders import encoded
from alutils.runs import rounds

images = np.load(sys.argv[1])
names, classes, colours = list(map(str, range(len(images)))), ["a", "b"], [(0, 0, 0)] * 2
dataset = ImageDataset("tiny", "train", images, images[:, 0] % 2, names, classes, colours, (0.5,) * 3, (0.5,) * 3, "f")
features = encoded(dataset, "tf_efficientnet_lite0", None, torch.device("cpu")).features
build_model("frozen_small", 2, seed=0, features=features)
print(len(features.levels), "timm" in sys.modules)
"""


@pytest.mark.slow
def test_who_reads_cached_maps_does_not_load_timm(tmp_path: Path, tiny_scenes: ImageDataset):
    np.save(tmp_path / "images.npy", tiny_scenes.images)
    encoded(tiny_scenes, DEFAULT_ENCODER, None, CPU)
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "images.npy")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "4 False\n"
