"""What a run is asked to do: its parameters, checked. Nothing here loads torch, reads a file or loads data."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError, check_choice, check_range
from alutils.models import DEFAULT_ENCODER, MODELS, check_weights
from alutils.queries.own import query_digest
from alutils.queries.parts import text_of
from alutils.queries.query import QUERIES, parse_query
from alutils.training.recipe import Recipe

REGIMES = ("from_scratch", "incremental", "new_data_only", "one_shot")
TEST_RESOLUTIONS = ("training", "native")
UNITS = ("percent", "images")

# The parameters in which runs that are compared may differ.
COMPARED = {
    *("query", "query_digest", "start_query", "seed", "keep_model"),
    *("order", "order_model", "order_regime", "order_seed", "share", "skip"),
}
MAY_LACK = {"budgets", "order_seed"}  # not in `config.json` without a value, so that runs of earlier versions stay


def setting_of(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the setting of a run: kind, data set, model and regime. Only runs of one setting are compared."""
    return tuple(config.get(name) for name in ("kind", "dataset", "model", "regime"))


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that is the same for all runs of a setting: recipe and data."""
    return {name: value for name, value in config.items() if name not in COMPARED}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Recipe):
    """What both kinds of run need beside the recipe: the experiment's name, the data, the network and the seed.

    test_resolution : "native" compares with the test labels as stored, to which predictions are enlarged (nearest);
        "training" compares at the height and width of the training
    encoder : a model of timm, whose maps a network on frozen maps reads
    encoder_weights : a file with its weights; `None` for those that timm names
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
    encoder: str = DEFAULT_ENCODER
    encoder_weights: str | None = None

    @classmethod
    def from_names(cls, names: Mapping[str, Any]) -> Self:
        """Return a config with the values that `names` has for its fields, such as a notebook's `globals()`.

        A field with a default may be missing there.
        """
        return cls(**{f.name: names[f.name] for f in fields(cls) if f.name in names or f.default is MISSING})

    def __post_init__(self) -> None:
        """Refuse values that are impossible whatever the data set."""
        super().__post_init__()
        check_range("seed", self.seed, 0, 2**31)
        check_choice("test_resolution", self.test_resolution, TEST_RESOLUTIONS)
        if self.model in MODELS:
            check_weights(self.model, self.weights)
        self._check_encoder()

    def _check_encoder(self) -> None:
        """Refuse an encoder, and changes of images, for a network that would not use them."""
        if self.is_frozen:
            for name in self.augmentations:
                check_choice(f"augmentation for {self.model}", name, ["flip", "none"])
        elif (self.encoder, self.encoder_weights) != (DEFAULT_ENCODER, None):
            frozen = ", ".join(name for name, network in MODELS.items() if network.is_frozen)
            raise ParameterError(
                f"encoder is {self.encoder!r}; {self.model} has one of its own, allowed with: {frozen}"
            )

    @property
    def is_frozen(self) -> bool:
        """Tell whether the network reads the maps of a frozen encoder."""
        return self.model in MODELS and MODELS[self.model].is_frozen

    @property
    def trains_further(self) -> bool:
        """Tell whether one network is trained further in each round, instead of a new one."""
        return False

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Return how the network of a round starts: the round of its initial weights, and its learning-rate decay.

        The decay is the learning rate at the start and at the end of the training, as shares of the recipe's.
        """
        return round_number, (1.0, 0.0)

    def of_round(self, round_number: int) -> Self:
        """Return the config with the recipe of one round."""
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the kind and every parameter that the run uses."""
        unused = () if self.is_frozen else ("encoder", "encoder_weights")
        config = {"kind": self.kind} | {name: value for name, value in asdict(self).items() if name not in unused}
        return {name: value for name, value in config.items() if name not in MAY_LACK or value is not None}

    def as_dict(self, train_set: ImageDataset, test_set: ImageDataset) -> dict[str, Any]:
        """Return every parameter, the data's fingerprints, and the digests of an encoder and of a query's file."""
        config = self.parameters | {"train_data": train_set.fingerprint, "test_data": test_set.fingerprint}
        if train_set.features:
            config["encoder_digest"] = train_set.features.digest
        digest = query_digest(config["query"])
        return config | ({"query_digest": digest} if digest else {})


