"""Active learning: rounds of train, test, score, label; and training on a share of a saved order."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from alutils.committee import Committee
from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import ParameterError, check_choice, check_range
from alutils.metrics import accuracy, class_iou, mean_iou
from alutils.models import SplitModel, build_model
from alutils.pool import Pool
from alutils.query import QUERIES, score_images
from alutils.results import RunFolder
from alutils.seeds import derive_seed, numpy_generator
from alutils.training import Recipe, default_device, evaluate, make_optimizer, train

REGIMES = ("from_scratch", "incremental")
UNITS = ("percent", "images")
SAVE_EVERY = 30.0  # seconds between checkpoints inside a training


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What both kinds of run need: where results go, the data, the network, the seed and the recipe."""

    kind: ClassVar[str]

    experiment: str
    dataset: str
    height: int | None
    width: int | None
    test_split: str
    model: str
    weights: str | None
    seed: int
    epochs: int
    steps: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    class_weights: bool
    precision: str

    @classmethod
    def from_names(cls, names: Mapping[str, Any]) -> Self:
        """Take each field from `names`, such as a notebook's `globals()`."""
        return cls(**{field.name: names[field.name] for field in fields(cls)})

    def recipe(self, dataset: ImageDataset) -> Recipe:
        """Return how networks are trained; scenes are flipped, digits are not."""
        return Recipe(
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            class_weights=self.class_weights,
            flip=dataset.is_dense,
            precision=self.precision,
        )

    def load(self, split: str) -> ImageDataset:
        """Return one split of the data set at the size asked for."""
        return load_dataset(self.dataset, split, self.height, self.width)

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Return the round whose initial weights the network starts from, and its learning-rate decay."""
        return round_number, (1.0, 0.0)

    def as_dict(self, train_set: ImageDataset, test_set: ImageDataset) -> dict[str, Any]:
        """Return what `config.json` holds: every parameter, and the fingerprints of the data."""
        data = {"train_data": train_set.fingerprint, "test_data": test_set.fingerprint}
        return {"kind": self.kind} | asdict(self) | data


@dataclass(frozen=True, kw_only=True)
class RoundsConfig(TrainingConfig):
    """Active learning: from `start` labels, `step` more each round, `rounds` rounds, counted in `unit`."""

    kind = "rounds"

    query: str
    regime: str
    start: float
    step: float
    rounds: int
    unit: str
    committee_members: int
    committee_dropout: float

    def __post_init__(self) -> None:
        """Refuse what no data set could make possible."""
        check_choice("query", self.query, QUERIES)
        check_choice("regime", self.regime, REGIMES)
        check_choice("unit", self.unit, UNITS)
        check_range("rounds", self.rounds, 1, 10_000)
        if self.start <= 0 or self.step <= 0:
            raise ParameterError(f"start is {self.start:g}, step is {self.step:g}; allowed: more than 0")
        if self.unit == "percent":
            check_range(
                "labels in the last round", self.start + self.step * (self.rounds - 1), 0, 100, "percent"
            )

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        return f"{_word(self.dataset)}-{self.model}-{self.query}-seed{self.seed}"

    def budgets(self, pool_size: int) -> list[int]:
        """Return the number of labelled images in each round."""
        per_unit = pool_size / 100 if self.unit == "percent" else 1
        budgets = [round((self.start + self.step * r) * per_unit) for r in range(self.rounds)]
        check_range("labels in the last round", budgets[-1], 1, pool_size, "images")
        if budgets[0] < 1 or len(set(budgets)) < len(budgets):
            raise ParameterError(
                f"labels by round are {budgets}; allowed: at least one more image each round"
            )
        return budgets

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Start anew each round; `incremental`: go on from round 0, the rate falling over all rounds."""
        if self.regime == "from_scratch":
            return super().schedule(round_number)
        return 0, (1 - round_number / self.rounds, 1 - (round_number + 1) / self.rounds)

    def committee(self, round_number: int) -> Committee:
        """Return the committee that is asked after a round."""
        seed = derive_seed(self.seed, "committee", round_number)
        return Committee(self.committee_members, self.committee_dropout, seed)


@dataclass(frozen=True, kw_only=True)
class BulkConfig(TrainingConfig):
    """One training from scratch on `share` percent of an order, leaving out its first `skip` percent.

    query : whose order: a query of a finished run of `order_model` with the same seed in the same experiment;
        "random" for a random order, "all" for all images
    """

    kind = "bulk"

    query: str
    order_model: str
    share: float
    skip: float
    keep_model: bool

    def __post_init__(self) -> None:
        """Refuse what no data set could make possible."""
        check_choice("query", self.query, ["all", *QUERIES])
        check_range("skip", self.skip, 0, 99, "percent")
        check_range("share", self.share, 0.01, 100 - self.skip, "percent")
        if self.query == "all" and (self.share, self.skip) != (100, 0):
            raise ParameterError(f"share is {self.share:g}, skip is {self.skip:g}; with query all: 100 and 0")

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        order = self.query if self.query in ("all", "random") else f"{self.query}_by_{self.order_model}"
        share = f"share{self.share:g}" + (f"_skip{self.skip:g}" if self.skip else "")
        return f"{_word(self.dataset)}-{self.model}-bulk-{order}-{share}-seed{self.seed}"

    def order(self, dataset: ImageDataset) -> np.ndarray:
        """Return the data-set indices to choose from, in the order in which they were acquired."""
        if self.query in ("all", "random"):
            return numpy_generator(self.seed, "start").permutation(len(dataset))
        run = RunFolder(
            self.experiment, f"{_word(self.dataset)}-{self.order_model}-{self.query}-seed{self.seed}"
        )
        acquired = run.read_table("acquisitions")
        if acquired.empty:
            raise ParameterError(
                f"{run.path} has no acquisitions; run 03_active_learning_rounds for it first"
            )
        return acquired["index"].to_numpy()

    def chosen(self, dataset: ImageDataset) -> np.ndarray:
        """Return the data-set indices to train on."""
        order = self.order(dataset)
        first, last = (round(len(dataset) * percent / 100) for percent in (self.skip, self.skip + self.share))
        check_range("share", last, first + 1, len(order), "images of the order, skipped ones included")
        return order[first:last]


