"""The experiment of `whole_loop.py` as a user of baal writes it; a PNG file is decoded each time an image is asked for.

Where baal leaves a choice, the fastest was taken: how many images are scored at once, no worker processes on a CPU
(the network needs its cores), channels last.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import structlog
import torch
from baal import ActiveLearningDataset, ModelWrapper
from baal.active import ActiveLearningLoop
from baal.active.heuristics import Entropy
from baal.bayesian.caching_utils import MCCachingModule
from baal.bayesian.dropout import MCDropoutModule
from baal.modelwrapper import TrainingArgs
from PIL import Image
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from torchvision.datasets import Cityscapes
from torchvision.transforms.functional import normalize, to_tensor

from alutils.datasets import IGNORE_INDEX
from alutils.datasets.base import IMAGENET_MEAN, IMAGENET_STD
from alutils.models import SplitModel, build_model
from alutils.runs.config import RoundsConfig
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.loop import default_device
from alutils.training.metrics import confusion_matrix, mean_iou
from alutils.training.recipe import Recipe

HAS_GPU = torch.cuda.is_available()
WORKERS = 4 if HAS_GPU else 0  # baal's default is 4
REPLICATED = 8 if HAS_GPU else 2  # images scored at once, each replicated in memory for all T passes: baal's default
CACHED = 8 if HAS_GPU else 4  # images scored at once, pass after pass, where `MCCachingModule` keeps outputs of layers

CLASSES = sorted({c.train_id for c in Cityscapes.classes if 0 <= c.train_id < IGNORE_INDEX})
CLASS_OF_LABEL = torch.tensor([c.train_id if c.train_id in CLASSES else IGNORE_INDEX for c in Cityscapes.classes])

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # it logs to standard output


def run_baal(root: Path, config: RoundsConfig, *, is_cached: bool) -> pd.DataFrame:
    """Run what `config` asks for on the scenes below `root`; return the columns of `rounds.csv`, one row per round."""
    torch.manual_seed(config.seed)
    train_set, test_set = scenes(root, "train", half_flipped), scenes(root, "val", as_tensors)
    active_set = ActiveLearningDataset(train_set, pool_specifics={"transforms": as_tensors})
    budgets = config.labelled_by_round(len(train_set))
    active_set.label(numpy_generator(config.seed, "start").permutation(len(train_set))[: budgets[0]].tolist())
    rows = []
    for round_number, budget in enumerate(budgets):
        started = time.perf_counter()
        network = build_model(config.model, len(CLASSES), seed=derive_seed(config.seed, "weights", round_number))
        network.to(default_device()).to(memory_format=torch.channels_last)
        ModelWrapper(network, training_args(network, config, budget)).train_on_dataset(active_set)
        miou = test_mean_iou(network, test_set, config.batch_size)
        seconds_train, started = time.perf_counter() - started, time.perf_counter()
        if round_number + 1 < config.rounds:
            label_more(active_set, network, budgets[round_number + 1] - budget, config.committee_members, is_cached)
        seconds_query = time.perf_counter() - started
        rows.append({"miou": miou, "seconds_train": seconds_train, "seconds_query": seconds_query})
    return pd.DataFrame(rows)


def scenes(root: Path, split: str, transforms: Any) -> Cityscapes:
    """Return a split in the order in which alutils numbers its images."""
    dataset = Cityscapes(root, split=split, mode="fine", target_type="semantic", transforms=transforms)
    dataset.images.sort()
    dataset.targets.sort()
    return dataset


def as_tensors(image: Image.Image, label: Image.Image) -> tuple[Tensor, Tensor]:
    """Return the image (3, H, W) float32, normalised, and its classes (H, W) int64."""
    pixels = normalize(to_tensor(image), IMAGENET_MEAN, IMAGENET_STD)
    return pixels, CLASS_OF_LABEL[torch.from_numpy(np.array(label)).long()]


def half_flipped(image: Image.Image, label: Image.Image) -> tuple[Tensor, Tensor]:
    """Return the same, mirrored left to right half of the time."""
    pixels, classes = as_tensors(image, label)
    return (pixels.flip(-1), classes.flip(-1)) if torch.rand(()) < 0.5 else (pixels, classes)


def training_args(network: nn.Module, config: Recipe, labelled: int) -> TrainingArgs:
    """Return the settings of one training: Adam, its learning rate falling linearly to 0 as in alutils."""
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    total = config.total_steps(labelled)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / total)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return TrainingArgs(
        optimizer=optimizer,
        batch_size=config.batch_size,
        epoch=config.epochs,
        workers=WORKERS,
        criterion=nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX),
    )


@torch.inference_mode()
def test_mean_iou(network: SplitModel, dataset: Cityscapes, batch_size: int) -> float:
    """Return the mean IoU of `network` without dropout."""
    network.eval()
    device = default_device()
    batches = DataLoader(dataset, batch_size, num_workers=WORKERS)
    counts = [
        confusion_matrix(network(images.to(device)).argmax(dim=1), labels.to(device), len(CLASSES))
        for images, labels in batches
    ]
    return mean_iou(torch.stack(counts).sum(dim=0))


def label_more(
    active_set: ActiveLearningDataset, network: nn.Module, count: int, members: int, is_cached: bool
) -> None:
    """Label the `count` images of the highest consensus entropy."""
    args = TrainingArgs(
        batch_size=CACHED if is_cached else REPLICATED, workers=WORKERS, replicate_in_memory=not is_cached
    )
    with stochastic(network, is_cached) as committee:
        ActiveLearningLoop(
            active_set,
            ModelWrapper(committee, args).predict_on_dataset_generator,
            Entropy(reduction="mean"),
            query_size=count,
            iterations=members,
            verbose=False,
        ).step()


@contextmanager
def stochastic(network: nn.Module, is_cached: bool) -> Iterator[nn.Module]:
    """Give the probabilities of `network` with dropout left on; baal averages what it is given, over the passes."""
    with ExitStack() as patches:
        committee = patches.enter_context(MCDropoutModule(nn.Sequential(network, nn.Softmax(dim=1))))
        yield patches.enter_context(MCCachingModule(committee)) if is_cached else committee
