"""The test set in clips: scores of each sequence, and gains with intervals over clips instead of seeds."""

import gzip
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from alutils.results.significance import ALPHA, area_under_curve
from alutils.results.tables import CONFIG_COLUMNS, FURTHER_COLUMNS, concatenated, with_config
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import CLIPS, parse_csv, read_bytes, reported

DRAWS = 2000  # of the clips, with replacement
FEWEST = 8  # clips; an interval over fewer is not given
KEYS = [*CONFIG_COLUMNS, *FURTHER_COLUMNS, "round", "labelled_percent"]  # they tell an experiment's rows apart
OTHERS = "other images"  # those of no sequence


def clip_table(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """Return the clips of all runs, one row per run, round and clip: `KEYS` and the columns of `clips.csv`.

    The table is empty if none were counted.
    """
    counted = [(run, clips) for run in runs if len(clips := run.clips())]
    tables = [with_config(run, run.config())[KEYS].merge(clips, on="round") for run, clips in counted]
    return concatenated(tables) if tables else pd.DataFrame()


def read_clips(path: Path) -> pd.DataFrame:
    """Return a published table of `clip_table`; an empty one if it was not published."""
    if not path.exists():
        return pd.DataFrame()
    with reported(path):
        return parse_csv(gzip.decompress(read_bytes(path)).decode(), [*KEYS, *CLIPS])


def mean_ious(counts: np.ndarray) -> np.ndarray:
    """Return the mean IoU (...) of the pixels of each class's intersection and union, (..., 2 C), sums over images.

    It is NaN where there is no class at all.
    """
    intersections, unions = np.split(counts.astype(float), 2, axis=-1)
    is_there = unions > 0
    ious = np.divide(intersections, unions, out=np.zeros_like(unions), where=is_there)
    classes = is_there.sum(axis=-1)
    return np.divide(ious.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def with_sequences(rows: pd.DataFrame, clips: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return rows of an experiment's table with columns of the mean IoU on each sequence, and these columns' names.

    They are called "on" and the sequence's name. Rows whose clips were not counted are left out.
    """
    columns = "on " + clips["sequence"].fillna(OTHERS)
    sums = clips.groupby([keys_of(clips), columns])[_counts(clips)].sum()
    scores = pd.Series(mean_ious(sums.to_numpy()), sums.index).unstack()
    return rows.assign(key=keys_of(rows)).merge(scores, left_on="key", right_index=True), [*scores]


def keys_of(rows: pd.DataFrame) -> pd.Series:
    """Return the `KEYS` of each row as one text.

    What is missing is None in one table and NaN in another, and beside it whole numbers are floats.
    """

    def text(value: object) -> str:
        return "" if pd.isna(value) else repr(float(value)) if isinstance(value, Real) else str(value)  # type: ignore[call-overload]

    keys = pd.Series("", rows.index, name="key", dtype=str)
    for name in KEYS:
        codes, values = pd.factorize(rows[name], use_na_sentinel=False)  # few values of many rows: each is read once
        keys += np.array([*map(text, values)], object)[codes] + " "
    return keys


def clip_intervals(clips: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return the interval of each query's gain in area over `baseline` if other clips had been filmed.

    clips : those of one setting

    The clips are drawn `DRAWS` times with replacement; each time all networks are scored on them again, and the gain is
    the mean over the seeds that both queries have. Index: query; columns: low and high, percentiles. The first budget
    is left out, as in all areas, and so are draws without any class. There are no rows of fewer than `FEWEST` clips.
    """
    count = clips["clip"].nunique()
    if count < FEWEST:
        return pd.DataFrame(columns=["low", "high"])
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    areas = {query: _areas(rows, draws) for query, rows in clips.groupby("query")}
    found = {}
    for query, of_seeds in areas.items():
        shared = [seed for seed in of_seeds if seed in areas.get(baseline, {})]
        if query != baseline and shared:
            gains = np.mean([of_seeds[seed] - areas[baseline][seed] for seed in shared], axis=0)
            found[query] = np.nanquantile(gains, [ALPHA / 2, 1 - ALPHA / 2])
    return pd.DataFrame.from_dict(found, orient="index", columns=["low", "high"]).rename_axis("query")


def _areas(rows: pd.DataFrame, draws: np.ndarray) -> dict[int, np.ndarray]:
    """Return by seed the areas (D,) under a query's curve, where `draws` (D, K) says how often each clip counts."""
    columns, found = _counts(rows), {}
    for seed, of_seed in rows.groupby("seed"):
        budgets = np.sort(of_seed["labelled_percent"].unique())
        counts: np.ndarray = of_seed.sort_values(["labelled_percent", "clip"])[columns].to_numpy()
        counts = counts.reshape(len(budgets), -1, len(columns))  # (R, K, 2 C)
        scores = mean_ious(np.einsum("bk,rkc->brc", draws, counts, optimize=True))
        chosen = slice(1, None) if len(budgets) > 1 else slice(None)
        found[int(str(seed))] = area_under_curve(budgets[chosen], scores[:, chosen])
    return found


def _counts(clips: pd.DataFrame) -> list[str]:
    """Return the columns of intersections, then those of unions in the same order, of the classes that are there."""
    first = "union_"
    classes = [name.removeprefix(first) for name in map(str, clips) if name.startswith(first) and clips[name].any()]
    return [f"{what}_{name}" for what in ("intersection", "union") for name in classes]
