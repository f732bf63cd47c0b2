"""Bulk training: one training from scratch on a share of an order of the pool."""

import hashlib
import time

import numpy as np
import pandas as pd
import torch

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError, check_range
from alutils.models import SplitModel, build_model
from alutils.runs.acquisition import image_rows
from alutils.runs.config import BulkConfig
from alutils.runs.data import check_labels, load_sets
from alutils.runs.folder import RunFolder
from alutils.runs.networks import RunTraining, check_network
from alutils.runs.rounds import clip_rows, round_row
from alutils.runs.schemas import check_items, reported
from alutils.seeds import numpy_generator
from alutils.training.loop import default_device, measure_on_test_set


def run_bulk(config: BulkConfig) -> pd.DataFrame:
    """Train on a share of an order and return `rounds.csv`, one row.

    A run that was killed goes on from its last checkpoint, and a finished run is only read. Everything that can be
    checked is checked before the run gets a folder.
    """
    run = RunFolder(config.experiment, config.run_name)
    train_set, test_set = load_sets(config)
    chosen = chosen_images(config, train_set)
    check_labels(train_set, chosen)
    order = {"order": hashlib.sha256(chosen.astype(np.int64).tobytes()).hexdigest()}
    content = config.as_dict(train_set, test_set) | order
    check_network(config, train_set, run, content)
    with run.opened(content):
        if run.rounds().empty:
            started = time.perf_counter()
            (network,) = RunTraining(config, run, [len(chosen)], lambda _: order["order"]).train(train_set, chosen)
            tested = measure_on_test_set(network, test_set, config)
            if config.keep_model:
                run.save_state("model", network.state_dict())
            row = round_row(0, len(chosen), len(train_set), tested.measures, time.perf_counter() - started)
            acquired = image_rows(train_set, chosen, np.full(len(chosen), np.nan), 0)
            clips = pd.DataFrame(clip_rows(0, test_set, tested))
            run.save_rounds(pd.DataFrame([row | {"seconds_query": 0.0}]), pd.DataFrame(acquired), clips=clips)
        run.finish(default_device())
        return run.rounds()


def chosen_images(config: BulkConfig, dataset: ImageDataset) -> np.ndarray:
    """Return the data-set indices to train on: the config's share of its order."""
    order = image_order(config, dataset)
    first, last = (round(len(dataset) * percent / 100) for percent in (config.skip, config.skip + config.share))
    check_range("share", last, first + 1, len(order), "images of the order, skipped ones included")
    return order[first:last]


def image_order(config: BulkConfig, dataset: ImageDataset) -> np.ndarray:
    """Return the data-set indices of a pool in the config's order; images that were never acquired are left out.

    Raises `ParameterError` if the rounds that give the order are not finished, or acquired regions; `DataError` if they
    acquired other images.
    """
    if config.order_run_name is None:
        return numpy_generator(config.seed_of_order, "start").permutation(len(dataset))
    run = RunFolder(config.experiment, config.order_run_name)
    if not run.is_finished:
        raise ParameterError(f"{run.path} is no finished run; run 03_active_learning_rounds for it first")
    acquired = run.acquisitions()
    check_items(acquired, dataset)
    if "region" in acquired:
        raise ParameterError(f"query is {config.query}; a share of an order is of whole images, not of regions")
    return acquired["index"].to_numpy()


def load_bulk_model(config: BulkConfig, dataset: ImageDataset) -> SplitModel:
    """Return the network that a finished run with `keep_model` kept, in evaluation mode."""
    run = RunFolder(config.experiment, config.run_name)
    state = run.load_state("model")
    if state is None:
        raise ParameterError(f"{run.path} holds no model; allowed: a finished run with keep_model")
    # without pretrained weights, which may be gone
    model = build_model(config.model, config.outputs(dataset), seed=0, features=dataset.features)
    with reported(run.path / "model.pt"):
        model.load_state_dict(state)
    return model.to(default_device()).to(memory_format=torch.channels_last).eval()
