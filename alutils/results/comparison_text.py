"""What a comparison says, in tables of text and in sentences made from its numbers."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from alutils.results.acquired import class_factors, near_duplicate_shares, overlaps
from alutils.results.analysis import MEASURES
from alutils.results.comparison import EARLY, SHARES, Comparison
from alutils.results.statistics import LEVEL

MOST = 5  # pairs of queries that a sentence names
INTERVAL = f"[{100 * LEVEL:.0f} %]"


def gain_text(mean: float, low: float, high: float) -> str:
    """Return "mean [low, high]", without the interval if there is none, "" for NaN."""
    if math.isnan(mean):
        return ""
    mean, low, high = (round(value, 4) + 0.0 for value in (mean, low, high))  # no minus zero
    return f"{mean:+.4f}" + ("" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}]")


def percent_text(percent: float) -> str:
    """Return labels in percent of the pool; what no budget was enough for is "not reached", "" for NaN."""
    return "not reached" if math.isinf(percent) else "" if math.isnan(percent) else f"{percent:.3g}"


def saved_text(baseline: str, saved: float, low: float, high: float) -> str:
    """Return what `labels_saved` gave; an end is infinite where a side does not get there."""
    if not math.isfinite(saved):
        return {math.inf: f"{baseline} not reached", -math.inf: "not reached"}.get(saved, "neither reached")
    return f"{saved:+.3g}" + ("" if math.isnan(low) else f" [{low:+.3g}, {high:+.3g}]")


def score_table(comparison: Comparison) -> pd.DataFrame:
    """Return the main table's scores as text: area, gain, p, verdict, percent of the full-data result."""
    main = comparison.main
    text = {"seeds": main["seeds"].map("{:.0f}".format), "area": main["area"].map("{:.4f}".format)}
    if main["gain"].notna().any():
        text[f"gain {INTERVAL}"] = _cells(main, gain_text, "gain", "gain_low", "gain_high")
        text |= {"sign-flip p": _numbers(main["p"], "{:.4f}"), "verdict": main["verdict"].fillna("")}
    last = comparison.rows["labelled_percent"].max()
    for name, percent in ((f"percent_of_full_{EARLY}", EARLY), ("percent_of_full_last", last)):
        if name in main and main[name].notna().any():
            text[f"% of full at {percent:.3g} %"] = _numbers(main[name], "{:.1f}")
    return pd.DataFrame(text)


def label_table(comparison: Comparison) -> pd.DataFrame:
    """Return the main table's labels in percent of the pool, seconds and clicks as text."""
    main, text = comparison.main, {}
    for share in SHARES:
        if f"needed_{share}" in main:
            text[f"% of labels for {share} % of full"] = main[f"needed_{share}"].map(percent_text)
        if f"saved_{share}" in main:
            text[f"saved {INTERVAL}, {share} %"] = _saved(main, share, comparison.baseline)
    for name, title in (("seconds_query", "s a query"), ("seconds_train", "s a training")):
        text[title] = _numbers(main[name], "{:.2f}")
    if "clicks" in main:
        text["clicks"] = _numbers(main["clicks"], "{:,.0f}")
    return pd.DataFrame(text)


def _saved(main: pd.DataFrame, share: int, baseline: str) -> pd.Series:
    names = (f"saved_{share}", f"saved_{share}_low", f"saved_{share}_high")
    saved = _cells(main[main["gain"].notna()], partial(saved_text, baseline), *names)
    return saved.reindex(main.index, fill_value="")


def _cells(main: pd.DataFrame, write: Callable[..., str], *names: str) -> pd.Series:
    return pd.Series([write(*values) for values in main[[*names]].itertuples(index=False)], main.index)


def _numbers(values: pd.Series, form: str) -> pd.Series:
    return values.map(form.format, na_action="ignore").fillna("")


def read_curves(comparison: Comparison) -> str:
    """Return what the last budget brings: the lowest and highest mean score, and that of all labels."""
    rows, measure = comparison.rows, comparison.measure
    last = rows["labelled_percent"].max()
    means = rows[rows["labelled_percent"] == last].groupby("query")[measure].mean().sort_values()
    ends = f"from {means.iloc[0]:.4f} ({means.index[0]}) to {means.iloc[-1]:.4f} ({means.index[-1]})"
    full = f"; all labels give {comparison.full.mean():.4f}" if len(comparison.full) else ""
    return f"With {last:.3g} % of the labels, {MEASURES[measure]} goes {ends}{full}."


def read_gains(comparison: Comparison) -> str:
    """Return which queries are ahead, behind or not distinguishable by area, and how many chance alone would tell."""
    found = comparison.main[comparison.main["gain_low"].notna()]
    if found.empty:
        return f"Nothing can be told from chance: no two seeds of {comparison.baseline} and of another query."
    parts = []
    for verdict, rows in found.groupby("verdict", sort=True):
        gains = _cells(rows, gain_text, "gain", "gain_low", "gain_high")
        queries = [f"{query} ({gain}, p {p:.4f})" for query, gain, p in zip(rows.index, gains, rows["p"], strict=True)]
        parts.append(f"{verdict}: {', '.join(queries)}")
    alone = f"Were there no differences, {(1 - LEVEL) * len(found):.2g} of {len(found)} would be told apart by chance."
    return f"By area, {'; '.join(parts)}. {alone}"


