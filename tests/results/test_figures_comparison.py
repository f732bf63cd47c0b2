"""Figures of comparisons: drawn without a warning, and what they show is what the tables say."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import comparison_of
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from alutils.results.comparison import Comparison
from alutils.results.figures import comparison as figures

RANDOM = {0: [0.2, 0.4, 0.6], 1: [0.2, 0.4, 0.5], 2: [0.2, 0.4, 0.7]}
BETTER = {seed: [start, middle + 0.1, end + 0.1] for seed, (start, middle, end) in RANDOM.items()}
MIXED = {0: [0.2, 0.5, 0.6], 1: [0.2, 0.3, 0.5], 2: [0.2, 0.4, 0.7]}
POOR: dict[str, dict[str, dict[int, list[float]]]] = {
    "no baseline": {"badge": RANDOM, "vote_entropy": MIXED},
    "one query": {"random": RANDOM},
    "one seed": {"random": {0: RANDOM[0]}, "vote_entropy": {0: BETTER[0]}},
    "one round": {"random": {0: [0.2], 1: [0.3]}, "vote_entropy": {0: [0.2], 1: [0.3]}},
    "equal": {"random": RANDOM, "vote_entropy": RANDOM},
}
OF_ONE = ["query_curves", "penalties"]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Close all figures after a test; matplotlib warns of many."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rich() -> Comparison:
    """Return six queries: two are ahead of random, and one class is behind."""
    curves = {"random": RANDOM, "better": BETTER, "mixed": MIXED, "badge": MIXED, "vote_entropy": BETTER, "core": MIXED}

    def car(rows: pd.DataFrame) -> np.ndarray:
        return np.where((rows["query"] == "better") & (rows["round"] > 0), 0.1 - rows["seed"] / 50, 0.3)

    classes: dict[str, Any] = {"iou_road": lambda rows: rows["miou"], "iou_car": car}
    return comparison_of(curves, [0.8], **classes)


def drawn(figure: Figure) -> Figure:
    """Return the figure after it was drawn, whose warnings are errors."""
    figure.canvas.draw()
    return figure


def texts(axes: Axes) -> dict[tuple[str, str], str]:
    """Return what is written in a matrix, by row and column."""
    rows, columns = ([label.get_text() for label in of] for of in (axes.get_yticklabels(), axes.get_xticklabels()))
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        found[rows[int(y)], columns[int(x)]] = text.get_text()
    return found


@pytest.mark.parametrize("name", POOR)
@pytest.mark.parametrize("what", OF_ONE)
def test_a_poor_comparison_is_drawn_too(what: str, name: str):
    figure = drawn(getattr(figures, what)(comparison_of(POOR[name])))
    assert len(figure.axes) > 0


def test_curves_have_a_panel_a_query_but_the_baseline(rich: Comparison):
    figure = drawn(figures.query_curves(rich))
    assert [axes.get_title() for axes in figure.axes if axes.axison] == [
        "badge", "better", "core", "mixed", "vote entropy",
    ]  # fmt: skip
    assert len(figure.axes) == 6, "two rows of three"


def test_a_long_name_stays_within_its_panel():
    long = ["consensus_entropy+mixture0.6-0.2-0.2"]
    names = ["random", "badge", "bald", "core_set", *long]
    figure = drawn(figures.query_curves(comparison_of(dict.fromkeys(names, RANDOM))))
    for axes in figure.axes:
        assert axes.title.get_window_extent().width <= axes.get_window_extent().width


def test_a_panel_shows_all_queries_thin_and_two_with_intervals_and_the_line_of_all_labels(rich: Comparison):
    axes = figures.query_curves(rich).axes[1]
    grey = [line for line in axes.lines if line.get_color() == "#cccccc"]
    assert len(grey) == 6
    shown = {line.get_label(): line for line in axes.lines if line not in grey}
    assert list(np.asarray(shown["all labels"].get_ydata())) == [0.8, 0.8]
    assert list(np.asarray(shown["random"].get_ydata())) == pytest.approx([0.2, 0.4, 0.6])
    (better,) = (line for label, line in shown.items() if label not in ("all labels", "random"))
    assert list(np.asarray(better.get_ydata())) == pytest.approx([0.2, 0.5, 0.7])
    shade = axes.collections[0].get_paths()[0].get_extents()
    assert shade.y1 == pytest.approx(0.7 + 4.302653 * 0.1 / 3**0.5)
    low, high = axes.get_ylim()
    assert low < 0.2
    assert 0.8 < high < shade.y1, "means and all labels set the scale, intervals may leave it"


def test_without_all_labels_there_is_no_line_of_them():
    (axes,) = figures.query_curves(comparison_of({"random": RANDOM, "better": BETTER})).axes
    assert "all labels" not in [line.get_label() for line in axes.lines]


def test_a_baseline_alone_has_a_panel_of_its_own():
    (axes,) = figures.query_curves(comparison_of({"random": RANDOM})).axes
    assert axes.get_title() == "random"


def test_costs_are_percents_of_pixels_and_thousands_of_clicks():
    curves = {"random": RANDOM, "better": BETTER}
    factor = {"random": 1000, "better": 3000}
    comparison = comparison_of(curves, [0.8], clicks=lambda rows: rows["labelled"] * rows["query"].map(factor))
    of_pixels, of_clicks = drawn(figures.costs(comparison)).axes
    for axes, of_better in ((of_pixels, [10, 20, 30]), (of_clicks, [30, 60, 90])):
        lines = dict(zip(comparison.queries, axes.lines, strict=False))
        assert np.asarray(lines["random"].get_xdata()).tolist() == [10, 20, 30]
        assert np.asarray(lines["better"].get_xdata()).tolist() == of_better
        assert np.asarray(lines["better"].get_ydata()).tolist() == pytest.approx([0.2, 0.5, 0.7])
        assert axes.lines[2].get_ydata() == [0.8, 0.8], "all labels"


def markers(axes: Axes) -> list[tuple[float, str]]:
    """Return of each gain, from below, its value and whether the marker is filled or hollow."""
    found = []
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line = container.lines[0]
        assert line is not None
        is_hollow = to_hex(str(line.get_markerfacecolor())) == "#ffffff"
        found.append((float(np.asarray(line.get_xdata())[0]), "hollow" if is_hollow else "filled"))
    return found


def test_a_marker_is_filled_if_and_only_if_the_query_is_ahead_or_behind():
    worse = {seed: [start, middle - 0.1, end - 0.1] for seed, (start, middle, end) in RANDOM.items()}
    comparison = comparison_of({"random": RANDOM, "better": BETTER, "mixed": MIXED, "worse": worse, "same": RANDOM})
    (axes,) = drawn(figures.gains([comparison])).axes
    assert [label.get_text() for label in axes.get_yticklabels()][::3] == ["worse", "better"]
    assert markers(axes) == [
        (pytest.approx(-0.1), "filled"), (pytest.approx(0), "hollow"), (pytest.approx(0), "hollow"),
        (pytest.approx(0.1), "filled"),
    ]  # fmt: skip
    (bar,) = axes.containers[3].lines[2]  # type: ignore[attr-defined]
    assert bar.get_segments()[0][:, 0] == pytest.approx([0.1, 0.1])


def test_gains_have_a_panel_a_setting_whether_it_has_any(rich: Comparison):
    alone, one_seed = (comparison_of(POOR[name], name=name) for name in ("one query", "one seed"))
    figure = drawn(figures.gains([rich, alone, one_seed]))
    assert [axes.get_title() for axes in figure.axes] == ["d m", "one query", "one seed"]
    assert [len(axes.containers) for axes in figure.axes] == [5, 0, 1]
    assert markers(figure.axes[2]) == [(pytest.approx(0.1), "hollow")], "one seed excludes nothing"


def test_an_interval_of_two_seeds_fills_no_panel():
    two = {seed: RANDOM[seed] for seed in (0, 1)}
    figure = drawn(figures.query_curves(comparison_of({"random": two, "vote_entropy": two})))
    assert not figure.axes[0].collections


def test_gains_over_several_baselines_name_them(rich: Comparison):
    figure = drawn(figures.gains([rich, replace(rich, baseline="mixed")]))
    assert [axes.get_title() for axes in figure.axes] == ["d m\nover random", "d m\nover mixed"]
    assert "the query in the title" in figure.get_supxlabel()


def test_a_query_has_one_style_in_all_settings(rich: Comparison):
    other = comparison_of({"random": RANDOM, "aaa": BETTER, "mixed": MIXED}, name="d n")
    colours = []
    for axes in figures.gains([rich, other]).axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        container = axes.containers[names.index("mixed")]
        assert isinstance(container, ErrorbarContainer)
        colours.append(container.lines[0].get_color() if container.lines[0] else None)
    assert colours[0] == colours[1] is not None


def test_penalties_write_shares_and_the_mean_of_each_column():
    once = {seed: [*RANDOM[seed][:2], BETTER[seed][2]] for seed in RANDOM}
    comparison = comparison_of({"random": RANDOM, "vote_entropy": BETTER, "once": once, "alone": {0: [0.2, 0.3, 0.3]}})
    (axes,) = drawn(figures.penalties(comparison)).axes
    assert texts(axes) == {
        ("random", "once"): "0.00", ("random", "vote entropy"): "0.00",
        ("once", "random"): "0.50", ("once", "vote entropy"): "0.00",
        ("vote entropy", "random"): "1.00", ("vote entropy", "once"): "0.50",
        ("beaten, mean", "random"): "0.75", ("beaten, mean", "once"): "0.25", ("beaten, mean", "vote entropy"): "0.00",
    }  # fmt: skip


def test_class_gains_are_points_bold_if_and_only_if_the_interval_excludes_zero(rich: Comparison):
    (axes,) = drawn(figures.class_gains(rich)).axes
    written = texts(axes)
    assert len(written) == 10
    assert written["better", "road"] == "+10.0"
    assert written["better", "car"] == "-22.0"
    bold = {key for key, text in zip(written, axes.texts, strict=True) if text.get_fontweight() == "bold"}
    assert bold == {("better", "road"), ("better", "car"), ("vote entropy", "road")}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["car", "road"], "by name"


@pytest.mark.parametrize("seeds", [1, 3])
def test_class_gains_without_intervals_or_values_are_drawn_too(seeds: int):
    curves = {name: {seed: of[seed] for seed in range(seeds)} for name, of in (("random", RANDOM), ("mixed", MIXED))}

    def gone(rows: pd.DataFrame) -> pd.Series:
        return rows["miou"].where((rows["query"] == "random") & (rows["seed"] == 0))

    comparison = comparison_of(curves, iou_a=lambda rows: rows["miou"], iou_b=gone)
    (axes,) = drawn(figures.class_gains(comparison)).axes
    assert list(texts(axes)) == [("mixed", "a")]
    assert {text.get_fontweight() for text in axes.texts} == {"normal"}


def test_class_gains_of_which_none_is_known_are_drawn_empty():
    def gone(rows: pd.DataFrame) -> pd.Series:
        return rows["miou"].where(rows["query"] == "random")

    (axes,) = drawn(figures.class_gains(comparison_of({"random": RANDOM, "mixed": MIXED}, iou_b=gone))).axes
    assert not axes.texts


def test_acquired_classes_are_shares_of_the_pools_shares(acquired: pd.DataFrame):
    (axes,) = drawn(figures.acquired_classes(acquired, "d m")).axes
    assert texts(axes) == {
        ("random", "road"): "1.00", ("random", "car"): "1.00",
        ("vote entropy", "road"): "0.75", ("vote entropy", "car"): "2.00",
    }  # fmt: skip
    assert axes.collections[0].norm.vmax == pytest.approx(4)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["road", "car"], "rare ones last"


def test_nothing_acquired_beyond_the_start_is_drawn_too(acquired: pd.DataFrame):
    nothing = acquired.assign(mean=acquired["mean"].where(acquired["query"].isin(["pool", "chance"]), 0))
    (axes,) = drawn(figures.acquired_classes(nothing, "d m")).axes
    assert set(texts(axes).values()) == {"0.00"}


def test_a_class_that_was_never_acquired_looks_unlike_one_that_is_as_frequent_as_in_the_pool(acquired: pd.DataFrame):
    never = (acquired["query"] == "vote_entropy") & (acquired["name"] == "car")
    (axes,) = drawn(figures.acquired_classes(acquired.assign(mean=acquired["mean"].mask(never, 0)), "d m")).axes
    cells = dict(zip(texts(axes).values(), np.asarray(axes.collections[0].get_facecolor()).tolist(), strict=True))
    assert cells["0.00"] != cells["1.00"]
