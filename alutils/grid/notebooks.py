"""What running a notebook needs to know of it, in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from alutils.errors import ParameterError
from alutils.runs.config import BulkConfig, RoundsConfig

Config = type[RoundsConfig] | type[BulkConfig]

# What notebook 01 fixes itself: a test holds it against the notebook.
OF_DIGITS: dict[str, Any] = {
    **{"height": 28, "width": 28, "test_split": "test", "test_resolution": "native", "model": "mnist_cnn"},
    **{"weights": None, "steps": None, "last_epochs": None, "weight_decay": 0.0, "class_weights": False},
    **{"void_class": False, "augmentation": "none", "unit": "images", "start_query": "random"},
}


@dataclass(frozen=True)
class Notebook:
    """What is known of a notebook; the defaults suit a notebook that is not in the table.

    config : the class of the config of the one run that it makes; `None` if it makes none, or several
    needs : returns, for its parameters, the names of the runs that it reads; raises `ParameterError`
    reads_results : whether it reads all runs of its experiment; then it runs after all others, and once more whenever
        code in `alutils/results/` changes
    uses_gpu : whether it trains or asks a network
    """

    config: Config | None = None
    needs: Callable[[Mapping[str, Any]], list[str]] = lambda parameters: []
    reads_results: bool = False
    uses_gpu: bool = True


def runs_on_digits(parameters: Mapping[str, Any]) -> list[str]:
    """Return the names of the runs that notebook 01 makes, or reads where they are there."""
    for name, kind, what in (("regimes", str, "names"), ("queries", str, "names"), ("seeds", int, "whole numbers")):
        for value in parameters[name]:
            if type(value) is not kind:
                raise ParameterError(f"{name} holds {value!r}; allowed: a list of {what}")
    shown = product(*(parameters[name] for name in ("regimes", "queries", "seeds")))
    given = [{"regime": regime, "query": query, "seed": seed} for regime, query, seed in shown]
    return [RoundsConfig.from_names({**parameters, **OF_DIGITS, **one}).run_name for one in given]


def run_of_order(parameters: Mapping[str, Any]) -> list[str]:
    """Return the name of the run whose order of acquisition a bulk training uses, if it uses one."""
    source = BulkConfig.from_names(parameters).order_run_name
    return [source] if source else []


NOTEBOOKS: dict[str, Notebook] = {
    "01_mnist_sanity_checks": Notebook(needs=runs_on_digits),
    "02_street_scenes": Notebook(uses_gpu=False),
    "03_active_learning_rounds": Notebook(config=RoundsConfig),
    "04_bulk_training": Notebook(config=BulkConfig, needs=run_of_order),
    "05_committee_maps": Notebook(),
    "06_figures": Notebook(reads_results=True, uses_gpu=False),
    "07_compare_queries": Notebook(reads_results=True, uses_gpu=False),
    "08_label_next": Notebook(),
    "09_explore": Notebook(reads_results=True),
}


def about(notebook: str) -> Notebook:
    """Return what is known of the notebook with this name."""
    return NOTEBOOKS.get(notebook, Notebook())
