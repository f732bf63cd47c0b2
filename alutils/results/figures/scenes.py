"""From tables and arrays to pictures; nothing is trained or scored here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from alutils.datasets import IGNORE_INDEX, ImageDataset, label_counts
from alutils.results.analysis import MEASURES, committee_gain, curve_names, measure_of, random_slopes, summarise

# Colours that colour-blind readers tell apart, too, after Okabe and Ito and after Tol; the thesis's three queries have
# the thesis's blue, orange and green. Markers are told apart in grey, too.
STYLES: dict[str, dict[str, Any]] = {
    "consensus_entropy": {"color": "#0072B2", "marker": "o"},
    "vote_entropy": {"color": "#E69F00", "marker": "s"},
    "random": {"color": "#009E73", "marker": "^"},
}
OTHER_COLOURS = (
    *("#D55E00", "#CC79A7", "#56B4E9", "#882255", "#666666"),
    *("#999933", "#332288", "#8B5A2B", "#BB5566", "#000000"),
)
OTHER_MARKERS = ("D", "v", "P", "X", "*", "<", ">", "p", "h")
DPI = 100
MEASURE_LABELS = {measure: f"{name} on the test set" for measure, name in MEASURES.items()}


def query_styles(queries: Iterable[object]) -> dict[str, dict[str, Any]]:
    """Return each query's colour and marker, as matplotlib calls them, those unknown in `STYLES` by their order."""
    others = sorted({*map(str, queries)} - {*STYLES, "all"})
    styles = [
        {"color": colour, "marker": marker}
        for colour, marker, _ in zip(cycle(OTHER_COLOURS), cycle(OTHER_MARKERS), others, strict=False)
    ]
    return STYLES | dict(zip(others, styles, strict=True))


