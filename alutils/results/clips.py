"""The test set in clips: scores of each sequence, and gains with intervals over clips instead of seeds."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from alutils.results.significance import ALPHA, area_under_curve
from alutils.results.tables import CONFIG_COLUMNS, concatenated, with_config
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import CLIPS, parse_csv, read_bytes, reported

DRAWS = 2000  # of the clips, with replacement
KEYS = [*CONFIG_COLUMNS, "round", "labelled_percent"]  # what tells two rows of an experiment's table apart


def clip_table(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """Return the clips of all runs, one row per run, round and clip: `KEYS` and the columns of `clips.csv`.

    The table is empty if none were counted.
    """
    counted = [(run, clips) for run in runs if len(clips := run.clips())]
    tables = [with_config(run)[KEYS].merge(clips, on="round") for run, clips in counted]
    return concatenated(tables) if tables else pd.DataFrame()


def read_clips(path: Path) -> pd.DataFrame:
    """Return a published table of `clip_table`; an empty one if it was not published."""
    if not path.exists():
        return pd.DataFrame()
    with reported(path):
        return parse_csv(gzip.decompress(read_bytes(path)).decode(), [*KEYS, *CLIPS])


def mean_ious(counts: np.ndarray) -> np.ndarray:
    """Return the mean IoU (...) of the pixels of each class's intersection and union, (..., 2 C), sums over images."""
    intersections, unions = np.split(counts.astype(float), 2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(intersections / np.where(unions > 0, unions, np.nan), axis=-1)


def with_sequences(rows: pd.DataFrame, clips: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return rows of an experiment's table with the mean IoU on each sequence of the test set, and the names of these.

    Rows whose clips were not counted are left out.
    """
    sums = clips.groupby([keys_of(clips), clips["sequence"].fillna("")])[_counts(clips)].sum()
    scores = pd.Series(mean_ious(sums.to_numpy()), sums.index).unstack()
    return rows.assign(key=keys_of(rows)).merge(scores, left_on="key", right_index=True), [*scores]


def keys_of(rows: pd.DataFrame) -> pd.Series:
    """Return the `KEYS` of each row as one text; what is missing is None in one table and NaN in another."""
    texts = [" ".join("" if pd.isna(value) else str(value) for value in row) for row in rows[KEYS].to_numpy(object)]
    return pd.Series(texts, rows.index, name="key", dtype=str)


def clip_intervals(clips: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return the interval of each query's gain in area over `baseline` if other clips had been filmed.

    clips : those of one setting

    The clips are drawn `DRAWS` times with replacement; each time all networks are scored on them again, and the gain is
    the mean over the seeds that both queries have. Index: query; columns: low and high, percentiles. The first budget
    is left out, as in all areas.
    """
    areas = {query: _areas(rows) for query, rows in clips.groupby("query")}
    found = {}
    for query, of_seeds in areas.items():
        shared = [seed for seed in of_seeds if seed in areas.get(baseline, {})]
        if query != baseline and shared:
            gains = np.mean([of_seeds[seed] - areas[baseline][seed] for seed in shared], axis=0)
            found[query] = np.quantile(gains, [ALPHA / 2, 1 - ALPHA / 2])
    return pd.DataFrame.from_dict(found, orient="index", columns=["low", "high"]).rename_axis("query")


def _areas(rows: pd.DataFrame) -> dict[int, np.ndarray]:
    """Return by seed the areas (DRAWS,) under a query's curve, on all draws of the clips."""
    columns, found = _counts(rows), {}
    for seed, of_seed in rows.groupby("seed"):
        budgets = np.sort(of_seed["labelled_percent"].unique())
        counts: np.ndarray = of_seed.sort_values(["labelled_percent", "clip"])[columns].to_numpy()
        counts = counts.reshape(len(budgets), -1, len(columns))  # (R, K, 2 C)
        clips = counts.shape[1]
        draws = np.random.default_rng(0).multinomial(clips, np.full(clips, 1 / clips), DRAWS)
        scores = mean_ious(np.einsum("bk,rkc->brc", draws, counts, optimize=True))
        chosen = slice(1, None) if len(budgets) > 1 else slice(None)
        found[int(str(seed))] = area_under_curve(budgets[chosen], scores[:, chosen])
    return found


def _counts(clips: pd.DataFrame) -> list[str]:
    return [name for name in map(str, clips) if name.startswith(("intersection_", "union_"))]
