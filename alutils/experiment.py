"""Active learning: rounds of train, test, score, label; and training on a share of a saved order."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from alutils.committee import Committee
from alutils.config import BulkConfig, Recipe, RoundsConfig, TrainingConfig
from alutils.datasets import ImageDataset
from alutils.errors import DataError, ParameterError, check_choice, check_range
from alutils.metrics import accuracy, class_iou, mean_iou
from alutils.models import FOR_DIGITS, MODELS, SplitModel, build_model
from alutils.pool import Pool
from alutils.progress import Status
from alutils.query import QUERIES, score_images
from alutils.results import RunFolder
from alutils.seeds import derive_seed, numpy_generator
from alutils.sharding import score_in_shards
from alutils.training import default_device, evaluate, make_optimizer, train

SAVE_EVERY = 30.0  # seconds between checkpoints inside a training


def run_rounds(config: RoundsConfig, scoring_workers: int = 1) -> pd.DataFrame:
    """Run active learning, or what is left of it, and return `rounds.csv`: a row a round.

    After each round the run folder is saved whole; a run that was killed goes on from there, a finished one
    is only read. `scoring_workers` processes score the pool, to the same result.
    """
    check_choice("query", config.query, QUERIES)
    check_range("scoring_workers", scoring_workers, 1, 1000)
    train_set, test_set = _load_sets(config)
    budgets = config.budgets(len(train_set))
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    with run.opened(config.as_dict(train_set, test_set)):
        rows = _records(run.read_table("rounds"))
        pool, acquired = _restore_pool(config, run, train_set, rows, budgets)
        tell = _teller(config, budgets, rows)
        for round_number in range(len(rows), config.rounds):
            started = time.perf_counter()
            model = _trained_model(config, run, train_set, pool.labelled, round_number, device, tell)
            measures = test_measures(model, test_set, config)
            seconds_train, started = time.perf_counter() - started, time.perf_counter()
            row = _row(round_number, len(pool.labelled), len(train_set), measures, seconds_train)
            if round_number + 1 < config.rounds:
                count = budgets[round_number + 1] - budgets[round_number]
                acquired += _acquire(config, model, train_set, pool, count, round_number, scoring_workers)
            rows.append(row | {"seconds_query": time.perf_counter() - started})
            run.write_table("acquisitions", pd.DataFrame(acquired))
            run.write_table("rounds", pd.DataFrame(rows))
        run.finish(device)
        return run.read_table("rounds")


def _load_sets(config: TrainingConfig) -> tuple[ImageDataset, ImageDataset]:
    """Return the training and the test set, after checking that the model is one for such data."""
    check_choice("model", config.model, MODELS)
    train_set, test_set = config.load("train"), config.load(config.test_split)
    models = [name for name in MODELS if (name not in FOR_DIGITS) == train_set.is_dense]
    check_choice(f"model for {train_set.name}", config.model, models)
    if not train_set.is_dense:
        check_choice(f"augmentation for {train_set.name}", config.augmentation, ["none"])
    return train_set, test_set


def _restore_pool(
    config: RoundsConfig, run: RunFolder, train_set: ImageDataset, rows: list[dict[str, Any]], budgets: list[int]
) -> tuple[Pool, list[dict[str, Any]]]:
    """Return the pool and the acquisitions after the rounds in `rows`; at first, the seed's start set.

    Raises `DataError` if the run's two tables do not fit together.
    """
    pool = Pool(len(train_set))
    if not rows:
        indices = pool.label(numpy_generator(config.seed, "start").permutation(len(train_set))[: budgets[0]])
        return pool, _acquisitions(train_set, indices, np.full(budgets[0], np.nan), 0)
    table = run.read_table("acquisitions")
    table = table[table["round"] <= len(rows)] if len(table) else table
    expected = budgets[: len(rows) + 1][-1]
    if [row["labelled"] for row in rows] != budgets[: len(rows)] or len(table) != expected:
        raise DataError(
            f"{run.path}: {len(table)} acquisitions after {len(rows)} rounds, expected {expected}; its tables are"
            " damaged, put copies back or remove the folder"
        )
    pool.label_indices(table["index"].to_numpy())
    return pool, _records(table)


def _teller(config: TrainingConfig, budgets: list[int], rows: list[dict[str, Any]]) -> Callable[[int, int], None]:
    """Return a function that tells whoever watches how far a run with `rows` so far is: round, epochs done in it."""
    steps = [config.total_steps(labelled) for labelled in budgets]
    status = Status(sum(steps))

    def tell(round_number: int, epochs_done: int) -> None:
        per_epoch = math.ceil(budgets[round_number] / config.batch_size)
        steps_done = sum(steps[:round_number]) + min(epochs_done * per_epoch, steps[round_number])
        score = {name: rows[-1][name] for name in ("miou", "accuracy") if rows and name in rows[-1]}
        where = {"round": round_number + 1, "rounds": len(budgets)}
        status.tell(steps_done, **where, epoch=epochs_done, epochs=math.ceil(steps[round_number] / per_epoch), **score)

    return tell


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def _acquire(
    config: RoundsConfig,
    model: SplitModel,
    train_set: ImageDataset,
    pool: Pool,
    count: int,
    round_number: int,
    scoring_workers: int,
) -> list[dict[str, Any]]:
    """Score the unlabelled images, label the best `count`, return their rows for `acquisitions.csv`."""
    query, unlabelled = QUERIES[config.query], pool.unlabelled
    generator = numpy_generator(config.seed, "query", round_number)
    masks_seed = derive_seed(config.seed, "committee", round_number)
    committee = Committee(config.committee_members, config.committee_dropout, masks_seed)
    if scoring_workers > 1 and query.score:
        scores = score_in_shards(config, model, unlabelled, committee, scoring_workers)
    else:
        scores = score_images(query, model, train_set, unlabelled, config, committee, generator)
    positions = query.selection(scores, count, generator)
    return _acquisitions(train_set, pool.label(positions), scores[positions], round_number + 1)


def _acquisitions(
    dataset: ImageDataset, indices: np.ndarray, scores: np.ndarray, round_number: int
) -> list[dict[str, Any]]:
    return [
        {
            "round": round_number,
            "rank": rank,
            "index": int(i),
            "item": dataset.item_names[i],
            "score": float(score),
        }
        for rank, (i, score) in enumerate(zip(indices, scores, strict=True))
    ]


def run_bulk(config: BulkConfig) -> pd.DataFrame:
    """Train on a share of an order, or on what is left of it to train, and return `rounds.csv`: one row."""
    check_choice("query", config.query, ["all", *QUERIES])
    train_set, test_set = _load_sets(config)
    chosen = config.chosen(train_set)
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    order = {"order": hashlib.sha256(chosen.astype(np.int64).tobytes()).hexdigest()}
    with run.opened(config.as_dict(train_set, test_set) | order):
        if run.read_table("rounds").empty:
            started = time.perf_counter()
            model = _trained_model(config, run, train_set, chosen, 0, device, _teller(config, [len(chosen)], []))
            measures = test_measures(model, test_set, config)
            if config.keep_model:
                run.save_state("model", model.state_dict())
            row = _row(0, len(chosen), len(train_set), measures, time.perf_counter() - started)
            acquired = _acquisitions(train_set, chosen, np.full(len(chosen), np.nan), 0)
            run.write_table("acquisitions", pd.DataFrame(acquired))
            run.write_table("rounds", pd.DataFrame([row | {"seconds_query": 0.0}]))
        run.finish(device)
        return run.read_table("rounds")


def load_bulk_model(config: BulkConfig, num_classes: int) -> SplitModel:
    """Return the network that a finished run with `keep_model` left, in evaluation mode."""
    run = RunFolder(config.experiment, config.run_name)
    state = run.load_state("model")
    if state is None:
        raise ParameterError(f"{run.path} holds no model; allowed: a finished run with keep_model")
    model = build_model(config.model, num_classes, seed=0)
    model.load_state_dict(state)
    return model.to(default_device()).to(memory_format=torch.channels_last).eval()


def test_measures(model: SplitModel, test_set: ImageDataset, recipe: Recipe) -> dict[str, float]:
    """Return accuracy and, for scenes, mean IoU and each class's, on the test set."""
    confusion = evaluate(model, test_set, recipe)
    if not test_set.is_dense:
        return {"accuracy": accuracy(confusion)}
    ious = {f"iou_{name}": iou for name, iou in zip(test_set.class_names, class_iou(confusion).tolist(), strict=True)}
    return {"miou": mean_iou(confusion), "accuracy": accuracy(confusion)} | ious