@dataclass(frozen=True)
class SavedMaps:
    """One scene and what a committee made of it, as `05_committee_maps` keeps it.

    image (3, H, W), label and prediction (H, W), all uint8; scores: by name and dropout rate, (H, W) in bits
    """

    title: str
    miou: float
    colours: list[tuple[int, int, int]]
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    scores: Mapping[tuple[str, float], np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it as arrays, scores in half precision."""
        scores = {f"score {name} {rate}": values.astype(np.float16) for (name, rate), values in self.scores.items()}
        told = {"title": np.array(self.title), "miou": np.array(self.miou), "colours": np.array(self.colours)}
        return told | {"image": self.image, "label": self.label, "prediction": self.prediction} | scores

    @classmethod
    def read(cls, path: Path) -> "SavedMaps":
        """Return what `arrays` gave, from a .npz file."""
        with np.load(path) as found:
            names = [name.split(" ") for name in found.files if name.startswith("score ")]
            scores = {(name, float(rate)): found[f"score {name} {rate}"] for _, name, rate in names}
            colours = [(int(r), int(g), int(b)) for r, g, b in found["colours"]]
            image, label, prediction = (found[name] for name in ("image", "label", "prediction"))
            return cls(str(found["title"]), float(found["miou"]), colours, image, label, prediction, scores)


def learning_curves(rows: pd.DataFrame) -> Figure:
    """Draw one setting: labels against score, a curve a query; point = mean, whisker = standard deviation.

    Curves are shifted sideways a little, so that whiskers do not overlap; a dashed line marks all labels.
    """
    measure, summary = measure_of(rows), summarise(rows)
    summary["curve"] = curve_names(summary)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    curves, styles = [curve for curve in summary["curve"].unique() if curve != "all"], query_styles(summary["query"])
    percents = np.sort(summary["labelled_percent"].unique())
    gap = min(1, 0.08 * np.diff(percents).min()) if len(percents) > 1 else 0.1
    for position, curve in enumerate(curves):
        points = summary[summary["curve"] == curve].sort_values("labelled")
        shifted = points["labelled_percent"] + gap * (position - (len(curves) - 1) / 2)
        style = styles[points["query"].iloc[0]]
        axes.errorbar(shifted, points["mean"], points["sd"], capsize=3, label=words(curve), **style)
    reference = summary[summary["query"] == "all"]
    if len(reference):
        axes.axhline(reference["mean"].iloc[0], color="black", ls="--", label="all labels")
    first, seeds = rows.iloc[0], rows["seed"].nunique()
    what = f"{words(first['regime'])} rounds" if first["kind"] == "rounds" else "training from scratch on a share"
    axes.set_title(f"{first['dataset']}, {first['model']}: {what}, {seeds} seeds", fontsize=11)
    axes.set_xlabel("labelled images, % of the training set")
    axes.set_ylabel(MEASURE_LABELS[measure])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    despine(figure)
    return figure


def regime_curves(rows: pd.DataFrame) -> Figure:
    """Draw a panel a training regime: labels against accuracy, a curve a query, its standard deviation shaded."""
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


def entropy_histograms(histograms: pd.DataFrame) -> Figure:
    """Draw `score_histograms`, a panel a query: unlabelled images by entropy, a line a round, the later the lighter."""
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
    scale = plt.cm.ScalarMappable(plt.Normalize(1, last + 1), shades)
    figure.colorbar(scale, ax=grid[0].tolist(), label="round")
    despine(figure)
    return figure


def sure_digits(dataset: ImageDataset, images: pd.DataFrame) -> Figure:
    """Draw the digits of which the committee was least sure, and most sure (`least_and_most_sure`)."""
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


def words(name: object) -> str:
    """Return a name as it is written in a figure."""
    return str(name).replace("_", " ")


def despine(figure: Figure) -> None:
    """Take the upper and the right edge away."""
    import seaborn  # takes longer to load than all else here

    seaborn.despine(figure)


def paint_labels(labels: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Return labels (..., H, W) as RGB (..., H, W, 3) uint8, void black."""
    palette = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette[labels]


def overlay(image: np.ndarray, label: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Return image (3, H, W) with its label's colours laid half over, (H, W, 3) uint8; void stays."""
    photo = image.transpose(1, 2, 0)
    mixed = photo // 2 + paint_labels(label, colours) // 2
    return np.where((label == IGNORE_INDEX)[..., None], photo, mixed)


def examples(dataset: ImageDataset, indices: list[int]) -> Figure:
    """Draw images: scenes above, with their labels laid over below; digits with their class as title."""
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
    return figure


def show_image(axes: Axes, image: np.ndarray, title: str = "", limit: float | None = None) -> None:
    """Show an RGB image, or a map in which `limit` is the brightest value, without axes."""
    axes.imshow(image, cmap="gray" if limit is None else "magma", vmin=None if limit is None else 0, vmax=limit)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


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


def committee_maps(
    dataset: ImageDataset, index: int, prediction: np.ndarray, maps: dict[str, np.ndarray], limit: float
) -> Figure:
    """Draw one scene, its label, the prediction (H, W), and score maps (H, W) in bits on one colour scale."""
    item = dataset[index]
    figure, grid = plt.subplots(1, 3 + len(maps), figsize=(3 * (3 + len(maps)), 2.2), layout="constrained")
    show_image(grid[0], item.image.transpose(1, 2, 0), item.name)
    show_image(grid[1], paint_labels(item.label, dataset.colours), "label")
    show_image(grid[2], paint_labels(prediction, dataset.colours), "prediction")
    for axes, (name, scores) in zip(grid[3:], maps.items(), strict=True):
        show_image(axes, scores, f"{name}: mean {scores.mean():.3f} bits", limit)
    figure.colorbar(grid[-1].images[0], ax=grid[-1], label="bits")
    return figure


def bulk_comparison(panels: dict[str, pd.DataFrame]) -> Figure:
    """Draw the thesis's result figure, a panel for each source of points (`analysis.bulk_points`).

    Percent of labels against mean IoU, the queries shifted sideways so that whiskers do not overlap; dashed black: all
    labels; above, the committees' mean gain over random; below, dashed red, the slope of the random curve.
    """
    figure, grid = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4.2), layout="constrained", squeeze=False)
    for axes, (title, points) in zip(grid[0], panels.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("labelled images, % of the training set")
        axes.set_ylabel(MEASURE_LABELS["miou"])
        axes.grid(alpha=0.3)
        _bulk_curves(axes, points)
        _gains_and_slopes(axes, points)
    grid[0, 0].legend(frameon=False, fontsize=9, loc="lower right")
    despine(figure)
    return figure


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


def _gains_and_slopes(axes: Axes, points: pd.DataFrame) -> None:
    spread = points["sd"].fillna(0)
    low, high = (points["mean"] - spread).min(), (points["mean"] + spread).max()
    room = high - low or 0.01
    axes.set_ylim(low - 0.25 * room, high + 0.15 * room)
    above = points[points["query"] != "all"].assign(top=points["mean"] + spread)
    tops = above.groupby("percent")["top"].max()
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    gains = committee_gain(points)
    for percent, gain, top in zip(gains.index, gains, tops[gains.index], strict=True):
        where = (percent, top + 0.03 * room)
        axes.annotate(f"{gain:+.4f}", where, ha="center", va="bottom", fontsize=8, color="#333333", bbox=behind)
    random = points[points["query"] == "random"].set_index("percent")["mean"]
    for (start, end), slope in random_slopes(points).items():
        below = random[[start, end]] - 0.12 * room
        axes.plot([start, end], below, color="#D55E00", ls="--", lw=1)
        where = ((start + end) / 2 + 1, below.mean() - 0.02 * room)
        axes.annotate(f"{slope:.5f} / %", where, ha="left", va="top", fontsize=8, color="#D55E00")


def transfer_matrix(gains: pd.DataFrame) -> Figure:
    """Draw `analysis.transfer_gains`: a row an order's network, a column a trained network."""
    figure, axes = plt.subplots(figsize=(2.4 + 1.8 * gains.shape[1], 1.2 + 0.8 * gains.shape[0]), layout="constrained")
    limit = 2 * max(float(gains.abs().to_numpy().max()), 1e-6)  # no cell is too dark to read
    shown = annotated_matrix(axes, gains, "{:+.4f}", cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xlabel("trained network")
    axes.set_ylabel("acquired by")
    figure.colorbar(shown, label="gain over random, mean IoU")
    return figure


def annotated_matrix(axes: Axes, matrix: pd.DataFrame, form: str, **shown: Any) -> AxesImage:
    """Show a matrix with each entry in its cell, but NaN, and the names of rows and columns; `shown` as of imshow."""
    image = axes.imshow(matrix, aspect="auto", **shown)
    for (row, column), value in np.ndenumerate(matrix.to_numpy(float)):
        if np.isfinite(value):
            axes.annotate(form.format(value), (column, row), ha="center", va="center", fontsize=9)
    axes.set_xticks(range(matrix.shape[1]), matrix.columns)
    axes.set_yticks(range(matrix.shape[0]), matrix.index)
    return image


def dropout_rates(maps: SavedMaps) -> Figure:
    """Draw one scene, its prediction, and its entropy maps at each dropout rate with their sums, a row a score."""
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
    """Draw the prediction alone, in its colours, at exactly `size` (width, height) pixels, nearest."""
    pixels = Image.fromarray(paint_labels(maps.prediction, maps.colours)).resize(size, Image.Resampling.NEAREST)
    figure = plt.figure(figsize=(size[0] / DPI, size[1] / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    show_image(axes, np.asarray(pixels))
    return figure


def scene_with_label(maps: SavedMaps) -> Figure:
    """Draw a photo and, beside it, its label's colours laid over."""
    height, width = maps.label.shape
    figure, grid = plt.subplots(1, 2, figsize=(10, 5 * height / width + 0.3), layout="constrained")
    show_image(grid[0], maps.image.transpose(1, 2, 0), maps.title)
    show_image(grid[1], overlay(maps.image, maps.label, maps.colours), "its label laid over")
    return figure


def digit_rows(dataset: ImageDataset, rows: int, columns: int) -> Figure:
    """Draw the first digits of a data set."""
    figure, grid = plt.subplots(rows, columns, figsize=(0.7 * columns, 0.75 * rows), layout="constrained")
    for axes, image in zip(grid.flat, dataset.images, strict=False):
        show_image(axes, image[0])
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, for a widget that shows it."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=DPI)
    plt.close(figure)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, and as PDF beside it; return the PNG's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    plt.close(figure)
    return path
