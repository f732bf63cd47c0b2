"""Draw README's figures, from tables and arrays in `results/published/`, into `image_examples/`: `make figures`.

Two figures show MNIST's digits, which are not part of the project: without the data set they stay as they are.
"""

import sys
from collections.abc import Callable
from functools import cache, partial

import pandas as pd
from matplotlib.figure import Figure

from alutils.datasets import load_dataset
from alutils.errors import DataError
from alutils.paths import IMAGE_EXAMPLES, published_dir
from alutils.results import comparison_figures, figures
from alutils.results.acquired import load_published_acquired, of_setting
from alutils.results.analysis import bulk_points, our_bulk, thesis_points, transfer_gains
from alutils.results.comparison import load_published_comparisons
from alutils.results.tables import load_published

DIGITS, SCENES, MAPS = "mnist_small", "camvid_small", "examples"  # published experiments
COMPARED = {  # published experiment: the data set that it shows, and what
    "mnist_queries": ("mnist", ["curves", "gains", "penalties"]),
    "camvid_queries": ("camvid", ["curves", "gains", "penalties", "classes", "acquired"]),
    "streets_queries": ("streets", ["gains"]),
}
INFERENCE_SIZE = (2048, 1024)  # pixels, Cityscapes' own


def bulk(figure: str) -> Figure:
    """Draw the thesis's points beside ours."""
    experiment, model, order_model = our_bulk(figure)
    rows = load_published(experiment)
    seeds, dataset = rows["seed"].nunique(), rows["dataset"].iloc[0]
    ours = f"ours, {dataset} ({experiment}, {seeds} seeds): {model}\non orders that {order_model} acquired"
    thesis = thesis_points(figure)
    network = {"bulk_all": "DeepLabV3", "bulk_mini_all": "VGG19 + U-Net"}[figure]
    return figures.bulk_comparison(
        {
            f"published thesis, Cityscapes: {network}\non orders that DeepLabV3 acquired": thesis,
            ours: bulk_points(rows, model, order_model),
        }
    )


def acquiring_rounds() -> Figure:
    """Draw the rounds of the network that acquired the orders."""
    experiment, _, order_model = our_bulk("bulk_all")
    rows = load_published(experiment)
    return figures.learning_curves(rows[(rows["kind"] == "rounds") & (rows["model"] == order_model)])


def mnist_curves() -> Figure:
    """Draw accuracy by round, query and regime."""
    return figures.regime_curves(load_published(DIGITS))


def mnist_entropy() -> Figure:
    """Draw the histograms of the regime that starts anew each round."""
    histograms = pd.read_csv(published_dir() / f"{DIGITS}-histograms.csv")
    return figures.entropy_histograms(histograms[histograms["regime"] == "from_scratch"])


def mnist_sure() -> Figure:
    """Draw the digits of which the consensus-entropy committee of the first seed was least and most sure."""
    sure = pd.read_csv(published_dir() / f"{DIGITS}-sure.csv")
    chosen = sure[(sure["regime"] == "from_scratch") & (sure["query"] == "consensus_entropy")]
    return figures.sure_digits(load_dataset("mnist", "train"), chosen)


def mnist_example() -> Figure:
    """Draw three rows of digits."""
    return figures.digit_rows(load_dataset("mnist", "train"), rows=3, columns=12)


def maps() -> figures.SavedMaps:
    """Return what was kept of one drawn scene."""
    return figures.SavedMaps.read(published_dir() / f"{MAPS}-maps.npz")


published_comparisons = cache(load_published_comparisons)  # several figures are made of one


def compared(experiment: str, what: str) -> Figure:
    """Draw one side of a published comparison, of the data set that `COMPARED` names; gains are of all its settings."""
    comparisons = published_comparisons(experiment)
    if what == "gains":
        return comparison_figures.gains(comparisons)
    one = next(one for one in comparisons if one.rows["dataset"].iloc[0] == COMPARED[experiment][0])
    if what in OF_SCORES:
        return OF_SCORES[what](one)
    acquired, notes = load_published_acquired(experiment)
    if notes:
        raise DataError(*notes)
    return comparison_figures.acquired_classes(of_setting(acquired, one.rows), one.name)


OF_SCORES = {
    "curves": comparison_figures.curves,
    "penalties": comparison_figures.penalties,
    "classes": comparison_figures.class_gains,
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "bulk_all": lambda: bulk("bulk_all"),
    "bulk_mini_all": lambda: bulk("bulk_mini_all"),
    "transfer": lambda: figures.transfer_matrix(transfer_gains(load_published(SCENES))),
    "rounds": acquiring_rounds,
    "mnist_curves": mnist_curves,
    "mnist_entropy": mnist_entropy,
    "mnist_sure": mnist_sure,
    "mnist_example": mnist_example,
    "dr_rate": lambda: figures.dropout_rates(maps()),
    "cityscapes_example": lambda: figures.scene_with_label(maps()),
    "inference_example": lambda: figures.label_map(maps(), INFERENCE_SIZE),
    **{f"{name}_{what}": partial(compared, name, what) for name, (_, sides) in COMPARED.items() for what in sides},
}


def main(names: list[str]) -> int:
    """Draw the figures called `names`, or all; return the exit code."""
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        print(f"error: {unknown[0]} is no figure; allowed: {', '.join(FIGURES)}", file=sys.stderr)  # noqa: T201
        return 1
    for name in names or FIGURES:
        path = IMAGE_EXAMPLES / f"{name}.png"
        try:
            print(figures.save(FIGURES[name](), path))  # noqa: T201
        except (DataError, FileNotFoundError) as error:
            kept = f"{path} stays as it is" if path.exists() else f"{path} is not drawn"
            print(f"{kept}: {error}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
