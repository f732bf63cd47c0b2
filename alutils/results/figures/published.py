"""The published figures, drawn from tables and arrays in `results/published/` into `image_examples/`: `make figures`.

Some show MNIST's digits or photographs of nuclei, which are not part of the project: without the data set they stay as
they are.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.figure import Figure

from alutils.datasets import load_dataset
from alutils.errors import DataError, check_choice
from alutils.paths import IMAGE_EXAMPLES, published_dir
from alutils.queries.query import parse_query
from alutils.queries.regions import divide
from alutils.results.acquired import of_setting
from alutils.results.comparison import published_comparisons
from alutils.results.figures import comparison
from alutils.results.figures.curves import learning_curves, regime_curves
from alutils.results.figures.digits import digit_rows, entropy_histograms, sure_digits
from alutils.results.figures.scenes import label_map, regions_by_round, scene_by_dropout_rate, scene_with_label
from alutils.results.figures.style import save
from alutils.results.figures.thesis import bulk_comparison, transfer_matrix
from alutils.results.maps import SavedMaps
from alutils.results.publish import WITH_REGIONS, WITH_SCORES
from alutils.results.tables import Experiment
from alutils.results.thesis import bulk_points, our_bulk, thesis_points, transfer_gains
from alutils.runs.schemas import check_items, read_csv

(DIGITS,), (REGIONS,), SCENES, MAPS = WITH_SCORES, WITH_REGIONS, "camvid_small", "examples"  # published experiments
SIDES = {  # by published experiment: the data set whose comparison is drawn, and which sides of it
    "camvid_images": ("camvid", ["curves", "gains", "costs", "acquired"]),
    "camvid_regions": ("camvid", ["curves", "gains", "costs"]),
    "nuclei_images": ("nuclei", ["curves", "gains"]),
    "nuclei_regions": ("nuclei", ["curves", "gains", "costs"]),
    "mnist_queries": ("mnist", ["curves", "gains", "penalties"]),
    "camvid_queries": ("camvid", ["curves", "gains", "penalties", "classes", "acquired"]),
    "streets_queries": ("streets", ["gains"]),
}
INFERENCE_SIZE = (2048, 1024)  # pixels, Cityscapes' own


def bulk(figure: str) -> Figure:
    """Draw the points of the thesis's figure, and ours beside them."""
    experiment, model, order_model = our_bulk(figure)
    rows = Experiment.published(experiment).table
    seeds, dataset = rows["seed"].nunique(), rows["dataset"].iloc[0]
    ours = f"ours, {dataset} ({experiment}, {seeds} seeds): {model}\non orders that {order_model} acquired"
    thesis = thesis_points(figure)
    network = {"bulk_all": "DeepLabV3", "bulk_mini_all": "VGG19 + U-Net"}[figure]
    return bulk_comparison(
        {
            f"published thesis, Cityscapes: {network}\non orders that DeepLabV3 acquired": thesis,
            ours: bulk_points(rows, model, order_model),
        }
    )


def acquiring_rounds() -> Figure:
    """Draw the learning curves of the rounds in which the orders were acquired."""
    experiment, _, order_model = our_bulk("bulk_all")
    rows = Experiment.published(experiment).table
    return learning_curves(rows[(rows["kind"] == "rounds") & (rows["model"] == order_model)])


def mnist_curves() -> Figure:
    """Draw accuracy by round, query and regime."""
    return regime_curves(Experiment.published(DIGITS).table)


def mnist_entropy() -> Figure:
    """Draw the histograms of the regime that trains a new network each round."""
    histograms = read_csv(published_dir() / f"{DIGITS}-histograms.csv")
    return entropy_histograms(histograms[histograms["regime"] == "from_scratch"])


def mnist_sure() -> Figure:
    """Draw the digits where the consensus-entropy committee of the first seed was least and most sure."""
    sure = read_csv(published_dir() / f"{DIGITS}-sure.csv")
    chosen = sure[(sure["regime"] == "from_scratch") & (sure["query"] == "consensus_entropy")]
    return sure_digits(load_dataset("mnist", "train"), chosen)


def mnist_example() -> Figure:
    """Draw three rows of digits."""
    return digit_rows(load_dataset("mnist", "train"), rows=3, columns=12)


def regions_chosen() -> Figure:
    """Draw the regions that a committee labelled in three photographs, by round."""
    rows = read_csv(published_dir() / f"{REGIONS}-regions.csv")
    first = rows.iloc[0]
    dataset = load_dataset(first["dataset"], "train", int(first["height"]), int(first["width"]))
    check_items(rows, dataset)
    regions = parse_query(first["query"]).regions
    assert regions is not None, "such runs are published only"
    return regions_by_round(dataset, rows, divide(dataset, regions)[0])


def maps() -> SavedMaps:
    """Return the published maps of one drawn scene."""
    return SavedMaps.read(published_dir() / f"{MAPS}-maps.npz")


def side(name: str, what: str) -> Figure:
    """Draw one side of a published comparison: of the data set that `SIDES` names, or, for gains, of all of them."""
    comparisons = published_comparisons(name)
    if what == "gains":
        return comparison.gains(comparisons)
    one = next(one for one in comparisons if one.rows["dataset"].iloc[0] == SIDES[name][0])
    if what in OF_SCORES:
        return OF_SCORES[what](one)
    acquired, notes = Experiment.published(name).acquired
    if notes:
        raise DataError("; ".join(notes))
    return comparison.acquired_classes(of_setting(acquired, one.rows), one.name)


OF_SCORES = {
    "curves": comparison.query_curves,
    "costs": comparison.costs,
    "penalties": comparison.penalties,
    "classes": comparison.class_gains,
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "bulk_all": lambda: bulk("bulk_all"),
    "bulk_mini_all": lambda: bulk("bulk_mini_all"),
    "transfer": lambda: transfer_matrix(transfer_gains(Experiment.published(SCENES).table)),
    "rounds": acquiring_rounds,
    "mnist_curves": mnist_curves,
    "mnist_entropy": mnist_entropy,
    "mnist_sure": mnist_sure,
    "mnist_example": mnist_example,
    "regions_chosen": regions_chosen,
    "dr_rate": lambda: scene_by_dropout_rate(maps()),
    "cityscapes_example": lambda: scene_with_label(maps()),
    "inference_example": lambda: label_map(maps(), INFERENCE_SIZE),
    **{f"{name}_{what}": partial(side, name, what) for name, (_, sides) in SIDES.items() for what in sides},
}


def draw(names: Sequence[str] = ()) -> None:
    """Draw the figures called `names`, or all, and print the path of each PNG.

    A figure whose tables or data set are missing stays as it is; a line on stderr says so. Raises `ParameterError` for
    an unknown name.
    """
    for name in names:
        check_choice("figure", name, FIGURES)
    for name in names or FIGURES:
        path = IMAGE_EXAMPLES / f"{name}.png"
        try:
            print(save(FIGURES[name](), path))  # noqa: T201
        except (DataError, FileNotFoundError) as error:
            kept = f"{path} stays as it is" if path.exists() else f"{path} is not drawn"
            print(f"{kept}: {error}", file=sys.stderr)  # noqa: T201
