"""Active learning: rounds of train, test, score, label; and training on a share of a saved order."""

import hashlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from alutils.datasets import ImageDataset
from alutils.errors import DataError, ParameterError, check_choice, check_range
from alutils.models import FOR_DIGITS, MODELS, SplitModel, build_model
from alutils.progress import Status
from alutils.queries.query import parse_query
from alutils.queries.regions import Pieces
from alutils.runs.acquisition import (
    acquire,
    image_rows,
    labelled,
    pool_of,
    score_pieces,
    start_set,
    total_cost,
    with_cost,
)
from alutils.runs.config import BulkConfig, RoundsConfig, TrainingConfig
from alutils.runs.folder import RunFolder
from alutils.seeds import derive_seed
from alutils.training.loop import default_device, evaluate, make_optimizer, train
from alutils.training.metrics import accuracy, category_iou, class_iou, mean_iou
from alutils.training.recipe import Recipe

SAVE_EVERY = 30.0  # seconds between checkpoints inside a training


def run_rounds(config: RoundsConfig, scoring_workers: int = 1) -> pd.DataFrame:
    """Run active learning, or what is left of it, and return `rounds.csv`: a row a round.

    After each round the run folder is saved whole; a run that was killed goes on from there, a finished one
    is only read. `scoring_workers` processes score the pool, to the same result.
    """
    query = parse_query(config.query).loaded()
    check_range("scoring_workers", scoring_workers, 1, 1000)
    train_set, test_set = _load_sets(config)
    budgets = config.budgets(len(train_set))
    pieces = Pieces(train_set, query.regions)
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    with run.opened(config.as_dict(train_set, test_set)):
        rows = _records(run.read_table("rounds"))
        acquired, scores = _restore(config, run, pieces, rows, budgets)
        networks = query.networks
        tell = _teller(config, config.trained_on(budgets), networks, rows)
        for number in range(len(rows), config.rounds):
            started = time.perf_counter()
            pool = pool_of(pieces, acquired, number)
            newest = [row for row in acquired if row["round"] == number]
            chosen = labelled(pieces, newest) if config.regime == "new_data_only" else pool.labelled
            models = [
                _trained_model(
                    config, run, *pieces.labelled_only(chosen), number, member, device, partial(tell, number, member)
                )
                for member in range(networks)
            ]
            measures = test_measures(models[0], test_set, config)
            seconds_train, started = time.perf_counter() - started, time.perf_counter()
            row = _row(number, budgets[number], len(train_set), measures, seconds_train) | total_cost(acquired, number)
            batch = []
            if acquired[-1]["round"] == number < config.rounds - 1:  # one_shot has ranked all in the first round
                scores.append(score_pieces(config, query, models, pieces, pool, number, workers=scoring_workers))
                batch = acquire(config, query, models[0], pieces, pool, number, scores[-1])
            rows.append(row | {"seconds_query": time.perf_counter() - started})
            acquired += with_cost(pieces, batch)
            run.write_table("acquisitions", pd.DataFrame(acquired))
            if query.asks_committee:
                run.write_array("scores", np.array(scores, np.float32))
            run.write_table("rounds", pd.DataFrame(rows))
        run.finish(device)
        return run.read_table("rounds")


def _load_sets(config: TrainingConfig) -> tuple[ImageDataset, ImageDataset]:
    """Return the training and the test set, after checking that the model is one for such data."""
    check_choice("model", config.model, MODELS)
    train_set, test_set = config.load("train"), config.load_test()
    models = [name for name in MODELS if (name not in FOR_DIGITS) == train_set.is_dense]
    check_choice(f"model for {train_set.name}", config.model, models)
    if not train_set.is_dense:
        check_choice(f"augmentation for {train_set.name}", config.augmentation, ["none"])
        if config.void_class:
            raise ParameterError(f"void_class is True; {train_set.name} has no void, allowed: False")
    return train_set, test_set


