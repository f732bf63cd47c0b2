"""What a comparison says: its tables as text, and sentences made from its numbers."""

import math
from collections.abc import Callable
from functools import partial

import pandas as pd

from alutils.results.acquired import near_duplicate_shares
from alutils.results.comparison import EARLY, SHARES, Comparison
from alutils.results.significance import LEVEL, MARGIN

INTERVAL = f"[{100 * LEVEL:.0f} %]"


def gain_text(mean: float, low: float, high: float) -> str:
    """Return "mean [low, high]", or "mean" if there is no interval, or "" for NaN."""
    if math.isnan(mean):
        return ""
    mean, low, high = (round(value, 4) + 0.0 for value in (mean, low, high))  # no minus zero
    return f"{mean:+.4f}" + ("" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}]")


def p_text(p: float) -> str:
    """Return a p with four decimals; one that these cannot tell from 0 is below the smallest that they can."""
    return "<0.0001" if p < 0.00005 else f"{p:.4f}"


def percent_text(percent: float) -> str:
    """Return labels in percent of the pool, "not reached" for infinity, or "" for NaN."""
    return "not reached" if math.isinf(percent) else "" if math.isnan(percent) else f"{percent:.3g}"


def saved_text(baseline: str, saved: float, low: float, high: float) -> str:
    """Return a result of `labels_saved` as text; if it is not finite, the text names who did not reach the target."""
    if not math.isfinite(saved):
        return {math.inf: f"{baseline} not reached", -math.inf: "not reached"}.get(saved, "neither reached")
    return f"{saved:+.3g}" + ("" if math.isnan(low) else f" [{low:+.3g}, {high:+.3g}]")


def score_table(comparison: Comparison) -> pd.DataFrame:
    """Return a table of text, one row per query: seeds, area, gain, p, verdict, percent of the full-data result."""
    table = comparison.by_query
    text = {"seeds": table["seeds"].map("{:.0f}".format), "area": table["area"].map("{:.4f}".format)}
    if table["gain"].notna().any():
        text[f"gain {INTERVAL}"] = _cells(table, gain_text, "gain", "gain_low", "gain_high")
        for title, column in (("sign-flip p", "p"), ("p, Holm", "p_holm")):
            text[title] = table[column].map(p_text, na_action="ignore").fillna("")
        text["verdict"] = table["verdict"].fillna("")
    last = comparison.rows["labelled_percent"].max()
    for name, percent in ((f"percent_of_full_{EARLY}", EARLY), ("percent_of_full_last", last)):
        if name in table and table[name].notna().any():
            text[f"% of full at {percent:.3g} %"] = _numbers(table[name], "{:.1f}")
    return pd.DataFrame(text)


def sequence_table(comparison: Comparison) -> pd.DataFrame:
    """Return a table of text, one row per query: its gain with intervals over seeds and clips, and on each sequence."""
    table, clips, sequences = comparison.by_query, comparison.clip_intervals, comparison.sequence_gains
    if clips.empty and sequences.empty:
        return pd.DataFrame()
    with_gain = table[table["gain"].notna()]
    text = {f"gain {INTERVAL} over seeds": _cells(with_gain, gain_text, "gain", "gain_low", "gain_high")}
    if len(clips):
        found = with_gain[["gain"]].join(clips)
        text[f"{INTERVAL} over clips"] = _cells(found, gain_text, "gain", "low", "high").str.partition(" ")[2]
    for column, gains in sequences.groupby("sequence") if len(sequences) else []:
        text[str(column)] = _cells(gains.set_index("query"), gain_text, "mean", "low", "high")
    return pd.DataFrame(text).reindex(with_gain.index).fillna("")


