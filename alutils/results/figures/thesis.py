"""The thesis's result figures, and transfer from network to network."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alutils.results.figures.style import MEASURE_LABELS, annotated_matrix, despine, query_styles, words
from alutils.results.thesis import committee_gain, random_slopes


def bulk_comparison(panels: dict[str, pd.DataFrame]) -> Figure:
    """Draw the thesis's result figure: percent of labels against mean IoU.

    panels : by title, points as of `thesis.bulk_points`

    Queries are shifted sideways so that whiskers do not overlap. The dashed black line is the score with all labels.
    Above the curves stands the committees' mean gain over random; below them, dashed red, the slope of random's curve.
    All panels have one scale, so that gains can be compared by eye.
    """
    extents = {title: _extent(points) for title, points in panels.items()}
    room = max(high - low for low, high in extents.values()) or 0.01
    size = (5 * len(panels), 4.2)
    figure, grid = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False, sharex=True)
    shares = pd.concat(points.loc[points["query"] != "all", "percent"] for points in panels.values())
    grid[0, 0].set_xticks(shares.unique())
    if len(shares):
        grid[0, 0].set_xlim(shares.min() - 4, shares.max() + 4)
    for axes, (title, points) in zip(grid[0], panels.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(MEASURE_LABELS["miou"])
        axes.grid(alpha=0.3)
        middle = sum(extents[title]) / 2
        axes.set_ylim(middle - 0.75 * room, middle + 0.65 * room)
        _bulk_curves(axes, points)
        _gains_and_slopes(axes, points, room)
    grid[0, 0].legend(frameon=False, fontsize=9, loc="lower right")
    figure.supxlabel("labelled images, % of the training set;\npoints at one share stand side by side", fontsize=10)
    despine(figure)
    return figure


def _extent(points: pd.DataFrame) -> tuple[float, float]:
    """Return the lowest and the highest score that a point's whisker reaches."""
    spread = points["sd"].fillna(0)
    return (points["mean"] - spread).min(), (points["mean"] + spread).max()


def _bulk_curves(axes: Axes, points: pd.DataFrame) -> None:
    shifts, styles = {"consensus_entropy": -1, "vote_entropy": 0, "random": 1}, query_styles(points["query"])
    for query, part in points[points["query"] != "all"].groupby("query", sort=True):
        axes.errorbar(
            part["percent"] + shifts.get(str(query), 0),
            part["mean"],
            part["sd"].fillna(0),
            capsize=3,
            label=words(query),
            **styles[str(query)],
        )
    for mean in points.loc[points["query"] == "all", "mean"]:
        axes.axhline(mean, color="black", ls="--", label="all labels")


def _gains_and_slopes(axes: Axes, points: pd.DataFrame, room: float) -> None:
    """Write gains above and slopes below the curves; `room` is how far all scores reach, the unit of distances."""
    above = points[points["query"] != "all"].assign(top=points["mean"] + points["sd"].fillna(0))
    tops = above.groupby("percent")["top"].max()
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    gains = committee_gain(points)
    for percent, gain, top in zip(gains.index, gains, tops[gains.index], strict=True):
        where = (percent, top + 0.03 * room)
        axes.annotate(f"{gain:+.4f}", where, ha="center", va="bottom", fontsize=8, color="#333333", bbox=behind)
    random = points[points["query"] == "random"].set_index("percent")["mean"]
    for number, ((start, end), slope) in enumerate(random_slopes(points).items()):
        below = random[[start, end]] - 0.12 * room
        label = None if number else "slope of random"
        axes.plot([start, end], below, color="#D55E00", ls="--", lw=1, label=label)
        where = ((start + end) / 2 + 1, below.mean() - 0.02 * room)
        axes.annotate(f"{slope:.5f} / %", where, ha="left", va="top", fontsize=8, color="#D55E00")


def transfer_matrix(gains: pd.DataFrame) -> Figure:
    """Draw `thesis.transfer_gains`: one row per network that acquired orders, one column per trained network."""
    figure, axes = plt.subplots(figsize=(2.4 + 1.8 * gains.shape[1], 1.2 + 0.8 * gains.shape[0]), layout="constrained")
    limit = 2 * max(float(gains.abs().to_numpy().max()), 1e-6)  # no cell is too dark to read
    bar = {"cbar": True, "cbar_kws": {"label": "gain over random, mean IoU"}}
    annotated_matrix(axes, gains, "+.4f", cmap="PuOr", vmin=-limit, vmax=limit, **bar)
    axes.set_xlabel("trained network")
    axes.set_ylabel("acquired by")
    return figure
