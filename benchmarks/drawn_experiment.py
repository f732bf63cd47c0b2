"""The experiment on drawn scenes that several benchmarks run, each with its own number of rounds and steps."""

from typing import Any

from alutils.runs.config import RoundsConfig

HEIGHT = 96  # pixels, of scenes twice as wide


def drawn_experiment(experiment: str, query: str, **more: Any) -> RoundsConfig:
    """Return the experiment at seed 0, with the fields that a benchmark gives in place of these."""
    fields: dict[str, Any] = {
        "dataset": "cityscapes",
        "height": None,
        "width": None,
        "test_split": "val",
        "test_resolution": "training",
        "model": "unet_small",
        "weights": None,
        "seed": 0,
        "epochs": 1,
        "steps": None,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "class_weights": False,
        "void_class": False,
        "augmentation": "flip",
        "precision": "float32",
        "regime": "from_scratch",
        "last_epochs": None,
        "start": 10,
        "step": 10,
        "rounds": 5,
        "unit": "percent",
        "committee_members": 10,
        "committee_dropout": 0.5,  # the layer's own rate, which baal keeps
    }
    return RoundsConfig(experiment=experiment, query=query, **fields | more)
