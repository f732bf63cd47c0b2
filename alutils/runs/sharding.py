"""One pool scored by several processes, whole batches each: every score is the one that a single process gives."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor

from alutils.models import SplitModel, build_model
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.runs.config import RoundsConfig
from alutils.seeds import numpy_generator


def shards(indices: np.ndarray, workers: int, batch_size: int) -> list[np.ndarray]:
    """Cut `indices` into at most `workers` parts in a row, of whole batches of `batch_size` but the last one."""
    batches = -(-len(indices) // batch_size)
    bounds = [batch_size * (batches * worker // workers) for worker in range(workers + 1)]
    parts = [indices[start:stop] for start, stop in pairwise(bounds)]
    return [part for part in parts if len(part)]


def score_in_shards(
    config: RoundsConfig,
    models: Sequence[SplitModel],
    indices: np.ndarray,
    committee: Committee,
    workers: int,
    class_weights: Tensor | None = None,
) -> np.ndarray:
    """Return what `score_images` does for the training images `indices`, by `workers` processes.

    Each loads the data set itself, on a GPU of its own where there are several, and has as many threads as this
    process. Starting them takes seconds: worth it for pools that take minutes.
    """
    states = [{name: tensor.cpu() for name, tensor in model.state_dict().items()} for model in models]
    parts = shards(indices, workers, config.batch_size)
    tasks = [
        (config, states, part, committee, class_weights, rank, torch.get_num_threads())
        for rank, part in enumerate(parts)
    ]
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_score_shard, tasks)))


def _score_shard(
    task: tuple[RoundsConfig, list[Mapping[str, Tensor]], np.ndarray, Committee, Tensor | None, int, int],
) -> np.ndarray:
    config, states, indices, committee, class_weights, rank, threads = task
    torch.set_num_threads(threads)
    gpus = torch.cuda.device_count()
    dataset = config.load("train")
    models = []
    for state in states:
        model = build_model(config.model, config.outputs(dataset), seed=0)
        model.load_state_dict(state)
        models.append(model.to(f"cuda:{rank % gpus}" if gpus else "cpu").to(memory_format=torch.channels_last))
    no_draws = numpy_generator(0, "no draws")  # of a score that a committee gives
    query = parse_query(config.query).loaded()
    return score_images(query, models, dataset, indices, config, committee, no_draws, class_weights)
