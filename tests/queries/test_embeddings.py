"""Codes of digits and features of scenes: fixed by their input, and alike for what is alike."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import DataError
from alutils.models import MODELS, SplitModel, build_model
from alutils.models.frozen import FrozenHead
from alutils.queries import embeddings as features
from alutils.queries.embeddings import digit_codes, gradient_embeddings, image_features, trained_autoencoder
from alutils.training.feeding import feed
from alutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(
    epochs=1, steps=None, batch_size=2, learning_rate=0.01, weight_decay=0, class_weights=False, void_class=False,
    augmentation="none", precision="float32",
)  # fmt: skip


def of_network(name: str, dataset: ImageDataset) -> SplitModel:
    return build_model(name, dataset.num_classes, seed=0, features=dataset.features)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "mnist_cnn"])
def test_encoder_features_are_one_vector_an_image(name: str, frozen_scenes: ImageDataset):
    dataset = frozen_scenes if MODELS[name].is_frozen else replace(frozen_scenes, features=None)
    model = of_network(name, dataset)
    found = image_features(model, dataset, np.array([3, 5, 1]), RECIPE)
    assert found.shape[0] == 3
    assert found.dtype == np.float32
    alone = image_features(model, dataset, np.array([5]), RECIPE)
    np.testing.assert_allclose(found[1], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_embeddings_are_the_gradients_of_the_last_layer(name: str, frozen_scenes: ImageDataset):
    scenes = frozen_scenes if MODELS[name].is_frozen else replace(frozen_scenes, features=None)
    dataset = scenes if name != "mnist_cnn" else load_dataset("digits", "test")
    model = of_network(name, dataset).eval()
    found = gradient_embeddings(model, dataset, np.array([4, 0, 7]), RECIPE)
    weights = [*model.last] if isinstance(model, FrozenHead) else [model.head[-1].get_parameter("weight")]
    for embedding, (images, _) in zip(
        found, feed(dataset, np.array([[4], [0], [7]]), torch.device("cpu")), strict=True
    ):
        logits = model.decode(model.encode(images))
        loss = torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1))
        gradients = torch.autograd.grad(loss, weights)
        whole = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1).flatten()
        np.testing.assert_allclose(embedding, whole, rtol=1e-3, atol=1e-5)  # of numbers around 1, in float32


@pytest.fixture(autouse=True)
def _own_cache_and_little_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path))
    monkeypatch.setattr(features, "CODE_STEPS", 250)


def test_digits_have_codes_that_are_kept_and_tell_classes_apart(monkeypatch: pytest.MonkeyPatch):
    digits = load_dataset("digits", "train")
    codes = image_features(build_model("mnist_cnn", 10, seed=0), digits, np.arange(len(digits)), RECIPE)
    assert codes.shape == (len(digits), features.CODE_SIZE)
    classes = np.stack([codes[digits.labels == digit].mean(axis=0) for digit in range(10)])
    nearest = ((codes[:, None] - classes) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == digits.labels).mean() > 0.7, "the nearest class mean is not its own"
    monkeypatch.setattr(features, "trained_autoencoder", None)
    assert (digit_codes(digits) == codes).all(), "a second time they are read"


def test_an_autoencoder_gives_back_its_input_and_depends_on_the_seed_only():
    digits = load_dataset("digits", "test")
    pixels = torch.from_numpy(digits.images.reshape(len(digits), -1)).float() / 255
    encoder, decoder = trained_autoencoder(pixels)
    error = (decoder(encoder(pixels)) - pixels).square().mean()
    assert error < 0.6 * pixels.var(dim=0).mean()
    assert [layer.out_features for layer in [*encoder, *decoder] if isinstance(layer, torch.nn.Linear)] == [
        128, 128, 128, 784,
    ]  # fmt: skip
    again, _ = trained_autoencoder(pixels)
    assert torch.equal(encoder(pixels), again(pixels))


def test_codes_leave_the_global_random_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "CODE_STEPS", 2)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    digit_codes(load_dataset("digits", "test"))
    assert torch.rand(1) == expected


def test_damaged_codes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path))
    monkeypatch.setattr(features, "CODE_STEPS", 2)
    digits = load_dataset("digits", "test")
    codes = digit_codes(digits)
    (path,) = tmp_path.glob("digits-test-*/*.npy")
    time.sleep(0.02)  # until the clock of the file system ticks
    path.unlink()
    np.save(path, codes + 1)
    with pytest.raises(DataError, match=rf"^{path.parent}: damaged cache; remove this folder and start again"):
        digit_codes(digits)