def _row(
    round_number: int, labelled: int, pool_size: int, measures: dict[str, float], seconds: float
) -> dict[str, Any]:
    """Return a row of `rounds.csv`."""
    share = {"labelled": labelled, "labelled_percent": round(100 * labelled / pool_size, 4)}
    return {"round": round_number} | share | measures | {"seconds_train": seconds}


def _trained_model(
    config: TrainingConfig,
    run: RunFolder,
    train_set: ImageDataset,
    labelled: np.ndarray,
    round_number: int,
    device: torch.device,
    tell: Callable[[int, int], None],
) -> SplitModel:
    """Return the network after training on `labelled`, from the last save on if there is one."""
    first_round, decay = config.schedule(round_number)
    weights_seed = derive_seed(config.seed, "weights", first_round)
    model = build_model(config.model, train_set.num_classes, seed=weights_seed, weights=config.weights)
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config)
    saved = run.load_state("checkpoint")
    first_epoch = 0
    if saved is not None and saved["round"] >= first_round:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first_epoch = saved["epochs"] if saved["round"] == round_number else 0
    tell(round_number, first_epoch)
    train(
        model,
        optimizer,
        train_set,
        labelled,
        config,
        seed=derive_seed(config.seed, "training", round_number),
        decay=decay,
        first_epoch=first_epoch,
        after_epoch=_saver(run, model, optimizer, round_number, tell),
    )
    return model


def _saver(
    run: RunFolder,
    model: SplitModel,
    optimizer: torch.optim.Optimizer,
    round_number: int,
    tell: Callable[[int, int], None],
) -> Callable[[int, bool], None]:
    """Return a function that tells of each epoch and saves after the last and, before it, every `SAVE_EVERY` s."""
    last_save = time.monotonic()

    def save(epochs_done: int, is_last: bool) -> None:
        nonlocal last_save
        tell(round_number, epochs_done)
        if is_last or time.monotonic() - last_save >= SAVE_EVERY:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            run.save_state("checkpoint", state | {"round": round_number, "epochs": epochs_done})
            last_save = time.monotonic()

    return save
