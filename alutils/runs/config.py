"""What a run is asked to do: parameters, checked; nothing here loads torch, so that checks are quick."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import ParameterError, check_choice, check_range
from alutils.queries.own import query_digest
from alutils.queries.query import QUERIES, parse_query
from alutils.runs.folder import RunFolder
from alutils.seeds import numpy_generator
from alutils.training.recipe import Recipe, check_committee

REGIMES = ("from_scratch", "incremental", "new_data_only", "one_shot")
TEST_RESOLUTIONS = ("training", "native")
UNITS = ("percent", "images")


# What runs of a setting may differ in.
COMPARED = {"query", "query_digest", "order_model", "order_regime", "order", "share", "skip", "seed", "keep_model"}


def setting_of(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what runs that are compared have in common, beside their recipe: kind, data set, model, regime."""
    return tuple(config.get(name) for name in ("kind", "dataset", "model", "regime"))


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a config runs of a setting must have in common: recipe and data."""
    return {name: value for name, value in config.items() if name not in COMPARED}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Recipe):
    """What both kinds of run need beside the recipe: where results go, the data, the network and the seed.

    test_resolution : "native": test labels as stored, predictions enlarged to them (nearest); "training": both at
        the training's height and width
    """

    kind: ClassVar[str]

    experiment: str
    dataset: str
    height: int | None
    width: int | None
    test_split: str
    test_resolution: str
    model: str
    weights: str | None
    seed: int

    @classmethod
    def from_names(cls, names: Mapping[str, Any]) -> Self:
        """Take each field from `names`, such as a notebook's `globals()`."""
        return cls(**{field.name: names[field.name] for field in fields(cls)})

    def __post_init__(self) -> None:
        """Refuse what no data set could make possible."""
        super().__post_init__()
        check_range("seed", self.seed, 0, 2**31)
        check_choice("test_resolution", self.test_resolution, TEST_RESOLUTIONS)

    def load(self, split: str) -> ImageDataset:
        """Return one split of the data set at the size asked for."""
        return load_dataset(self.dataset, split, self.height, self.width)

    def load_test(self) -> ImageDataset:
        """Return the split that scores are taken on, its labels at `test_resolution`."""
        native = self.test_resolution == "native"
        return load_dataset(self.dataset, self.test_split, self.height, self.width, native_labels=native)

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Return the round whose initial weights the network starts from, and its learning-rate decay."""
        return round_number, (1.0, 0.0)

    def of_round(self, round_number: int) -> Self:
        """Return the recipe of one round."""
        return self

    def as_dict(self, train_set: ImageDataset, test_set: ImageDataset) -> dict[str, Any]:
        """Return what `config.json` holds: every parameter, the fingerprints of the data, and a query file's digest."""
        data = {"train_data": train_set.fingerprint, "test_data": test_set.fingerprint}
        config = {"kind": self.kind} | asdict(self) | data
        digest = query_digest(config["query"])
        return config | ({"query_digest": digest} if digest else {})


