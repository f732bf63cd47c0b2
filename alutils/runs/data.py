"""The data of a run, loaded as its config says, and checked against its network."""

from dataclasses import replace

import numpy as np

from alutils.datasets import IGNORE_INDEX, ImageDataset, load_dataset
from alutils.errors import DataError, ParameterError, check_choice, check_range
from alutils.models import FOR_DIGITS, MODELS, warn_of_size
from alutils.runs.config import TrainingConfig


def load_split(config: TrainingConfig, split: str) -> ImageDataset:
    """Return one split of the data set at the config's height and width, with features if the network reads them."""
    return _as_read(config, load_dataset(config.dataset, split, config.height, config.width))


def load_test_set(config: TrainingConfig) -> ImageDataset:
    """Return the split that networks are tested on, with labels at the config's `test_resolution`."""
    native = config.test_resolution == "native"
    size = config.height, config.width
    return _as_read(config, load_dataset(config.dataset, config.test_split, *size, native_labels=native))


def _as_read(config: TrainingConfig, dataset: ImageDataset) -> ImageDataset:
    """Return a data set as the config's network reads it: with features, or normalised as the network needs it."""
    network = MODELS.get(config.model)
    if network and network.normalisation:
        mean, std = ((value,) * len(dataset.mean) for value in network.normalisation)
        return replace(dataset, mean=mean, std=std)
    if not config.is_frozen or not dataset.is_dense:
        return dataset
    from alutils.models.encoders import encoded  # loads torch, which a run that reads images may not need yet
    from alutils.training.loop import default_device

    return encoded(dataset, config.encoder, config.encoder_weights, default_device())


def load_sets(config: TrainingConfig) -> tuple[ImageDataset, ImageDataset]:
    """Return the training set and the test set; raise `ParameterError` if the config does not suit them.

    Raises `DataError` if the test set has no label. A height or width that does not suit the network is a warning, one
    line on stderr.
    """
    check_choice("model", config.model, MODELS)
    train_set, test_set = load_split(config, "train"), load_test_set(config)
    _check_suits(config, train_set)
    check_labels(test_set, np.arange(len(test_set)))
    warn_of_size(config.model, train_set)
    return train_set, test_set


def check_labels(dataset: ImageDataset, indices: np.ndarray) -> None:
    """Raise `DataError` if all labels of the images `indices` are void."""
    if all((dataset.labels[index] == IGNORE_INDEX).all() for index in indices):
        raise DataError(f"{dataset.name} {dataset.split}: the labels of all {len(indices)} images are void")


def _check_suits(config: TrainingConfig, train_set: ImageDataset) -> None:
    """Raise `ParameterError` if the network or the recipe is not one for such data."""
    models = [name for name in MODELS if (name not in FOR_DIGITS) == train_set.is_dense]
    check_choice(f"model for {train_set.name}", config.model, models)
    check_range("batch_size", config.batch_size, 2, max(2, len(train_set)), "training images")
    if train_set.is_dense:
        return
    check_choice(f"augmentation for {train_set.name}", config.augmentation, ["none"])
    if config.void_class:
        raise ParameterError(f"void_class is True; {train_set.name} has no void, allowed: False")
