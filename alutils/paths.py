"""Where data, results, caches and figures lie. No other module builds paths from `..` or the working directory."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PARAMS = ROOT / "params"
IMAGE_EXAMPLES = ROOT / "image_examples"


def data_dir() -> Path:
    """Return the folder of data sets: `$ALUTILS_DATA`, or `data/` in the project. It may be read-only."""
    return _from_environment("ALUTILS_DATA", "data")


def results_dir() -> Path:
    """Return the folder of experiments: `$ALUTILS_RESULTS`, or `results/` in the project."""
    return _from_environment("ALUTILS_RESULTS", "results")


def labelling_dir(name: str) -> Path:
    """Return the folder of what is written for labelling the data set `name`, below that of experiments."""
    return results_dir() / "labelling" / name


def published_dir() -> Path:
    """Return the folder of published tables: `$ALUTILS_PUBLISHED`, or `results/published/` in the project."""
    return _from_environment("ALUTILS_PUBLISHED", "results/published")


def cache_dir() -> Path:
    """Return the folder of decoded images and drawn scenes: `$ALUTILS_CACHE`, or `cache/` in the project."""
    return _from_environment("ALUTILS_CACHE", "cache")


def _from_environment(variable: str, default: str) -> Path:
    value = os.environ.get(variable)
    return ROOT / Path(value).expanduser() if value else ROOT / default