@dataclass(frozen=True, kw_only=True)
class RoundsConfig(TrainingConfig):
    """Active learning: from `start` labels, `step` more each round, `rounds` rounds, counted in `unit`.

    regime : "from_scratch": a new network each round, on all labelled so far; "incremental": the same network trained
        on, on all labelled so far; "new_data_only": the same, on the newest only; "one_shot": as from scratch, the
        pool ranked after the first round only
    last_epochs : epochs of the last round; `None`: as of the others
    start_query : chooses the first batch, of images of which none is labelled: a query that asks no committee
    """

    kind = "rounds"

    query: str
    regime: str
    last_epochs: int | None
    start: float
    step: float
    rounds: int
    unit: str
    committee_members: int
    committee_dropout: float
    start_query: str = "random"

    def __post_init__(self) -> None:
        """Refuse what no data set could make possible."""
        super().__post_init__()
        object.__setattr__(self, "query", str(parse_query(self.query)))
        check_choice("start_query", self.start_query, [name for name, known in QUERIES.items() if known.score is None])
        check_committee(self.committee_members, self.committee_dropout)
        check_choice("regime", self.regime, REGIMES)
        check_choice("unit", self.unit, UNITS)
        check_range("last_epochs", self.epochs if self.last_epochs is None else self.last_epochs, 1, math.inf)
        check_range("rounds", self.rounds, 1, 10_000)
        if self.start <= 0 or self.step <= 0:
            raise ParameterError(f"start is {self.start:g}, step is {self.step:g}; allowed: more than 0")
        if self.unit == "percent":
            check_range("labels in the last round", self.start + self.step * (self.rounds - 1), 0, 100, "percent")

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        start = "" if self.start_query == "random" else f"-from_{self.start_query}"
        return rounds_name(self.dataset, self.model, self.regime, self.query, self.seed, start=start)

    def budgets(self, pool_size: int) -> list[int]:
        """Return the number of labelled images in each round."""
        per_unit = pool_size / 100 if self.unit == "percent" else 1
        budgets = [round((self.start + self.step * r) * per_unit) for r in range(self.rounds)]
        check_range("labels in the last round", budgets[-1], 1, pool_size, "images")
        if budgets[0] < 1 or len(set(budgets)) < len(budgets):
            raise ParameterError(f"labels by round are {budgets}; allowed: at least one more image each round")
        return budgets

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Start anew each round; one network trained on: go on from round 0, the rate falling over all epochs."""
        if self.regime in ("from_scratch", "one_shot"):
            return super().schedule(round_number)
        epochs = [self.of_round(number).epochs for number in range(self.rounds)]
        done = np.cumsum([0, *epochs]) / sum(epochs)
        return 0, (1 - done[round_number], 1 - done[round_number + 1])

    def trained_on(self, budgets: list[int]) -> list[int]:
        """Return the number of images that each round trains on."""
        return np.diff([0, *budgets]).tolist() if self.regime == "new_data_only" else budgets

    def of_round(self, round_number: int) -> Self:
        """Return the recipe of one round."""
        is_last = round_number + 1 == self.rounds
        return replace(self, epochs=self.last_epochs) if is_last and self.last_epochs else self


@dataclass(frozen=True, kw_only=True)
class BulkConfig(TrainingConfig):
    """One training from scratch on `share` percent of an order, leaving out its first `skip` percent.

    query : whose order: a query of a finished run of `order_model` in `order_regime` with the same seed in the same
        experiment; "random" for a random order, "all" for all images
    """

    kind = "bulk"

    query: str
    order_model: str
    order_regime: str
    share: float
    skip: float
    keep_model: bool

    def __post_init__(self) -> None:
        """Refuse what no data set could make possible."""
        super().__post_init__()
        if self.query != "all":
            object.__setattr__(self, "query", str(parse_query(self.query, others=["all"])))
        check_choice("order_regime", self.order_regime, REGIMES)
        check_range("skip", self.skip, 0, 99, "percent")
        check_range("share", self.share, 0.01, 100 - self.skip, "percent")
        if self.query == "all" and (self.share, self.skip) != (100, 0):
            raise ParameterError(f"share is {self.share:g}, skip is {self.skip:g}; with query all: 100 and 0")

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        by = f"_by_{self.order_model}" + ("" if self.order_regime == "from_scratch" else f"_{self.order_regime}")
        order = self.query if self.query in ("all", "random") else parse_query(self.query).word + by
        share = f"share{self.share:g}" + (f"_skip{self.skip:g}" if self.skip else "")
        return f"{dataset_word(self.dataset)}-{self.model}-bulk-{order}-{share}-seed{self.seed}"

    @property
    def order_run_name(self) -> str | None:
        """Return the name of the run whose order of acquisition is used, if one is."""
        if self.query in ("all", "random"):
            return None
        return rounds_name(self.dataset, self.order_model, self.order_regime, self.query, self.seed)

    def order(self, dataset: ImageDataset) -> np.ndarray:
        """Return the data-set indices to choose from, in the order in which they were acquired."""
        if self.order_run_name is None:
            return numpy_generator(self.seed, "start").permutation(len(dataset))
        run = RunFolder(self.experiment, self.order_run_name)
        acquired = run.read_table("acquisitions")
        if acquired.empty:
            raise ParameterError(f"{run.path} has no acquisitions; run 03_active_learning_rounds for it first")
        if "region" in acquired:
            raise ParameterError(f"query is {self.query}; a share of an order is of whole images, not of regions")
        return acquired["index"].to_numpy()

    def chosen(self, dataset: ImageDataset) -> np.ndarray:
        """Return the data-set indices to train on."""
        order = self.order(dataset)
        first, last = (round(len(dataset) * percent / 100) for percent in (self.skip, self.skip + self.share))
        check_range("share", last, first + 1, len(order), "images of the order, skipped ones included")
        return order[first:last]


def rounds_name(dataset: str, model: str, regime: str, query: str, seed: int, start: str = "") -> str:
    """Return the name of the run folder of active-learning rounds."""
    in_regime = "" if regime == "from_scratch" else f"-{regime}"
    return f"{dataset_word(dataset)}-{model}{in_regime}-{parse_query(query).word}{start}-seed{seed}"


def dataset_word(dataset: str) -> str:
    """Return a data set's name as it stands in a run's name; for a YAML file, its stem."""
    return Path(dataset).stem
