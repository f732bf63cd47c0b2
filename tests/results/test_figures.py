"""Pictures of labels and scenes, checked pixel by pixel where that says something."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alutils.datasets import ImageDataset, load_dataset
from alutils.queries.query import QUERIES
from alutils.results.analysis import least_and_most_sure, score_histograms
from alutils.results.figures import curves, digits, scenes, style, thesis
from alutils.results.figures.style import query_styles
from alutils.results.maps import SavedMaps
from alutils.results.thesis import committee_gain, thesis_points


def test_names_are_written_with_spaces_but_the_name_of_a_file():
    assert style.words("vote_entropy+diverse4") == "vote entropy + diverse4"
    assert style.words("my_scores.py:second_best+top0.1") == "my_scores.py:second_best + top0.1"


def test_labels_get_their_colours_and_void_is_black():
    painted = scenes.paint_labels(np.array([[0, 1], [255, 1]]), [(1, 2, 3), (4, 5, 6)])
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0], [4, 5, 6]]]


def test_an_overlay_mixes_halves_and_leaves_void_alone():
    image = np.full((3, 1, 2), 200, np.uint8)
    mixed = scenes.overlay(image, np.array([[0, 255]], np.uint8), [(100, 0, 50)])
    assert mixed.tolist() == [[[150, 100, 125], [200, 200, 200]]]


def test_class_shares_sum_to_100_without_void(tiny_scenes: ImageDataset):
    shares = scenes.class_shares(tiny_scenes)
    counted = tiny_scenes.labels[tiny_scenes.labels != 255]
    assert shares["b"] == pytest.approx(100 * (counted == 1).mean())
    assert shares.sum() == pytest.approx(100)


@pytest.mark.slow
def test_figures_are_written_as_png_and_pdf(tiny_scenes: ImageDataset, tmp_path: Path):
    path = style.save(scenes.class_share_bars(tiny_scenes), tmp_path / "new" / "shares.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_each_round_has_a_row_of_the_images_that_it_labelled(tiny_scenes: ImageDataset):
    acquired = pd.DataFrame({"round": [0, 0, 1, 1, 1], "index": [3, 1, 5, 5, 7]})
    figure = scenes.images_by_round(tiny_scenes, acquired, most=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["round 0: the start", "", "", "round 1", "", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0, 1, 1, 0], "an image is shown once a round"


def test_labelled_regions_are_shown_in_the_colour_of_their_round(tiny_scenes: ImageDataset):
    maps = np.zeros((12, 24, 32), int)
    maps[:, :, 16:] = 1
    rows = {"round": [0, 0, 1, 1, 2], "index": [3, 5, 5, 3, 7], "region": [-1, 0, 1, 1, 0]}
    acquired = pd.DataFrame(rows).drop(index=3)
    assert (scenes.rounds_of_pixels(acquired[acquired["index"] == 3], maps[3]) == 0).all(), "the whole image"
    of_five = scenes.rounds_of_pixels(acquired[acquired["index"] == 5], maps[5])
    assert of_five.tolist() == maps[5].tolist(), "the left half in round 0, the right one in round 1"
    figure = scenes.regions_by_round(tiny_scenes, acquired, maps, most=2)
    above, below = figure.axes[:2], figure.axes[2:4]
    assert above[0].get_title() == "scene05", "it has the most regions"
    figure = scenes.regions_by_round(tiny_scenes, acquired[acquired["index"] == 7], maps)
    shown = np.asarray(figure.axes[1].images[0].get_array())
    dark = tiny_scenes.images[7].transpose(1, 2, 0) // 4
    assert (shown[:, 16:] == dark[:, 16:]).all(), "what is not labelled is dark"
    assert (shown[:, :16] != dark[:, :16]).any(axis=-1).all()
    assert len(below) == 2


def test_committee_maps_share_one_scale(tiny_scenes: ImageDataset):
    maps = {"low": np.full((24, 32), 0.1), "high": np.full((24, 32), 1.0)}
    figure = scenes.scene_with_maps(tiny_scenes, 0, tiny_scenes.labels[0], maps, limit=1.0)
    shown = [axes.images[0].get_clim() for axes in figure.axes[3:5]]
    assert shown == [(0, 1), (0, 1)]
    assert "0.100 bits" in figure.axes[3].get_title()


@pytest.fixture
def maps() -> SavedMaps:
    """Return one scene of 4x6 pixels, its maps the larger the higher the rate."""
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    scores = {(name, rate): pixels * rate for name in ("vote_entropy", "consensus_entropy") for rate in (0.2, 0.9)}
    image = np.stack([pixels * 9, pixels, pixels])
    return SavedMaps("there", 0.4, [(255, 0, 0), (0, 255, 0)], image, pixels % 2, pixels // 2 % 2, scores)


def test_dropout_rates_share_a_scale_in_a_row_and_say_the_sum(maps: SavedMaps):
    figure = scenes.scene_by_dropout_rate(maps)
    titles = [axes.get_title() for axes in figure.axes]
    assert "scene there" in titles
    assert "vote entropy at 20 %: 55 bits" in titles  # 0.2 * 276
    assert "consensus entropy at 90 %: 248 bits" in titles
    shown = [axes.images[0].get_clim() for axes in figure.axes if " at " in axes.get_title()]
    assert shown == [(0, pytest.approx(0.9 * 23))] * 4


def test_a_label_map_is_exactly_its_colours_enlarged(maps: SavedMaps, tmp_path: Path):
    path = style.save(scenes.label_map(maps, (60, 40)), tmp_path / "map.png")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    expected = scenes.paint_labels(maps.prediction, maps.colours).repeat(10, axis=0).repeat(10, axis=1)
    assert (pixels == expected).all()


def test_a_scene_and_its_label_stand_side_by_side(maps: SavedMaps):
    photo, mixed = scenes.scene_with_label(maps).axes
    assert np.array_equal(np.asarray(photo.images[0].get_array()), maps.image.transpose(1, 2, 0))
    assert np.array_equal(np.asarray(mixed.images[0].get_array()), scenes.overlay(maps.image, maps.label, maps.colours))


def test_a_transfer_matrix_writes_each_gain_into_its_cell():
    gains = pd.DataFrame({"a": {"a": 0.01, "b": -0.002}, "b": {"a": 0.0, "b": 0.03}})
    axes = thesis.transfer_matrix(gains).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "+0.0100", (1.5, 0.5): "+0.0000", (0.5, 1.5): "-0.0020", (1.5, 1.5): "+0.0300"}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]


def digits_scored() -> tuple[dict[str, object], np.ndarray]:
    config = {"dataset": "digits", "model": "mnist_cnn", "regime": "incremental", "query": "vote_entropy", "seed": 0}
    return config, np.linspace(0, 2, 2 * 60, dtype=np.float32).reshape(2, 60)


def test_histograms_have_a_line_a_round_and_a_panel_a_query():
    config, scores = digits_scored()
    histograms = score_histograms([(config, scores), (config | {"query": "consensus_entropy"}, scores)])
    figure = digits.entropy_histograms(histograms)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["consensus entropy", "vote entropy"]
    assert all(len(axes.patches) == 2 for axes in panels.values())
    assert panels["vote entropy"].patches[0].get_data().values.sum() == 60  # type: ignore[attr-defined]


def test_sure_digits_say_class_and_entropy():
    config, scores = digits_scored()
    dataset = load_dataset("digits", "train")
    figure = digits.sure_digits(dataset, least_and_most_sure(config, scores))
    assert len(figure.axes) == 20
    assert figure.axes[0].get_title() == f"{dataset.labels[59]}: 2.00"
    assert figure.axes[10].get_title() == f"{dataset.labels[0]}: 1.01"


def test_rows_of_digits_are_the_first_ones():
    dataset = load_dataset("digits", "train")
    shown = [axes.images[0].get_array() for axes in digits.digit_rows(dataset, rows=2, columns=5).axes]
    assert np.array_equal(np.stack(shown), dataset.images[:10, 0])  # type: ignore[arg-type]


def test_regimes_stand_side_by_side_on_one_scale():
    rows = pd.DataFrame(
        [
            {"regime": regime, "query": "random", "seed": seed, "labelled": n, "accuracy": n / 100 + seed / 10}
            for regime in ("incremental", "new_data_only")
            for seed in (0, 1)
            for n in (10, 20)
        ]
    ).assign(kind="rounds", labelled_percent=1.0, order_model=None, skip=np.nan)
    left, right = curves.regime_curves(rows).axes
    assert [left.get_title(), right.get_title()] == ["incremental", "new data only"]
    assert left.get_ylim() == right.get_ylim()
    assert np.asarray(left.lines[0].get_ydata()) == pytest.approx([0.15, 0.25])
    shade = left.collections[0].get_paths()[0].get_extents()
    assert (shade.y0, shade.y1) == (pytest.approx(0.15 - 0.005**0.5), pytest.approx(0.25 + 0.005**0.5))


def test_the_figure_shows_means_whiskers_and_the_line_of_all_labels():
    points = [("random", 0, 0.2), ("random", 1, 0.4), ("vote_entropy", 0, 0.5), ("vote_entropy", 1, 0.5)]
    rows = [
        {"query": query, "seed": seed, "labelled": labelled, "miou": miou}
        for query, seed, last in points
        for labelled, miou in ((10, 0.1), (20, last))
    ]
    rows.append({"query": "all", "seed": 0, "labelled": 100, "miou": 0.9})
    table = pd.DataFrame(rows).assign(kind="rounds", dataset="d", model="m", regime="from_scratch")
    table = table.assign(labelled_percent=1.0 * table["labelled"], order_model=None, skip=np.nan)
    axes = curves.learning_curves(table).axes[0]
    handles, labels = axes.get_legend_handles_labels()
    lines = dict(zip(labels, (getattr(handle, "lines", (handle,))[0] for handle in handles), strict=True))
    assert sorted(lines) == ["all labels", "random", "vote entropy"]
    assert list(lines["random"].get_ydata()) == pytest.approx([0.1, 0.3])
    assert list(lines["all labels"].get_ydata()) == [0.9, 0.9]
    assert not set(lines["random"].get_xdata()) & set(lines["vote entropy"].get_xdata()), "whiskers would overlap"


def test_the_thesiss_figure_writes_gains_above_and_slopes_below():
    points = thesis_points("bulk_all")
    (axes,) = thesis.bulk_comparison({"thesis": points}).axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert {f"{gain:+.4f}" for gain in committee_gain(points)} <= set(texts)
    assert "0.00194 / %" in texts or "0.00193 / %" in texts
    x, y = texts[f"{committee_gain(points)[20]:+.4f}"]
    at_20 = points[points["percent"] == 20]
    assert x == 20
    assert y > at_20["mean"].max()
    low, high = axes.get_ylim()
    assert all(low < y < high for _, y in texts.values())


def test_the_thesiss_figure_has_one_scale_for_all_shares_where_ours_has_one_share_only():
    points = thesis_points("bulk_all")
    left, right = thesis.bulk_comparison({"thesis": points, "ours": points[points["percent"] == 30]}).axes
    assert list(right.get_xticks()) == list(left.get_xticks()) == [20, 30, 40, 70]
    assert right.get_xlim() == left.get_xlim()
    (alone,) = thesis.bulk_comparison({"ours": points[points["percent"] == 30]}).axes
    assert alone.get_xlim() == (26, 34), "the points stand together, and their gain above them"


def test_the_thesiss_figure_shows_the_line_of_all_labels_where_no_share_is_finished():
    points = thesis_points("bulk_all")
    (axes,) = thesis.bulk_comparison({"ours": points[points["query"] == "all"]}).axes
    assert [line.get_label() for line in axes.lines] == ["all labels"]


def test_a_query_has_one_colour_in_all_figures_and_no_two_of_a_figure_share_one():
    alone = {name: query_styles([name])[name] for name in QUERIES}
    assert len({style["color"] for style in alone.values()}) == len(QUERIES)
    assert all(query_styles(QUERIES)[name] == style for name, style in alone.items())
    modified = [f"vote_entropy+windows{size}x{size}" for size in range(1, 6)] + ["bald", "margin", "random"]
    styles = query_styles(modified)
    assert len({styles[name]["color"] for name in modified}) == len(modified)
    assert styles["bald"] == alone["bald"]
    assert query_styles(["vote_entropy+diverse4"]) == query_styles(["vote_entropy+diverse4", "random"])