def _word(dataset: str) -> str:
    """Return a data set's name as it stands in a run's name; for a YAML file, its stem."""
    return dataset.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def run_rounds(config: RoundsConfig) -> pd.DataFrame:
    """Run active learning, or what is left of it, and return `rounds.csv`: a row a round.

    After each round the run folder is saved whole; a run that was killed goes on from there, a finished one
    is only read.
    """
    train_set, test_set = config.load("train"), config.load(config.test_split)
    budgets = config.budgets(len(train_set))
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    with run.opened(config.as_dict(train_set, test_set)):
        rows = _records(run.read_table("rounds"))
        pool, acquired = _restore_pool(config, run, len(train_set), len(rows), budgets[0], train_set)
        for round_number in range(len(rows), config.rounds):
            started = time.perf_counter()
            model = _trained_model(config, run, train_set, pool.labelled, round_number, device)
            measures = test_measures(model, test_set, config.recipe(test_set))
            seconds_train, started = time.perf_counter() - started, time.perf_counter()
            row = _row(round_number, len(pool.labelled), len(train_set), measures, seconds_train)
            if round_number + 1 < config.rounds:
                count = budgets[round_number + 1] - budgets[round_number]
                acquired += _acquire(config, model, train_set, pool, count, round_number)
            rows.append(row | {"seconds_query": time.perf_counter() - started})
            run.write_table("acquisitions", pd.DataFrame(acquired))
            run.write_table("rounds", pd.DataFrame(rows))
        run.finish(device)
        return run.read_table("rounds")


def _restore_pool(
    config: RoundsConfig, run: RunFolder, size: int, rounds_done: int, start: int, train_set: ImageDataset
) -> tuple[Pool, list[dict[str, Any]]]:
    """Return the pool and the acquisitions after `rounds_done` rounds; at first, the seed's start set."""
    pool = Pool(size)
    if rounds_done == 0:
        indices = pool.label(numpy_generator(config.seed, "start").permutation(size)[:start])
        return pool, _acquisitions(train_set, indices, np.full(start, np.nan), 0)
    table = run.read_table("acquisitions")
    table = table[table["round"] <= rounds_done]
    pool.label_indices(table["index"].to_numpy())
    return pool, _records(table)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def _acquire(
    config: RoundsConfig,
    model: SplitModel,
    train_set: ImageDataset,
    pool: Pool,
    count: int,
    round_number: int,
) -> list[dict[str, Any]]:
    """Score the unlabelled images, label the best `count`, return their rows for `acquisitions.csv`."""
    query, unlabelled = QUERIES[config.query], pool.unlabelled
    generator = numpy_generator(config.seed, "query", round_number)
    recipe, committee = config.recipe(train_set), config.committee(round_number)
    scores = score_images(query, model, train_set, unlabelled, recipe, committee, generator)
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
    train_set, test_set = config.load("train"), config.load(config.test_split)
    chosen = config.chosen(train_set)
    run = RunFolder(config.experiment, config.run_name)
    device = default_device()
    with run.opened(config.as_dict(train_set, test_set)):
        if run.read_table("rounds").empty:
            started = time.perf_counter()
            model = _trained_model(config, run, train_set, chosen, 0, device)
            measures = test_measures(model, test_set, config.recipe(test_set))
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
    ious = {
        f"iou_{name}": iou
        for name, iou in zip(test_set.class_names, class_iou(confusion).tolist(), strict=True)
    }
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
) -> SplitModel:
    """Return the network after training on `labelled`, from the last save on if there is one."""
    first_round, decay = config.schedule(round_number)
    weights_seed = derive_seed(config.seed, "weights", first_round)
    model = build_model(config.model, train_set.num_classes, seed=weights_seed, weights=config.weights)
    model.to(device).to(memory_format=torch.channels_last)
    recipe = config.recipe(train_set)
    optimizer = make_optimizer(model, recipe)
    saved = run.load_state("checkpoint")
    first_epoch = 0
    if saved is not None and saved["round"] >= first_round:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first_epoch = saved["epochs"] if saved["round"] == round_number else 0
    train(
        model,
        optimizer,
        train_set,
        labelled,
        recipe,
        seed=derive_seed(config.seed, "training", round_number),
        decay=decay,
        first_epoch=first_epoch,
        after_epoch=_saver(run, model, optimizer, round_number),
    )
    return model


def _saver(
    run: RunFolder, model: SplitModel, optimizer: torch.optim.Optimizer, round_number: int
) -> Callable[[int, bool], None]:
    """Return a function that saves after the last epoch and, before it, every `SAVE_EVERY` seconds."""
    last_save = time.monotonic()

    def save(epochs_done: int, is_last: bool) -> None:
        nonlocal last_save
        if is_last or time.monotonic() - last_save >= SAVE_EVERY:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            run.save_state("checkpoint", state | {"round": round_number, "epochs": epochs_done})
            last_save = time.monotonic()

    return save
