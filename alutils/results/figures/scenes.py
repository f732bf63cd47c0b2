"""Images, labels and score maps of scenes; `example_images` shows digits as well."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from alutils.datasets import IGNORE_INDEX, ImageDataset, label_counts
from alutils.results.figures.style import DPI, despine, words
from alutils.results.maps import SavedMaps


def paint_labels(labels: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Return labels (..., H, W) in their colours, RGB (..., H, W, 3) uint8; void is black."""
    palette = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette[labels]


def overlay(image: np.ndarray, label: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Return an image (3, H, W) mixed half and half with its label's colours, (H, W, 3) uint8; void stays as it is."""
    photo = image.transpose(1, 2, 0)
    mixed = photo // 2 + paint_labels(label, colours) // 2
    return np.where((label == IGNORE_INDEX)[..., None], photo, mixed)


def class_legend(figure: Figure, dataset: ImageDataset) -> None:
    """Add the classes and their colours below a figure of scenes, which becomes higher by as much."""
    named = zip(dataset.class_names, dataset.colours, strict=True)
    keys = [Patch(color=f"#{bytes(colour).hex()}", label=name) for name, colour in named]
    columns = max(1, int(figure.get_figwidth() / 1.3))
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.18 * -(-len(keys) // columns))
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, frameon=False, fontsize=7)


def show_image(axes: Axes, image: np.ndarray, title: str = "", limit: float | None = None) -> None:
    """Show an RGB or grey image, or, given a `limit`, a map whose brightest colour stands for that value."""
    axes.imshow(image, cmap="gray" if limit is None else "magma", vmin=None if limit is None else 0, vmax=limit)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def example_images(dataset: ImageDataset, indices: list[int]) -> Figure:
    """Draw images by index: scenes, and below them their labels laid over; digits with their class as title."""
    rows, inches = (2, 1.8) if dataset.is_dense else (1, 1.2)
    height, width = dataset.images.shape[-2:]
    size = (inches * width / height * len(indices), inches * rows)
    figure, grid = plt.subplots(rows, len(indices), figsize=size, layout="constrained", squeeze=False)
    for axes, index in zip(grid.T, indices, strict=True):
        item = dataset[index]
        if dataset.is_dense:
            show_image(axes[0], item.image.transpose(1, 2, 0), item.name)
            show_image(axes[1], overlay(item.image, item.label, dataset.colours))
        else:
            show_image(axes[0], item.image[0], dataset.class_names[int(item.label)])
    if dataset.is_dense:
        class_legend(figure, dataset)
    return figure


def images_by_round(dataset: ImageDataset, acquired: pd.DataFrame, most: int = 5) -> Figure:
    """Draw the first `most` images that each round labelled, one row per round; scenes with their labels laid over.

    acquired : the rows of a run's `acquisitions.csv`
    """
    rounds = [(number, rows["index"].unique()[:most]) for number, rows in acquired.groupby("round", sort=True)]
    height, width = dataset.images.shape[-2:]
    size = (1.4 * width / height * most + 0.4, 1.6 * len(rounds))
    figure, grid = plt.subplots(len(rounds), most, figsize=size, layout="constrained", squeeze=False)
    for row, (number, indices) in zip(grid, rounds, strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].set_title(f"round {number}" + (": the start" if number == 0 else ""), fontsize=9, loc="left")
        for axes, index in zip(row, indices, strict=False):
            item = dataset[index]
            axes.imshow(overlay(item.image, item.label, dataset.colours) if dataset.is_dense else item.image[0])
    if dataset.is_dense:
        class_legend(figure, dataset)
    return figure


def regions_by_round(dataset: ImageDataset, acquired: pd.DataFrame, maps: np.ndarray, most: int = 3) -> Figure:
    """Draw the `most` images that have the most labelled regions, and below them these regions, coloured by round.

    acquired : the rows of a run's `acquisitions.csv`, with regions
    maps : (N, H, W), the region of each pixel
    """
    chosen = acquired["index"].value_counts(sort=True).index[:most]
    height, width = dataset.images.shape[-2:]
    size = (2.0 * width / height * len(chosen) + 0.7, 4.2)
    figure, grid = plt.subplots(2, len(chosen), figsize=size, layout="constrained", squeeze=False)
    last = int(acquired["round"].max())
    palette = plt.get_cmap("viridis", last + 1)
    for (above, below), index in zip(grid.T, chosen, strict=True):
        item = dataset[int(index)]
        photo = item.image.transpose(1, 2, 0)
        rounds = rounds_of_pixels(acquired[acquired["index"] == index], maps[int(index)])
        tinted = (0.5 * photo + 127.5 * palette(rounds.clip(0))[..., :3]).astype(np.uint8)
        show_image(above, photo, item.name)
        show_image(below, np.where((rounds < 0)[..., None], photo // 4, tinted))
    bar = plt.cm.ScalarMappable(BoundaryNorm(np.arange(last + 2) - 0.5, last + 1), palette)
    figure.colorbar(bar, ax=grid[1].tolist(), label="labelled in round", ticks=range(last + 1))
    return figure


def rounds_of_pixels(rows: pd.DataFrame, regions: np.ndarray) -> np.ndarray:
    """Return the round in which each pixel of an image was labelled, (H, W); -1 for those that were not.

    rows : the rows of `acquisitions.csv` of this image; a region below 0 is the whole image
    regions : (H, W), the region of each pixel
    """
    found = np.full(regions.shape, -1)
    for round_number, region in zip(rows["round"], rows["region"], strict=True):
        found[(regions == region) | (region < 0)] = round_number
    return found


def class_shares(dataset: ImageDataset) -> pd.Series:
    """Return each class's share of the labelled pixels (or digits), in percent."""
    counts = label_counts(dataset, np.arange(len(dataset)))
    return pd.Series(100 * counts / counts.sum(), index=dataset.class_names)


def class_share_bars(dataset: ImageDataset) -> Figure:
    """Draw `class_shares` as bars in the classes' colours, on a logarithmic axis."""
    shares = class_shares(dataset)
    figure, axes = plt.subplots(figsize=(7, 0.25 * len(shares) + 1), layout="constrained")
    axes.barh(shares.index, shares.to_numpy(), color=np.array(dataset.colours) / 255)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("share of the labelled pixels, %")
    despine(figure)
    return figure


def scene_with_maps(
    dataset: ImageDataset, index: int, prediction: np.ndarray, maps: Mapping[str, np.ndarray], limit: float
) -> Figure:
    """Draw one scene, its label, the prediction (H, W), and score maps (H, W) in bits, coloured from 0 to `limit`."""
    item = dataset[index]
    figure, grid = plt.subplots(1, 3 + len(maps), figsize=(3 * (3 + len(maps)), 2.2), layout="constrained")
    show_image(grid[0], item.image.transpose(1, 2, 0), item.name)
    show_image(grid[1], paint_labels(item.label, dataset.colours), "label")
    show_image(grid[2], paint_labels(prediction, dataset.colours), "prediction")
    for axes, (name, scores) in zip(grid[3:], maps.items(), strict=True):
        show_image(axes, scores, f"{name}: mean {scores.mean():.3f} bits", limit)
    figure.colorbar(grid[-1].images[0], ax=grid[-1], label="bits")
    class_legend(figure, dataset)
    return figure


def scene_by_dropout_rate(maps: SavedMaps) -> Figure:
    """Draw one scene, its prediction, and its entropy maps at each dropout rate with their sums, one row per score."""
    rates, scores = sorted({rate for _, rate in maps.scores}), sorted({name for name, _ in maps.scores}, reverse=True)
    columns = 1 + len(rates)
    height, width = maps.prediction.shape
    size = (3 * columns, 3 * len(scores) * height / width + 0.6)
    figure, grid = plt.subplots(len(scores), columns, figsize=size, layout="constrained", squeeze=False)
    show_image(grid[0, 0], maps.image.transpose(1, 2, 0), f"scene {maps.title}")
    show_image(
        grid[1, 0],
        paint_labels(maps.prediction, maps.colours),
        f"prediction (mean IoU on the test set {maps.miou:.2f})",
    )
    for row, name in zip(grid[:, 1:], scores, strict=True):
        limit = max(float(maps.scores[name, rate].max()) for rate in rates)
        for axes, rate in zip(row, rates, strict=True):
            values = maps.scores[name, rate].astype(np.float64)
            title = f"{words(name)} at {100 * rate:.0f} %: {values.sum():,.0f} bits"
            show_image(axes, values, title, limit)
        figure.colorbar(row[-1].images[0], ax=row.tolist(), label="bits", fraction=0.05)
    return figure


def label_map(maps: SavedMaps, size: tuple[int, int]) -> Figure:
    """Draw the prediction alone, enlarged without smoothing to exactly `size` (width, height) pixels."""
    pixels = Image.fromarray(paint_labels(maps.prediction, maps.colours)).resize(size, Image.Resampling.NEAREST)
    figure = plt.figure(figsize=(size[0] / DPI, size[1] / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    show_image(axes, np.asarray(pixels))
    return figure


def scene_with_label(maps: SavedMaps) -> Figure:
    """Draw a scene and, beside it, the scene with its label laid over."""
    height, width = maps.label.shape
    figure, grid = plt.subplots(1, 2, figsize=(10, 5 * height / width + 0.3), layout="constrained")
    show_image(grid[0], maps.image.transpose(1, 2, 0), maps.title)
    show_image(grid[1], overlay(maps.image, maps.label, maps.colours), "its label laid over")
    return figure
