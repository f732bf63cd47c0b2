"""Vectors that are close for images that look alike, for selections of diverse images; no label is read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.contents import built_and_sealed
from alutils.datasets import ImageDataset
from alutils.models import SplitModel
from alutils.models.base import Maps, inference_copy
from alutils.models.frozen import FrozenHead
from alutils.paths import cache_dir
from alutils.queries.committee import vote
from alutils.training.feeding import feed
from alutils.training.loop import at_once, autocast, epoch_batches, in_batches
from alutils.training.optimizer import Adam
from alutils.training.recipe import Recipe

CODE_SIZE = 128  # numbers in the code of a digit
CODE_STEPS, CODE_BATCH, CODE_RATE = 1500, 250, 1e-3
CODES = "codes.npy"
CODE_VERSION = 1  # raise it when a change of the code gives the same images other codes


@dataclass(frozen=True)
class Candidates:
    """The images that a batch is chosen from, and the vectors that describe them.

    unlabelled, labelled : data-set indices, ascending
    """

    model: SplitModel
    dataset: ImageDataset
    recipe: Recipe
    unlabelled: np.ndarray
    labelled: np.ndarray

    def features(self, indices: np.ndarray) -> np.ndarray:
        """Return `image_features` of the images `indices`."""
        return image_features(self.model, self.dataset, indices, self.recipe)

    def embeddings(self, indices: np.ndarray) -> np.ndarray:
        """Return `encoder_features` of the images `indices`."""
        return encoder_features(self.model, self.dataset, indices, self.recipe)

    def gradients(self, indices: np.ndarray) -> np.ndarray:
        """Return `gradient_embeddings` of the images `indices`."""
        return gradient_embeddings(self.model, self.dataset, indices, self.recipe)


def image_features(model: SplitModel, dataset: ImageDataset, indices: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return a vector for each image, (N, D) float32: `encoder_features` of scenes, or `digit_codes` of digits."""
    return encoder_features(model, dataset, indices, recipe) if dataset.is_dense else digit_codes(dataset)[indices]


@torch.inference_mode()
def encoder_features(model: SplitModel, dataset: ImageDataset, indices: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the pooled encoder features (`model.embed`) of the images `indices`, (N, D) float32."""
    model = inference_copy(model)
    return _in_batches(model, model.embed, dataset, indices, recipe)


@torch.inference_mode()
def gradient_embeddings(model: SplitModel, dataset: ImageDataset, indices: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the gradient of each image's loss with respect to the weights of the last layer, (N, C * D) float32.

    The predicted class is taken as the label, without dropout, and the loss is the cross entropy to it. The loss of a
    scene is the mean over its pixels, at the resolution of the last layer. D is the number of weights that the last
    layer has for each class. Ash et al. 2020.
    """
    model = inference_copy(model)
    if isinstance(model, FrozenHead):
        return _in_batches(model, partial(_head_gradients, model), dataset, indices, recipe)
    last, inputs = model.head[-1], list[Tensor]()
    last.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))

    def embed(images: Tensor) -> Tensor:
        inputs.clear()
        logits = model.decode(model.encode(images)).float()
        error = (logits.softmax(dim=1) - vote(logits)).flatten(2 if logits.ndim > 2 else 1)
        given = inputs[0].float()
        if isinstance(last, nn.Conv2d):
            height, width = last.weight.shape[2:]
            given = F.unfold(given, (height, width), padding=(height // 2, width // 2))  # (N, D, pixels)
            return torch.einsum("ncp,ndp->ncd", error, given).flatten(1) / error.shape[2]
        return torch.einsum("nc,nd->ncd", error, given).flatten(1)

    return _in_batches(model, embed, dataset, indices, recipe)


def _head_gradients(model: FrozenHead, images: Maps) -> Tensor:
    features = [maps.float() for maps in model.encode(images)]
    logits = model.decode(features).float()
    error = (logits.softmax(dim=1) - vote(logits)) / logits[0, 0].numel()
    return model.last_gradients(features, error).flatten(1)


def _in_batches(
    model: SplitModel, function: Callable[[Any], Tensor], dataset: ImageDataset, indices: np.ndarray, recipe: Recipe
) -> np.ndarray:
    """Return the vectors that `function` gives for the images `indices`, (N, D) float32, a batch at a time."""
    device = next(model.parameters()).device
    parts = [torch.empty(0, 0)] if len(indices) == 0 else []
    batches = in_batches(indices, at_once(dataset, recipe), f"features of {len(indices)}")
    for images, _ in feed(dataset, batches, device):
        with autocast(recipe.precision, device):
            parts.append(function(images).float().cpu())
    return torch.cat(parts).numpy()


def digit_codes(dataset: ImageDataset) -> np.ndarray:
    """Return the autoencoder code of each digit, (N, 128) float32.

    Codes are read from the cache. If they are not there, an autoencoder is trained on all of `dataset` first.
    """
    name = f"{dataset.name}-{dataset.split}-codes{CODE_VERSION}-{dataset.fingerprint[:12]}"
    return np.load(built_and_sealed(cache_dir() / name, lambda beside: _write_codes(beside / CODES, dataset)) / CODES)


def _write_codes(path: Path, dataset: ImageDataset) -> None:
    pixels = torch.from_numpy(dataset.images.reshape(len(dataset), -1)).float() / 255  # (N, 784)
    with torch.random.fork_rng(devices=[]):
        encoder, _ = trained_autoencoder(pixels)
    with torch.inference_mode():
        np.save(path, encoder(pixels).numpy())


def trained_autoencoder(pixels: Tensor, seed: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
    """Train an autoencoder on pixels (N, D) in 0..1 and return its encoder and its decoder.

    The layers have D-128-128-128-D units as in the thesis; the code is the second hidden layer. The loss is the mean
    squared error, the optimizer Adam.
    """
    torch.manual_seed(seed)
    size = pixels.shape[1]
    encoder = nn.Sequential(nn.Linear(size, CODE_SIZE), nn.ReLU(), nn.Linear(CODE_SIZE, CODE_SIZE), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(CODE_SIZE, CODE_SIZE), nn.ReLU(), nn.Linear(CODE_SIZE, size))
    optimizer = Adam([*encoder.parameters(), *decoder.parameters()], CODE_RATE)
    epochs = -(-CODE_STEPS * CODE_BATCH // len(pixels))
    batches = [epoch_batches(np.arange(len(pixels)), CODE_BATCH, seed + epoch) for epoch in range(epochs)]
    for batch in np.concatenate(batches)[:CODE_STEPS]:
        loss = F.mse_loss(decoder(encoder(pixels[batch])), pixels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder, decoder