@dataclass(frozen=True, kw_only=True)
class RoundsConfig(TrainingConfig):
    """Active learning in `rounds` rounds: `start` labelled images in the first, `step` more in each further one.

    budgets : the labelled images of each round, in place of `start`, `step` and `rounds`
    regime : "from_scratch" trains a new network each round, on all images labelled so far; "incremental" trains one
        network further, on all images labelled so far; "new_data_only" trains one network further, on the newest images
        only; "one_shot" trains as from scratch, but ranks the pool only once, after the first round
    last_epochs : the epochs of the last round; `None` for as many as in the others
    unit : the unit of `start`, `step` and `budgets`, "percent" of the pool or "images"
    start_query : the query that chooses the first batch; no image has a label yet, so it must not ask a committee. It
        labels whole images, or the regions that `query` labels
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
    budgets: list[float] | None = None
    start_query: str = "random"

    def __post_init__(self) -> None:
        """Refuse values that are impossible whatever the data set."""
        super().__post_init__()
        object.__setattr__(self, "query", str(parse_query(self.query)))
        self._check_start()
        check_range("committee_members", self.committee_members, 1, 1000)
        check_range("committee_dropout", self.committee_dropout, 0, 0.99)
        check_choice("regime", self.regime, REGIMES)
        check_choice("unit", self.unit, UNITS)
        check_range("last_epochs", self.epochs if self.last_epochs is None else self.last_epochs, 1, math.inf)
        if self.budgets is not None:
            self._check_budgets(self.budgets)
        check_range("rounds", self.rounds, 1, 10_000)
        if self.start <= 0 or self.step <= 0:
            raise ParameterError(f"start is {self.start:g}, step is {self.step:g}; allowed: more than 0")
        if self.unit == "percent":
            check_range(self._last, self._in_units[-1], 0, 100, "percent")

    def _check_start(self) -> None:
        """Refuse a first batch that no query without a score can choose, or of other regions than the query's."""
        scoreless = [name for name, entry in QUERIES.items() if entry.score is None]
        name = self.start_query.partition("+")[0]
        if name in QUERIES.keys() - set(scoreless):
            allowed = ", ".join(scoreless)
            raise ParameterError(f"start_query is {self.start_query!r}, which asks a committee; allowed: {allowed}")
        check_choice("start_query", name, scoreless)
        start = parse_query(self.start_query)
        regions = parse_query(self.query).regions
        if start.parts not in ([], [regions]):
            allowed = f"{start.name}, {start.name}+{text_of(regions)}" if regions else start.name
            raise ParameterError(f"start_query is {self.start_query!r}; allowed for query {self.query}: {allowed}")
        object.__setattr__(self, "start_query", str(start))

    def _check_budgets(self, budgets: list[float]) -> None:
        """Refuse budgets that are no ascending numbers; `start`, `step` and `rounds` become what they say."""
        if not isinstance(budgets, list):
            raise ParameterError(f"budgets are {str(budgets)[:80]}; allowed: a list of numbers, one a round")
        are_numbers = all(isinstance(budget, int | float) and not isinstance(budget, bool) for budget in budgets)
        if not budgets or not are_numbers or not all(a < b for a, b in pairwise([0, *budgets, math.inf])):
            raise ParameterError(f"budgets are {str(budgets)[:80]}; allowed: ascending numbers above 0, one a round")
        object.__setattr__(self, "budgets", [float(budget) for budget in budgets])
        object.__setattr__(self, "start", float(budgets[0]))
        object.__setattr__(self, "step", float(budgets[-1] - budgets[0]) / max(1, len(budgets) - 1) or 1.0)
        object.__setattr__(self, "rounds", len(budgets))

    @property
    def _in_units(self) -> list[float]:
        """Return the labels of each round in the config's unit."""
        return self.budgets or [self.start + self.step * number for number in range(self.rounds)]

    @property
    def _last(self) -> str:
        """Return what the labels of the last round follow from, for a message."""
        return (
            "the last of budgets" if self.budgets else f"start {self.start:g} + {self.rounds - 1} x step {self.step:g}"
        )

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        start = "" if self.start_query == "random" else f"-from_{self.start_query}"
        return rounds_name(self.dataset, self.model, self.regime, self.query, self.seed, start=start)

    def labelled_by_round(self, pool_size: int) -> list[int]:
        """Return the number of labelled images in each round, for a pool of `pool_size` images."""
        per_unit = pool_size / 100 if self.unit == "percent" else 1
        budgets = [round(labels * per_unit) for labels in self._in_units]
        check_range(self._last, budgets[-1], 1, pool_size, "images")
        if budgets[0] < 1 or len(set(budgets)) < len(budgets):
            raise ParameterError(
                f"labels by round are {str(budgets)[:120]} of {pool_size} images; allowed: at least one more each round"
            )
        return budgets

    @property
    def trains_further(self) -> bool:
        """Tell whether one network is trained further in each round, instead of a new one."""
        return self.regime in ("incremental", "new_data_only")

    def schedule(self, round_number: int) -> tuple[int, tuple[float, float]]:
        """Start anew each round, or train the network of round 0 further with a rate that falls over all rounds."""
        if not self.trains_further:
            return super().schedule(round_number)
        epochs = [self.of_round(number).epochs for number in range(self.rounds)]
        done = np.cumsum([0, *epochs]) / sum(epochs)
        return 0, (1 - done[round_number], 1 - done[round_number + 1])

    def training_sizes(self, budgets: list[int]) -> list[int]:
        """Return the number of images that each round trains on."""
        return np.diff([0, *budgets]).tolist() if self.regime == "new_data_only" else budgets

    def of_round(self, round_number: int) -> Self:
        """Return the config with the recipe of one round."""
        is_last = round_number + 1 == self.rounds
        return replace(self, epochs=self.last_epochs) if is_last and self.last_epochs else self


