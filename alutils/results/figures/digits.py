"""Digits: examples, those that a committee was sure of, and histograms of its scores."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alutils.datasets import ImageDataset
from alutils.results.figures.scenes import show_image
from alutils.results.figures.style import despine, words


def digit_rows(dataset: ImageDataset, rows: int, columns: int) -> Figure:
    """Draw the first digits of a data set in rows."""
    figure, grid = plt.subplots(rows, columns, figsize=(0.7 * columns, 0.75 * rows), layout="constrained")
    for axes, image in zip(grid.flat, dataset.images, strict=False):
        show_image(axes, image[0])
    return figure


def sure_digits(dataset: ImageDataset, images: pd.DataFrame) -> Figure:
    """Draw the digits where the committee was least sure, and below them those where it was most sure.

    images : as of `analysis.least_and_most_sure`; each digit's title is its class and its entropy in bits
    """
    columns = int(images["rank"].max()) + 1
    figure, grid = plt.subplots(2, columns, figsize=(0.8 * columns, 2.4), layout="constrained", squeeze=False)
    for row, which in zip(grid, ("least", "most"), strict=True):
        part = images[images["which"] == which]
        for axes in row:
            axes.set_axis_off()
        row[0].text(-0.1, 0.5, f"{which} sure", transform=row[0].transAxes, rotation=90, ha="right", va="center")
        for axes, index, score in zip(row, part["index"], part["score"], strict=False):
            item = dataset[index]
            show_image(axes, item.image[0], f"{dataset.class_names[int(item.label)]}: {score:.2f}")
    return figure


def entropy_histograms(histograms: pd.DataFrame) -> Figure:
    """Draw how many unlabelled images had which entropy: one panel per query, one line per round, later ones lighter.

    histograms : as of `analysis.score_histograms`
    """
    panels = [(query, part) for query, part in histograms.groupby("query", sort=True)]
    size = (3.8 * len(panels) + 0.8, 3.2)
    figure, grid = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)
    shades = plt.get_cmap("viridis")
    last = max(1, int(histograms["round"].max()))
    for axes, (query, part) in zip(grid[0], panels, strict=True):
        for number, bars in part.groupby("round", sort=True):
            edges = [*bars["low"], bars["low"].iloc[-1] + (bars["low"].diff().min() if len(bars) > 1 else 0.1)]
            axes.stairs(bars["count"], edges, color=shades(0.95 * int(str(number)) / last), lw=1.2)
        axes.set_title(words(query), fontsize=10)
        axes.set_xlabel("entropy, bits")
        axes.set_yscale("log")
    grid[0, 0].set_ylabel("unlabelled images")
    scale = plt.cm.ScalarMappable(plt.Normalize(0, last / 0.95), shades)
    bar = figure.colorbar(scale, ax=grid[0].tolist(), label="round", ticks=MaxNLocator(integer=True))
    bar.ax.set_ylim(0, last)
    despine(figure)
    return figure
