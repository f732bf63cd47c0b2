"""From tables and arrays to pictures; nothing is trained or scored here.

`python -m alutils.figures` draws README's figures from `results/published/` into `image_examples/`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alutils.analysis import curve_names, measure_of, settings, summarise
from alutils.datasets import IGNORE_INDEX, ImageDataset, label_counts, load_dataset
from alutils.paths import IMAGE_EXAMPLES, PUBLISHED
from alutils.results import load_published

# Okabe and Ito's colours, told apart by colour-blind readers too; blue, orange, green as in the thesis.
COLOURS = {"consensus_entropy": "#0072B2", "vote_entropy": "#E69F00", "random": "#009E73"}
MARKERS = {"consensus_entropy": "o", "vote_entropy": "s", "random": "^"}  # told apart in grey, too
MEASURE_LABELS = {"miou": "mean IoU on the test set", "accuracy": "accuracy on the test set"}
KIND_LABELS = {"rounds": "active-learning rounds", "bulk": "training from scratch on a share"}


def learning_curves(rows: pd.DataFrame) -> Figure:
    """Draw one setting: labels against score, a curve a query; point = mean, whisker = standard deviation.

    Curves are shifted sideways a little, so that whiskers do not overlap; a dashed line marks all labels.
    """
    measure, summary = measure_of(rows), summarise(rows)
    summary["curve"] = curve_names(summary)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    curves = [curve for curve in summary["curve"].unique() if curve != "all"]
    percents = np.sort(summary["labelled_percent"].unique())
    gap = min(1, 0.08 * np.diff(percents).min()) if len(percents) > 1 else 0.1
    for position, curve in enumerate(curves):
        points = summary[summary["curve"] == curve].sort_values("labelled")
        shifted = points["labelled_percent"] + gap * (position - (len(curves) - 1) / 2)
        colour = COLOURS.get(str(points["query"].iloc[0]))
        axes.errorbar(
            shifted,
            points["mean"],
            points["sd"],
            marker="o",
            capsize=3,
            color=colour,
            label=curve.replace("_", " "),
        )
    reference = summary[summary["query"] == "all"]
    if len(reference):
        axes.axhline(reference["mean"].iloc[0], color="black", ls="--", label="all labels")
    first = rows.iloc[0]
    seeds = rows["seed"].nunique()
    axes.set_title(f"{first['dataset']}, {first['model']}: {KIND_LABELS[first['kind']]}, {seeds} seeds", fontsize=11)
    axes.set_xlabel("labelled images, % of the training set")
    axes.set_ylabel(MEASURE_LABELS[measure])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _despine(figure)
    return figure


def regime_curves(rows: pd.DataFrame) -> Figure:
    """Draw a panel a training regime: labels against accuracy, a curve a query, its standard deviation shaded."""
    panels = [(regime, part) for regime, part in rows.groupby("regime", sort=True)]
    size = (3.4 * len(panels) + 0.6, 3.4)
    figure, grid = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)
    measure = measure_of(rows)
    for axes, (regime, part) in zip(grid[0], panels, strict=True):
        for query, points in summarise(part).groupby("query", sort=True):
            points, spread = points.sort_values("labelled"), points.sort_values("labelled")["sd"].fillna(0)
            colour = COLOURS.get(str(query))
            (line,) = axes.plot(
                points["labelled"],
                points["mean"],
                color=colour,
                marker=MARKERS.get(str(query)),
                ms=4,
                label=_words(query),
            )
            low, high = points["mean"] - spread, points["mean"] + spread
            axes.fill_between(points["labelled"], low, high, color=line.get_color(), alpha=0.25, lw=0)
        axes.set_title(_words(regime), fontsize=10)
        axes.set_xlabel("labelled images")
        axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel(MEASURE_LABELS[measure])
    grid[0, -1].legend(frameon=False, fontsize=9)
    _despine(figure)
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
        axes.set_title(_words(query), fontsize=10)
        axes.set_xlabel("entropy, bits")
        axes.set_yscale("log")
    grid[0, 0].set_ylabel("unlabelled images")
    scale = plt.cm.ScalarMappable(plt.Normalize(1, last + 1), shades)
    figure.colorbar(scale, ax=grid[0].tolist(), label="round")
    _despine(figure)
    return figure


def sure_digits(dataset: ImageDataset, images: pd.DataFrame) -> Figure:
    """Draw the digits of which the committee was least sure, and most sure (`least_and_most_sure`)."""
    columns = int(images["rank"].max()) + 1
    figure, grid = plt.subplots(2, columns, figsize=(0.8 * columns, 2.4), layout="constrained", squeeze=False)
    for row, which in zip(grid, ("least", "most"), strict=True):
        part = images[images["which"] == which]
        for axes in row:
            axes.set_axis_off()
        for axes, index, score in zip(row, part["index"], part["score"], strict=False):
            item = dataset[index]
            show_image(axes, item.image[0], f"{dataset.class_names[int(item.label)]}: {score:.2f}")
    return figure


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _despine(figure: Figure) -> None:
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
    _despine(figure)
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


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, and as PDF beside it unless it shows photos; return the PNG's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    has_photos = any(axes.images for axes in figure.axes)
    figure.savefig(path, dpi=80 if has_photos else 120)
    if not has_photos:
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    plt.close(figure)
    return path


def main() -> int:
    """Draw a figure for each setting of each published table, and three drawn street scenes."""
    for table in sorted(PUBLISHED.glob("*.csv")):
        for name, rows in settings(load_published(table.stem)):
            path = save(learning_curves(rows), IMAGE_EXAMPLES / f"{table.stem}-{name.replace(' ', '-')}.png")
            print(f"{path} from {table}")  # noqa: T201
    scenes = load_dataset("streets_tiny", "train")
    print(save(examples(scenes, [3, 17, 33]), IMAGE_EXAMPLES / "streets.png"))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