def read_labels(comparison: Comparison) -> str:
    """Return for each of `SHARES` what the baseline needs and the queries save, as far as intervals exclude zero."""
    main = comparison.main
    if f"saved_{SHARES[0]}" not in main:
        return "Labels saved: not known without a full-data result and a seed of the baseline and another query."
    sentences = []
    for share in SHARES:
        needed = percent_text(main[f"needed_{share}"][comparison.baseline])
        is_real = (main[f"saved_{share}_low"] > 0) | (main[f"saved_{share}_high"] < 0)
        real = _saved(main, share, comparison.baseline).loc[is_real.to_numpy()]
        told = ", ".join(f"{query} {text}" for query, text in real.items()) or "not distinguishable from nothing"
        sentences.append(f"% of the labels for {share} % of the full-data result: {comparison.baseline} {needed};")
        sentences.append(f"saved: {told}.")
    return " ".join(sentences)


def read_penalties(comparison: Comparison) -> str:
    """Return who beats whom at how many of the budgets, most first, and whom nobody beats."""
    entries = _entries(comparison.penalties)
    if not entries:
        return "No test is possible: it needs two queries that share two seeds."
    wins = [f"{one} beats {other} at {100 * share:.0f} %" for share, one, other in entries[::-1] if share > 0]
    if not wins:
        return "No query beats another at any budget: not distinguishable."
    unbeaten = sorted({name for _, name, _ in entries} - {other for share, _, other in entries if share > 0})
    more = "" if len(wins) <= MOST else f" and {len(wins) - MOST} more such pairs"
    return f"Of the budgets, {', '.join(wins[:MOST])}{more}. Beaten by none: {', '.join(unbeaten) or 'no query'}."


def _entries(matrix: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Return value, row and column of every entry but NaN, the smallest first."""
    names = [(str(row), str(column)) for row in matrix.index for column in matrix.columns]
    values = matrix.to_numpy(float).ravel().tolist()
    return sorted((value, *name) for value, name in zip(values, names, strict=True) if not math.isnan(value))


def read_classes(comparison: Comparison) -> str:
    """Return how many of the classes' intervals exclude zero, how many chance would, and the ends of the gains."""
    found = comparison.class_gains.dropna(subset="low")
    if found.empty:
        return "No gains by class."
    ahead, behind = (found["low"] > 0).sum(), (found["high"] < 0).sum()
    ends = [found.loc[found["mean"].idxmax()], found.loc[found["mean"].idxmin()]]
    told = " and ".join(f"{row['label']} by {row['query']} {gain_text(*row[['mean', 'low', 'high']])}" for row in ends)
    return (
        f"Of {len(found)} intervals {ahead} lie above zero and {behind} below; were there no differences,"
        f" {(1 - LEVEL) * len(found):.2g} would lie apart from it. The ends: {told}."
    )


def read_class_factors(acquired: pd.DataFrame) -> str:
    """Return which classes were acquired most and least beyond their share of the pool."""
    (low, less_by, less), *_, (high, more_by, more) = _entries(class_factors(acquired))
    return (
        f"Against its share of the pool, class {more} was acquired most by {more_by} ({high:.2f} times), {less} least"
        f" by {less_by} ({low:.2f} times)."
    )


def read_overlaps(acquired: pd.DataFrame) -> str:
    """Return which two queries acquired most alike, and whose seeds did, beside what chance gives."""
    (shares, chance), sentences = overlaps(acquired), []
    between = [entry for entry in _entries(shares) if entry[1] != entry[2]]
    if between:
        share, one, other = between[-1]
        sentences.append(f"Most alike: {one} and {other}, {share:.0f} % in common with the same start")
        sentences[-1] += f" (chance: {chance['queries']:.0f} %)."
    own = pd.Series(np.diag(shares), shares.index).dropna()
    if len(own):
        sentences.append(f"Of one query's seeds: {own.idxmax()} has most in common, {own.max():.0f} %")
        sentences[-1] += f" (chance: {chance['seeds']:.0f} %)."
    return " ".join(sentences) or "Overlap: not known of one run alone."


def read_near_duplicates(acquired: pd.DataFrame) -> str:
    """Return each query's share of images acquired that look like one labelled before or with them."""
    repeated = near_duplicate_shares(acquired)
    if repeated.empty:
        return "Near-duplicates: not sought."
    told = [f"{query} {row['mean']:.1f} %" for query, row in repeated.sort_values("mean").iterrows()]
    return f"Acquired images that look like one labelled before or with them: {', '.join(told)}."


def read_costs(comparison: Comparison) -> str:
    """Return the quickest and the slowest query beside a training."""
    seconds = comparison.main["seconds_query"].dropna().sort_values()
    if seconds.empty:
        return "No round queried."
    ends = f"{seconds.iloc[0]:.2f} s ({seconds.index[0]}) to {seconds.iloc[-1]:.2f} s ({seconds.index[-1]})"
    return f"A query takes from {ends}; a training {comparison.main['seconds_train'].mean():.2f} s."