def label_table(comparison: Comparison) -> pd.DataFrame:
    """Return a table of text, one row per query: labels needed and saved in percent of the pool, seconds, clicks."""
    table, text = comparison.by_query, {}
    for share in SHARES:
        if f"needed_{share}" in table:
            text[f"% of labels for {share} % of full"] = table[f"needed_{share}"].map(percent_text)
        if f"saved_{share}" in table:
            text[f"saved {INTERVAL}, {share} %"] = _saved(table, share, comparison.baseline)
    for share in SHARES:
        if f"clicks_{share}" in table:
            text[f"clicks for {share} %"] = table[f"clicks_{share}"].map(_clicks_text)
    if "clicks" in table:
        text["clicks in all"] = _numbers(table["clicks"], "{:,.0f}")
    for name, title in (("seconds_query", "seconds to choose"), ("seconds_train", "seconds to train")):
        text[title] = _numbers(table[name], "{:.2f}")
    return pd.DataFrame(text)


def _clicks_text(clicks: float) -> str:
    return "not reached" if math.isinf(clicks) else "" if math.isnan(clicks) else f"{clicks:,.0f}"


def _saved(table: pd.DataFrame, share: int, baseline: str) -> pd.Series:
    names = (f"saved_{share}", f"saved_{share}_low", f"saved_{share}_high")
    saved = _cells(table[table["gain"].notna()], partial(saved_text, baseline), *names)
    return saved.reindex(table.index, fill_value="")


def _cells(table: pd.DataFrame, write: Callable[..., str], *names: str) -> pd.Series:
    return pd.Series([write(*values) for values in table[[*names]].itertuples(index=False)], table.index)


def _numbers(values: pd.Series, form: str) -> pd.Series:
    return values.map(form.format, na_action="ignore").fillna("")


def read_gains(comparison: Comparison) -> str:
    """Return the queries by verdict, and what the verdicts stand for."""
    found = comparison.by_query[comparison.by_query["gain_low"].notna()]
    if found.empty:
        return f"Nothing can be told from chance: no two seeds of {comparison.baseline} and of another query."
    parts = []
    for verdict, rows in found.groupby("verdict", sort=True):
        gains = _cells(rows, gain_text, "gain", "gain_low", "gain_high")
        named = zip(rows.index, gains, rows["p_holm"], strict=True)
        parts.append(f"{verdict}: {', '.join(f'{query} ({gain}, p {p_text(p)})' for query, gain, p in named)}")
    rule = f"p is corrected after Holm over these queries; as good as: the interval lies within ±{MARGIN:g}."
    return f"By area, {'; '.join(parts)}. {rule}"


def read_labels(comparison: Comparison) -> str:
    """Return for each of `SHARES` the labels that the baseline needs, and what queries save if the interval says so."""
    table = comparison.by_query
    if f"saved_{SHARES[0]}" not in table:
        return (
            "Labels saved: not known without a full-data result (notebook 04 with query all) and a seed of the baseline"
            " and another query."
        )
    sentences = []
    for share in SHARES:
        needed = table[f"needed_{share}"].map(percent_text)
        is_real = (table[f"saved_{share}_low"] > 0) | (table[f"saved_{share}_high"] < 0)
        if math.isinf(table[f"needed_{share}"][comparison.baseline]):
            title, texts = "reached by", needed
        else:
            title, texts = "saved", _saved(table, share, comparison.baseline)
        told = ", ".join(f"{query} {texts[query]}" for query in table.index[is_real]) or "undecided"
        sentences.append(f"% of the labels for {share} % of the full-data result:")
        sentences.append(f"{comparison.baseline} {needed[comparison.baseline]}; {title}: {told}.")
    return " ".join(sentences)


def read_near_duplicates(acquired: pd.DataFrame) -> str:
    """Return each query's percent of acquired images that look like one labelled before or together with them."""
    repeated = near_duplicate_shares(acquired)
    if repeated.empty:
        return "Near-duplicates: not sought."
    told = [f"{query} {row['mean']:.1f} %" for query, row in repeated.sort_values("mean").iterrows()]
    return f"Acquired images that look like one labelled before or with them: {', '.join(told)}."
