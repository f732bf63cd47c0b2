"""Queries compared: each figure is of one setting, but the gains, which have one panel per setting."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from alutils.results.acquired import class_factors
from alutils.results.analysis import MEASURES
from alutils.results.comparison import Comparison, curve_table, regions_of
from alutils.results.figures.style import MEASURE_LABELS, annotated_matrix, despine, query_styles, words
from alutils.results.significance import ALPHA, MARGIN

PANELS = 4  # per row at most
FEWEST = 3  # seeds whose interval is drawn
TITLE = 24  # characters per line of a panel's title


def query_curves(comparison: Comparison) -> Figure:
    """Draw the learning curves: one panel per query, which shows it beside the baseline, intervals shaded.

    The dashed line is the score with all labels; thin grey lines are the means of the other queries. Intervals of less
    than `FEWEST` seeds would fill the panels and are left out; the tables have them.
    """
    table, baseline = curve_table(comparison), comparison.baseline
    others = [query for query in comparison.queries if query != baseline] or comparison.queries
    rows = math.ceil(len(others) / PANELS)
    columns = math.ceil(len(others) / rows)
    figure = plt.figure(figsize=(2.4 * columns + 0.6, 2.0 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, query in zip(grid.flat, others, strict=False):
        _curve_panel(axes, table, query, baseline)
        if len(comparison.full):
            axes.axhline(comparison.full.mean(), color="black", ls="--", lw=1, label="all labels")
    for axes in grid.flat[len(others) :]:
        axes.set_axis_off()
    shown = pd.concat([table["mean"], comparison.full])
    room = 0.2 * (shown.max() - shown.min()) or 0.01
    grid[0, 0].set_ylim(shown.min() - room, shown.max() + room)
    if grid[0, 0].get_legend_handles_labels()[0]:
        grid[0, 0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(comparison.name, fontsize=11)
    what = "pixels" if any(map(regions_of, comparison.queries)) else "images"
    figure.supxlabel(f"labelled {what}, % of the training set", fontsize=10)
    figure.supylabel(MEASURE_LABELS[comparison.measure], fontsize=10)
    despine(figure)
    return figure


def _curve_panel(axes: Axes, table: pd.DataFrame, query: str, baseline: str) -> None:
    styles = query_styles(table["query"])
    for other, points in table.groupby("query"):
        axes.plot(points["labelled_percent"], points["mean"], color="#cccccc", lw=0.8, zorder=1)
        if other in (query, baseline):
            style = styles[str(other)]
            label = words(baseline) if other == baseline else None
            axes.plot(points["labelled_percent"], points["mean"], ms=4, label=label, **style)
            ends = (points["low"].to_numpy(), points["high"].to_numpy())
            if points["n"].min() >= FEWEST:
                axes.fill_between(points["labelled_percent"], *ends, color=style["color"], alpha=0.2, lw=0)
    axes.set_title(textwrap.fill(words(query), TITLE), fontsize=10)
    axes.tick_params(labelbottom=True, labelleft=True)  # panels share axes, but each is read alone
    axes.grid(alpha=0.3)


def costs(comparison: Comparison) -> Figure:
    """Draw the mean score against what was labelled: on the left in percent of the pixels, on the right in clicks.

    Clicks are those of `Pieces.cost`, in thousands.
    """
    figure, (of_pixels, of_clicks) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
    styles = query_styles(comparison.queries)
    for query in comparison.queries:
        scores = comparison.curves(query).mean()
        of_pixels.plot(scores.index, scores, ms=4, label=words(query), **styles[query])
        of_clicks.plot(comparison.clicks(query)[scores.index] / 1000, scores, ms=4, **styles[query])
    for axes in (of_pixels, of_clicks):
        axes.grid(alpha=0.3)
        if len(comparison.full):
            label = "all labels" if axes is of_pixels else None
            axes.axhline(comparison.full.mean(), color="black", ls="--", lw=1, label=label)
    of_pixels.set(xlabel="labelled, % of the pixels", ylabel=MEASURE_LABELS[comparison.measure])
    of_clicks.set(xlabel="clicks, thousands")
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.suptitle(f"{comparison.name}: what labels cost", fontsize=11)
    despine(figure)
    return figure


def gains(comparisons: Sequence[Comparison]) -> Figure:
    """Draw the gains in area with their intervals, one panel per comparison.

    A marker is filled if its query is ahead or behind after the correction over queries. In the grey band, gains are
    too small to matter.
    """
    tables = [one.by_query[one.by_query["gain"].notna()].sort_values("gain") for one in comparisons]
    baselines = {words(one.baseline) for one in comparisons}
    styles = query_styles(query for one in comparisons for query in one.queries)
    size = (4.6 * len(tables) + 1.2, 0.32 * max(map(len, tables)) + 1.3)
    figure, grid = plt.subplots(1, len(tables), figsize=size, layout="constrained", squeeze=False)
    for axes, one, table in zip(grid[0], comparisons, tables, strict=True):
        axes.axvline(0, color="black", lw=1)
        axes.axvspan(-MARGIN, MARGIN, color="#eeeeee", zorder=0)
        numbers = table[["gain", "gain_low", "gain_high", "p_holm"]].itertuples(index=False)
        for position, (query, (gain, low, high, p)) in enumerate(zip(table.index, numbers, strict=True)):
            style = styles[query]
            fill = style["color"] if p < ALPHA else "white"
            axes.errorbar(gain, position, xerr=[[gain - low], [high - gain]], capsize=3, mfc=fill, **style)
        axes.set_yticks(range(len(table)), [words(query) for query in table.index])
        axes.set_ylim(-0.6, len(table) - 0.4)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(one.name if len(baselines) == 1 else f"{one.name}\nover {words(one.baseline)}", fontsize=10)
        axes.grid(alpha=0.3, axis="x")
    baseline, measure = (
        "the query in the title" if len(baselines) > 1 else baselines.pop(),
        MEASURES[comparisons[0].measure],
    )
    said = "filled: ahead or behind; grey band: too small to matter"
    figure.supxlabel(f"area under the curve minus that of {baseline} ({measure})\n{said}", fontsize=10)
    despine(figure)
    return figure


def _matrix(title: str, matrix: pd.DataFrame, form: str, **shown: Any) -> tuple[Figure, Axes]:
    """Draw a matrix with one row per query and slanting column names."""
    size = (max(5, 0.62 * matrix.shape[1] + 2.8), 0.34 * matrix.shape[0] + 1.9)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    annotated_matrix(axes, matrix.rename(index=words, columns=words), form, **shown)
    plt.setp(axes.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    figure.suptitle(title, fontsize=10)
    return figure, axes


def penalties(comparison: Comparison) -> Figure:
    """Draw the penalty matrix and, below it, each column's mean: the share of tests that its query loses."""
    matrix = comparison.penalties
    whole = pd.concat([matrix, matrix.mean().to_frame("beaten, mean").T])
    title = f"{comparison.name}:\nshare of budgets at which row beats column"
    figure, axes = _matrix(title, whole, ".2f", cmap="Blues", vmin=0, vmax=2)
    axes.axhline(len(matrix), color="black", lw=1)
    return figure