@dataclass(frozen=True, kw_only=True)
class BulkConfig(TrainingConfig):
    """One training from scratch on `share` percent of the pool, taken from an order of its images.

    query : what gives the order: "random" for a random order, "all" for all images, or a query. A query's order is
        the one in which the finished rounds of the same experiment and seed, with `order_model` and `order_regime`,
        acquired the images
    skip : the percentage at the beginning of the order that is left out
    order_seed : the seed of the order; `None` for that of the training. Trainings of one order with several seeds show
        how much the scores of a training scatter by themselves
    """

    kind = "bulk"

    query: str
    order_model: str
    order_regime: str
    share: float
    skip: float
    keep_model: bool
    order_seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that are impossible whatever the data set."""
        super().__post_init__()
        if self.query != "all":
            object.__setattr__(self, "query", str(parse_query(self.query, others=["all"])))
        check_choice("order_regime", self.order_regime, REGIMES)
        check_range("order_seed", self.seed_of_order, 0, 2**31)
        check_range("skip", self.skip, 0, 99, "percent")
        check_range("share", self.share, 0.01, 100 - self.skip, "percent")
        if self.query == "all" and (self.share, self.skip) != (100, 0):
            raise ParameterError(f"share is {self.share:g}, skip is {self.skip:g}; with query all: 100 and 0")
        if self.query == "all" and self.order_seed is not None:
            raise ParameterError(f"order_seed is {self.order_seed}; with query all, which has no order: None")

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        by = f"_by_{self.order_model}" + ("" if self.order_regime == "from_scratch" else f"_{self.order_regime}")
        order = self.query if self.query in ("all", "random") else parse_query(self.query).word + by
        share = f"share{self.share:g}" + (f"_skip{self.skip:g}" if self.skip else "")
        if self.query == "all" and self.steps:  # an experiment may show that more of them bring nothing
            share += f"-steps{self.steps}"
        of_order = "" if self.order_seed is None else f"-order{self.order_seed}"
        return f"{dataset_word(self.dataset)}-{self.model}-bulk-{order}-{share}{of_order}-seed{self.seed}"

    @property
    def seed_of_order(self) -> int:
        """Return the seed of the order."""
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def order_run_name(self) -> str | None:
        """Return the name of the run that acquired the images in this order; `None` for all images or random ones."""
        if self.query in ("all", "random"):
            return None
        return rounds_name(self.dataset, self.order_model, self.order_regime, self.query, self.seed_of_order)


def rounds_name(dataset: str, model: str, regime: str, query: str, seed: int, start: str = "") -> str:
    """Return the name of the run folder of rounds of active learning."""
    in_regime = "" if regime == "from_scratch" else f"-{regime}"
    return f"{dataset_word(dataset)}-{model}{in_regime}-{parse_query(query).word}{start}-seed{seed}"


def dataset_word(dataset: str) -> str:
    """Return a data set's name as a part of a run's name; for a YAML file its stem."""
    return Path(dataset).stem
