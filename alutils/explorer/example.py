"""Two small runs to look at, made where nothing has been run yet."""

from typing import Any

from alutils.runs.config import RoundsConfig
from alutils.runs.rounds import run_rounds

EXAMPLE = "explored"  # the experiment
RECIPE: dict[str, Any] = {
    **{"experiment": EXAMPLE, "dataset": "streets_small", "height": 128, "width": 256, "seed": 0},
    **{"test_split": "test", "test_resolution": "training", "model": "frozen_small", "weights": None},
    **{"regime": "from_scratch", "start": 4, "step": 4, "rounds": 4, "unit": "images", "last_epochs": None},
    **{"epochs": 1, "steps": 200, "batch_size": 4, "learning_rate": 0.003, "weight_decay": 0.0},
    **{"class_weights": True, "void_class": False, "augmentation": "none", "precision": "auto"},
    **{"committee_members": 10, "committee_dropout": 0.5},
}


def make_example() -> None:
    """Run random choice and vote entropy on drawn scenes, unless that is done; about half a minute."""
    for query in ("random", "vote_entropy"):
        run_rounds(RoundsConfig.from_names(RECIPE | {"query": query}))
