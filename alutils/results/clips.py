"""The test set in clips: scores of each sequence, and gains with intervals over clips instead of seeds."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from alutils.results.significance import ALPHA, area_under_curve
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import CLIPS, parse_csv, read_bytes, reported

DRAWS = 2000  # of the clips, with replacement
RUN = ["kind", "dataset", "model", "regime", "query", "seed"]  # what tells the rounds of an experiment apart


def clip_table(runs: Iterable[RunFolder]) -> pd.DataFrame:
    """Return the clips of all rounds of active learning, one row per run, round and clip; empty if none were counted.

    Columns: `RUN`, those of `clips.csv`, and labelled_percent.
    """
    tables = []
    for run in runs:
        config, clips = run.config(), run.clips()
        if config["kind"] == "rounds" and len(clips):
            labelled = run.rounds()[["round", "labelled_percent"]]
            tables.append(clips.merge(labelled, on="round").assign(**{name: config.get(name) for name in RUN}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def read_clips(path: Path) -> pd.DataFrame:
    """Return a published table of `clip_table`; an empty one if it was not published."""
    if not path.exists():
        return pd.DataFrame()
    with reported(path):
        return parse_csv(gzip.decompress(read_bytes(path)).decode(), [*RUN, *CLIPS, "labelled_percent"])


def mean_ious(counts: np.ndarray) -> np.ndarray:
    """Return the mean IoU (...) of the pixels of each class's intersection and union, (..., 2 C), sums over images."""
    intersections, unions = np.split(counts.astype(float), 2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(intersections / np.where(unions > 0, unions, np.nan), axis=-1)


def sequence_scores(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the mean IoU on each sequence of the test set, a column each; one row per query, seed and round."""
    keys = ["query", "seed", "round"]
    sums = clips.groupby([*keys, "sequence"])[_counts(clips)].sum()
    return pd.Series(mean_ious(sums.to_numpy()), sums.index).unstack("sequence").reset_index()


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