def _restore(
    config: RoundsConfig, run: RunFolder, pieces: Pieces, rows: list[dict[str, Any]], budgets: list[int]
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return acquisitions and scores (P,) after the rounds in `rows`; at first, the seed's start set and none.

    Raises `DataError` if the run's two tables do not fit together.
    """
    if not rows:
        return with_cost(pieces, start_set(config, pieces, budgets[0])), []
    table = run.read_table("acquisitions")
    last_round = config.rounds if config.regime == "one_shot" else len(rows)
    acquired = _records(table[table["round"] <= last_round] if len(table) else table)
    room = pieces.room(budgets[: last_round + 1][-1], labelled(pieces, acquired))
    if [row["labelled"] for row in rows] != budgets[: len(rows)] or not 0 <= room < pieces.sizes.max():
        raise DataError(
            f"{run.path}: {len(acquired)} acquisitions after {len(rows)} rounds do not make {budgets[len(rows) - 1]} or"
            f" more labelled images; its tables are damaged, put copies back or remove the folder"
        )
    return acquired, list(run.read_array("scores")[: len(rows)])


def _teller(
    config: TrainingConfig, sizes: list[int], networks: int, rows: list[dict[str, Any]]
) -> Callable[[int, int, int], None]:
    """Return a function that tells whoever watches how far a run with `rows` so far is: round, member, its epochs done.

    sizes : the number of images that each round trains on, each of its `networks`
    """
    steps = [config.of_round(number).total_steps(size) for number, size in enumerate(sizes)]
    status = Status(networks * sum(steps))

    def tell(round_number: int, member: int, epochs_done: int) -> None:
        per_epoch = math.ceil(sizes[round_number] / config.batch_size)
        steps_done = networks * sum(steps[:round_number]) + member * steps[round_number]
        steps_done += min(epochs_done * per_epoch, steps[round_number])
        score = {name: rows[-1][name] for name in ("miou", "accuracy") if rows and name in rows[-1]}
        where = {"round": round_number + 1, "rounds": len(sizes)}
        status.tell(steps_done, **where, epoch=epochs_done, epochs=math.ceil(steps[round_number] / per_epoch), **score)

    return tell


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def run_bulk(config: BulkConfig) -> pd.DataFrame:
    """Train on a share of an order, or on what is left of it to train, and return `rounds.csv`: one row."""
    train_set, test_set = _load_sets(config)
    chosen = config.chosen(train_set)
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    order = {"order": hashlib.sha256(chosen.astype(np.int64).tobytes()).hexdigest()}
    with run.opened(config.as_dict(train_set, test_set) | order):
        if run.read_table("rounds").empty:
            started = time.perf_counter()
            tell = partial(_teller(config, [len(chosen)], 1, []), 0, 0)
            model = _trained_model(config, run, train_set, chosen, 0, 0, device, tell)
            measures = test_measures(model, test_set, config)
            if config.keep_model:
                run.save_state("model", model.state_dict())
            row = _row(0, len(chosen), len(train_set), measures, time.perf_counter() - started)
            acquired = image_rows(train_set, chosen, np.full(len(chosen), np.nan), 0)
            run.write_table("acquisitions", pd.DataFrame(acquired))
            run.write_table("rounds", pd.DataFrame([row | {"seconds_query": 0.0}]))
        run.finish(device)
        return run.read_table("rounds")


def load_bulk_model(config: BulkConfig, dataset: ImageDataset) -> SplitModel:
    """Return the network that a finished run with `keep_model` left, in evaluation mode."""
    run = RunFolder(config.experiment, config.run_name)
    state = run.load_state("model")
    if state is None:
        raise ParameterError(f"{run.path} holds no model; allowed: a finished run with keep_model")
    model = build_model(config.model, config.outputs(dataset), seed=0)
    model.load_state_dict(state)
    return model.to(default_device()).to(memory_format=torch.channels_last).eval()


def test_measures(model: SplitModel, test_set: ImageDataset, recipe: Recipe) -> dict[str, float]:
    """Return accuracy and, for scenes, mean IoU, each class's and each category's, on the test set."""
    confusion = evaluate(model, test_set, recipe)
    if not test_set.is_dense:
        return {"accuracy": accuracy(confusion)}
    by_class = zip(test_set.class_names, class_iou(confusion).tolist(), strict=True)
    by_category = zip(
        test_set.categories, category_iou(confusion, list(test_set.categories.values())).tolist(), strict=True
    )
    ious = {f"iou_{name}": iou for name, iou in by_class} | {f"category_iou_{name}": iou for name, iou in by_category}
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
    member: int,
    device: torch.device,
    tell: Callable[[int], None],
) -> SplitModel:
    """Return the network after training on `labelled`, from the last save on if there is one.

    member : which of an ensemble; each has random numbers and saves of its own, member 0 those of a single network
    """
    first_round, decay = config.schedule(round_number)
    seed = derive_seed(config.seed, "ensemble", member) if member else config.seed
    weights_seed = derive_seed(seed, "weights", first_round)
    model = build_model(config.model, config.outputs(train_set), seed=weights_seed, weights=config.weights)
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config)
    checkpoint = f"checkpoint{member or ''}"
    saved = run.load_state(checkpoint)
    first_epoch = 0
    if saved is not None and saved["round"] >= first_round:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first_epoch = saved["epochs"] if saved["round"] == round_number else 0
    tell(first_epoch)
    train(
        model,
        optimizer,
        train_set,
        labelled,
        config.of_round(round_number),
        seed=derive_seed(seed, "training", round_number),
        decay=decay,
        first_epoch=first_epoch,
        after_epoch=_saver(run, checkpoint, model, optimizer, round_number, tell),
    )
    return model


def _saver(
    run: RunFolder,
    checkpoint: str,
    model: SplitModel,
    optimizer: torch.optim.Optimizer,
    round_number: int,
    tell: Callable[[int], None],
) -> Callable[[int, bool], None]:
    """Return a function that tells of each epoch and saves after the last and, before it, every `SAVE_EVERY` s."""
    last_save = time.monotonic()

    def save(epochs_done: int, is_last: bool) -> None:
        nonlocal last_save
        tell(epochs_done)
        if is_last or time.monotonic() - last_save >= SAVE_EVERY:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            run.save_state(checkpoint, state | {"round": round_number, "epochs": epochs_done})
            last_save = time.monotonic()

    return save
