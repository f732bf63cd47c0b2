"""When to stop labelling: what networks reach on photographs that they have not seen, and whether a batch helped."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from alutils.errors import DataError, one_line
from alutils.files import write_whole
from alutils.seeds import numpy_generator
from alutils.training.metrics import intersections_and_unions, mean_iou

HISTORY = "history.csv"
CONFUSIONS = "cross_validation.npz"
DRAWS = 2000  # of a bootstrap over photographs
WORTH = 0.005  # mean IoU; a batch that raises it by less did not help

Confusions = Mapping[str, np.ndarray]


class Gain(NamedTuple):
    """How much higher the cross-validated mean IoU on the same photographs is, with its 95 % interval."""

    photographs: int
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return what it says."""
        what = f"{self.value:+.3f} mean IoU ({self.low:+.3f} to {self.high:+.3f}) on the {self.photographs} photographs"
        if self.low > 0:
            return f"the last labels helped: {what} that were labelled before"
        if self.high < WORTH:
            return f"the last labels did not help: {what} that were labelled before"
        return f"whether the last labels helped is open: {what} that were labelled before"


def score(confusions: Confusions) -> float:
    """Return the mean IoU over all photographs, each predicted by a network that has not seen it."""
    return mean_iou(torch.from_numpy(np.sum([*confusions.values()], axis=0)))


def gain(before: Confusions, now: Confusions, *, seed: int = 0) -> Gain | None:
    """Return how much more is reached now, on photographs that count in both; `None` with fewer than two.

    The interval is that of a bootstrap over photographs, both scores drawn together.
    """
    names = sorted({*before} & {*now})
    if len(names) < 2:
        return None
    first, second = (torch.from_numpy(np.stack([of[name] for name in names])) for of in (before, now))
    draws = numpy_generator(seed, "gain").integers(len(names), size=(DRAWS, len(names)))
    counts = torch.from_numpy(np.stack([np.bincount(draw, minlength=len(names)) for draw in draws]))
    drawn = [_mean_ious(torch.tensordot(counts, of, dims=1)) for of in (first, second)]
    low, high = np.nanquantile(drawn[1] - drawn[0], (0.025, 0.975))
    return Gain(len(names), mean_iou(second.sum(dim=0)) - mean_iou(first.sum(dim=0)), float(low), float(high))


def _mean_ious(confusions: torch.Tensor) -> np.ndarray:
    """Return the mean IoU of each confusion matrix (D, C, C): (D,)."""
    intersections, unions = intersections_and_unions(confusions).double().unbind(dim=1)
    return torch.nanmean(intersections / unions, dim=1).numpy()


def save_confusions(batch: Path, confusions: Confusions) -> None:
    """Keep the confusion matrices with which a batch was chosen in its folder."""
    buffer = BytesIO()
    np.savez_compressed(buffer, names=np.array([*confusions], str), confusions=np.array([*confusions.values()]))
    write_whole(batch / CONFUSIONS, buffer.getvalue())


def last_confusions(batches: list[Path], labelled: int) -> Confusions:
    """Return the confusion matrices of the newest batch that was chosen with fewer labels; none without such a batch.

    Raises `DataError` for a damaged file.
    """
    for batch in reversed(batches):
        path = batch / CONFUSIONS
        try:
            with np.load(path) as file:
                found = dict(zip(file["names"].tolist(), file["confusions"], strict=True))
        except Exception as error:  # numpy and zipfile raise all kinds
            allowed = f"allowed: remove the folder {batch.name}"
            raise DataError(f"{path}: damaged ({one_line(error)[:80]}); {allowed}") from error
        if 0 < len(found) < labelled:
            return found
    return {}


def note(folder: Path, row: Mapping[str, object]) -> None:
    """Add a row to the history of a data set."""
    rows = [*_history(folder).to_dict("records"), row]
    write_whole(folder / HISTORY, pd.DataFrame(rows).to_csv(index=False))


def scores_so_far(folder: Path) -> dict[int, float]:
    """Return the last score for each number of labels in the history of a data set."""
    scored = _history(folder).dropna(subset=["score"])
    return {int(labelled): float(value) for labelled, value in zip(scored["labelled"], scored["score"], strict=True)}


def _history(folder: Path) -> pd.DataFrame:
    """Return the history of a data set; raise `DataError` if its file is damaged."""
    path = folder / HISTORY
    if not path.is_file():
        return pd.DataFrame(columns=["labelled", "score"])
    try:
        history = pd.read_csv(path)
        history[["labelled", "score"]] = history[["labelled", "score"]].astype({"labelled": int, "score": float})
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: damaged ({one_line(error)[:80]}); allowed: remove the file") from error
    return history


def curve(scores: Mapping[int, float]) -> str:
    """Return scores in words, one for each number of labels."""
    return ", ".join(f"{value:.3f} with {labelled}" for labelled, value in sorted(scores.items()))
