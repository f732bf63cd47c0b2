"""One pool scored by several processes; every score is the one that a single process gives."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from alutils.processes import in_processes
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.runs.config import RoundsConfig
from alutils.runs.data import load_split


def shards(indices: np.ndarray, workers: int, batch_size: int) -> list[np.ndarray]:
    """Cut `indices` into at most `workers` consecutive parts; each but the last is a multiple of `batch_size` long."""
    batches = -(-len(indices) // batch_size)
    bounds = [batch_size * (batches * worker // workers) for worker in range(workers + 1)]
    parts = [indices[start:stop] for start, stop in pairwise(bounds)]
    return [part for part in parts if len(part)]


def score_in_shards(
    config: RoundsConfig,
    committee: Committee,
    indices: np.ndarray,
    workers: int,
    batch_size: int,
    class_weights: Tensor | None = None,
) -> np.ndarray:
    """Return the scores that `score_images` gives for the training images `indices`, computed by `workers` processes.

    Each process loads the data set itself, uses a GPU of its own if there are several, and has as many threads as this
    process. Starting the processes takes seconds, so they pay off for pools that take minutes to score.

    batch_size : how many images `score_images` scores at once
    """
    on_cpu = committee.to("cpu")
    parts = shards(indices, workers, batch_size)
    tasks = [(config, on_cpu, part, class_weights, rank) for rank, part in enumerate(parts)]
    return np.concatenate(list(in_processes(workers, torch.get_num_threads(), _scored, tasks)))


def _scored(
    config: RoundsConfig, committee: Committee, indices: np.ndarray, class_weights: Tensor | None, rank: int
) -> np.ndarray:
    """Return the scores of the training images `indices`; this is the `rank`-th part."""
    gpus = torch.cuda.device_count()
    committee = committee.to(f"cuda:{rank % gpus}" if gpus else "cpu")
    dataset, query = load_split(config, "train"), parse_query(config.query).loaded()
    return score_images(query, committee, dataset, indices, config, class_weights)