def class_gains(comparison: Comparison) -> Figure:
    """Draw the gains in area by class, by name, in points of IoU; they are bold where the interval excludes zero."""
    table = comparison.class_gains
    order = sorted(set(table["label"]))
    means, low, high = (table.pivot(index="query", columns="label", values=of)[order] for of in ("mean", "low", "high"))
    limit = 200 * np.nanmax(means.abs().to_numpy(), initial=1e-6)
    title = (
        f"{comparison.name}: gain over {words(comparison.baseline)},\npoints of IoU; bold: the interval excludes zero"
    )
    points = (100 * means).round(1) + 0.0  # no minus zero
    figure, axes = _matrix(title, points, "+.1f", cmap="PuOr", vmin=-limit, vmax=limit)
    is_real = ((low > 0) | (high < 0)).to_numpy()[means.notna().to_numpy()]
    for text, is_bold in zip(axes.texts, is_real, strict=True):
        text.set(fontweight="bold" if is_bold else "normal", color="black" if is_bold else "#444444")
    return figure


def acquired_classes(acquired: pd.DataFrame, name: str) -> Figure:
    """Draw each class's share of what a query acquired, divided by its share of the pool.

    acquired : one setting's rows of `Experiment.acquired`
    """
    factors = class_factors(acquired)
    distances = np.abs(np.log(factors.where(factors > 0).to_numpy(float)))
    limit = max(1.1, np.exp(2 * np.nanmax(distances, initial=0)))  # no cell is too dark to read
    title = f"{name}:\nshare of what was acquired / share of the pool"
    colours = plt.get_cmap("PuOr")
    colours = colours.with_extremes(bad=colours(0.25))  # of 0, which has no logarithm
    return _matrix(title, factors, ".2f", cmap=colours, norm=LogNorm(1 / limit, limit))[0]
