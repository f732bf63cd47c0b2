"""Learning curves: labels against score."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alutils.results.analysis import curve_names, measure_of, summarise
from alutils.results.figures.style import MEASURE_LABELS, despine, query_styles, words


def learning_curves(rows: pd.DataFrame) -> Figure:
    """Draw the learning curves of one setting: one curve per query; points are means, whiskers standard deviations.

    Curves are shifted sideways a little so that whiskers do not overlap, which the axis says; a dashed line marks the
    score with all labels. Markers are hollow where another network acquired the order.
    """
    measure, summary = measure_of(rows), summarise(rows)
    summary["curve"] = curve_names(summary)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    curves, styles = [curve for curve in summary["curve"].unique() if curve != "all"], query_styles(summary["query"])
    percents = np.sort(summary.loc[summary["query"] != "all", "labelled_percent"].unique())
    gap = min(1, 0.08 * np.diff(percents).min()) if len(percents) > 1 else 0.1
    if len(percents) == 1:
        axes.set_xticks(percents)
    for position, curve in enumerate(curves):
        points = summary[summary["curve"] == curve].sort_values("labelled")
        shifted = points["labelled_percent"] + gap * (position - (len(curves) - 1) / 2)
        style = dict(styles[points["query"].iloc[0]])
        order_model = points["order_model"].iloc[0]
        if pd.notna(order_model) and order_model != rows["model"].iloc[0]:
            style |= {"markerfacecolor": "white", "ls": ":"}
        axes.errorbar(shifted, points["mean"], points["sd"], capsize=3, label=words(curve), **style)
    reference = summary[summary["query"] == "all"]
    if len(reference):
        axes.axhline(reference["mean"].iloc[0], color="black", ls="--", label="all labels")
    first, seeds = rows.iloc[0], rows["seed"].nunique()
    what = f"{words(first['regime'])} rounds" if first["kind"] == "rounds" else "training from scratch on a share"
    axes.set_title(f"{first['dataset']}, {first['model']}: {what}, {seeds} seeds", fontsize=11)
    beside = "; points at one share stand side by side" if len(curves) > 1 else ""
    axes.set_xlabel(f"labelled images, % of the training set{beside}")
    axes.set_ylabel(f"{MEASURE_LABELS[measure]}, mean and sd")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    despine(figure)
    return figure


def regime_curves(rows: pd.DataFrame) -> Figure:
    """Draw one panel per training regime: labels against score, one curve per query, its standard deviation shaded."""
    panels = [(regime, part) for regime, part in rows.groupby("regime", sort=True)]
    size = (3.4 * len(panels) + 0.6, 3.4)
    figure, grid = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)
    measure, styles = measure_of(rows), query_styles(rows["query"])
    for axes, (regime, part) in zip(grid[0], panels, strict=True):
        for query, points in summarise(part).groupby("query", sort=True):
            points, spread = points.sort_values("labelled"), points.sort_values("labelled")["sd"].fillna(0)
            style = styles[str(query)]
            axes.plot(points["labelled"], points["mean"], ms=4, label=words(query), **style)
            low, high = points["mean"] - spread, points["mean"] + spread
            axes.fill_between(points["labelled"], low, high, color=style["color"], alpha=0.25, lw=0)
        axes.set_title(words(regime), fontsize=10)
        axes.set_xlabel("labelled images")
        axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel(MEASURE_LABELS[measure])
    grid[0, -1].legend(frameon=False, fontsize=9)
    despine(figure)
    return figure
