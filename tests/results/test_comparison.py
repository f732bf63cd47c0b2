"""Comparisons of fake runs: numbers by hand, refusals in one line, and what is left when something is missing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import finished_full_run, finished_run, finished_runs_of
from scipy import stats

from alutils.errors import DataError, ParameterError
from alutils.results import comparison_text
from alutils.results.comparison import Comparison, baselines, comparisons_of, curve_table
from alutils.results.publish import publish
from alutils.results.tables import Experiment
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("quick_provenance")

RANDOM = [[0.2, 0.4, 0.6], [0.2, 0.4, 0.5], [0.2, 0.4, 0.7]]  # areas without the start 0.5, 0.45, 0.55
VOTES = [[0.2, 0.5, 0.7], [0.2, 0.5, 0.6], [0.2, 0.5, 0.7]]  # 0.6, 0.55, 0.6
CURVES = {"random": RANDOM, "vote_entropy": VOTES}
FULL = [0.6, 0.5, 0.7]


def compared(baseline: str = "random") -> Comparison:
    """Return the comparison of the only setting."""
    (comparison,) = comparisons_of(Experiment.find("e"), baseline)
    return comparison


def refusal(constructor: Callable[[str], Experiment] = Experiment.find) -> str:
    """Return the one line in which a comparison is refused."""
    with pytest.raises(DataError) as caught:
        comparisons_of(constructor("e"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_areas_gains_and_verdict_by_hand():
    finished_runs_of(CURVES)
    main = compared().by_query
    assert list(main.index) == ["vote_entropy", "random"], "the largest area first"
    assert main.index.name == "query"
    assert list(main.columns) == [
        *("seeds", "area", "gain", "gain_n", "gain_low", "gain_high", "p", "p_holm", "verdict"),
        *("seconds_query", "seconds_train"),
    ]
    assert main["seeds"].tolist() == [3, 3]
    assert main["area"].tolist() == pytest.approx([1.75 / 3, 0.5])
    votes, baseline = main.loc["vote_entropy"], main.loc["random"]
    assert votes["gain"] == pytest.approx(0.25 / 3)  # 0.1, 0.1, 0.05
    half = 4.302653 * 0.05 / 3  # t of 2 degrees of freedom at 0.975; their sd is 0.05 / √3
    assert list(votes[["gain_low", "gain_high"]]) == pytest.approx([0.25 / 3 - half, 0.25 / 3 + half])
    assert votes["gain_n"] == 3
    assert votes["p"] == 0.25, "2 of 8 flips: none and all"
    assert votes["p_holm"] == pytest.approx(1 - 5 / 27**0.5), "t is 5, of one query; 1 - t / √(2 + t²)"
    assert votes["verdict"] == "ahead of random"
    assert pd.isna([baseline[name] for name in ("gain", "gain_low", "gain_high", "p", "p_holm", "verdict")]).all()


def test_the_baseline_comes_first_then_the_alphabet():
    finished_runs_of({"vote_entropy": VOTES, "badge": VOTES, "random": RANDOM})
    assert compared().queries == ["random", "badge", "vote_entropy"]
    assert compared("vote_entropy").queries == ["vote_entropy", "badge", "random"]


def test_the_order_of_the_rows_does_not_matter():
    finished_runs_of(CURVES, FULL)
    comparison = compared()
    shuffled = replace(comparison, rows=comparison.rows.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(shuffled.by_query, comparison.by_query)
    pd.testing.assert_frame_equal(curve_table(shuffled), curve_table(comparison))


def test_another_baseline_turns_the_gain_around():
    finished_runs_of(CURVES)
    main = compared("vote_entropy").by_query
    assert main.loc["random", "gain"] == pytest.approx(-0.25 / 3)
    assert main.loc["random", "verdict"] == "behind vote_entropy"
    assert pd.isna(main.loc["vote_entropy", "verdict"])


def test_a_baseline_that_no_run_is_of_is_refused():
    finished_runs_of(CURVES)
    with pytest.raises(ParameterError, match=r"^baseline is 'margin'; allowed: random, vote_entropy$"):
        comparisons_of(Experiment.find("e"), "margin")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.10, 0.12, 0.11), "ahead of random"),
        ((-0.10, -0.12, -0.11), "behind random"),
        ((0.10, -0.12, 0.11), "undecided"),
        ((0.01, 0.12, 0.11), "undecided"),
        ((0.001, -0.001, 0.001), "as good as random"),
        ((0, 0, 0), "as good as random"),
    ],
)
def test_of_one_query_the_verdict_is_ahead_or_behind_if_its_interval_excludes_zero(
    gains: tuple[float, ...], verdict: str
):
    finished_runs_of({"random": [[0.5, 0.5]] * 3, "vote_entropy": [[0.5, 0.5 + gain] for gain in gains]})
    votes = compared().by_query.loc["vote_entropy"]
    assert votes["verdict"] == verdict
    assert (votes["gain_low"] <= 0 <= votes["gain_high"]) == (verdict in ("undecided", "as good as random"))


def test_verdicts_are_corrected_over_the_queries_of_a_setting():
    few, gain = [[0.5, 0.5]] * 4, np.array([0.10, 0.02, 0.06, 0.10])  # p is 0.034, of three queries 0.10
    of_query = [[0.5, 0.5 + one] for one in gain]
    nothing = [[0.5, 0.5 + one] for one in (-0.1, 0.1, 0.05, -0.04)]
    finished_runs_of({"random": few, "vote_entropy": of_query})
    assert compared().by_query.loc["vote_entropy", "verdict"] == "ahead of random"
    finished_runs_of({"random": few, "vote_entropy": of_query, "bald": nothing, "margin": nothing})
    votes = compared().by_query.loc["vote_entropy"]
    assert votes["verdict"] == "undecided"
    assert votes["gain_low"] > 0, "the interval is not corrected"
    assert votes["p_holm"] == pytest.approx(3 * stats.ttest_1samp(gain, 0).pvalue)


def test_percent_of_full_is_of_the_means():
    finished_runs_of(CURVES, FULL)
    main = compared().by_query
    assert main.loc["random", "percent_of_full_30"] == pytest.approx(100)
    assert main.loc["vote_entropy", "percent_of_full_30"] == pytest.approx(100 * (2 / 3) / 0.6)
    assert (main["percent_of_full_last"] == main["percent_of_full_30"]).all(), "30 % is the last round here"


@pytest.mark.parametrize(
    ("percents", "at_30"),
    [
        ([15.0, 30.0, 45.0], 40 / 0.6),
        ([15.0, 30.109, 45.0], 40 / 0.6),  # as of 367 images
        ([10.0, 20.0, 40.0], None),
        ([29.6, 30.1, 30.4], 40 / 0.6),  # the nearest
    ],
)
def test_percent_of_full_at_30_is_of_the_budget_next_to_it(percents: list[float], at_30: float | None):
    for seed in range(3):
        finished_run("random", seed, RANDOM[seed], columns={"labelled_percent": percents})
        finished_full_run(seed, FULL[seed])
    row = compared().by_query.loc["random"]
    assert row["percent_of_full_last"] == pytest.approx(100)
    assert row["percent_of_full_30"] == pytest.approx(np.nan if at_30 is None else at_30, nan_ok=True)


def saved_by_hand(share: float, seeds: tuple[int, ...]) -> float:
    """Return what vote entropy saves on these seeds, in percent; curves rise, so they can be read backwards."""
    target, budgets = share * np.mean([FULL[seed] for seed in seeds]), [10, 20, 30]
    random, votes = (np.mean([curves[seed] for seed in seeds], axis=0) for curves in (RANDOM, VOTES))
    return float(np.interp(target, random, budgets) - np.interp(target, votes, budgets))


@pytest.mark.parametrize("percent", [90, 95])
def test_labels_needed_and_saved_by_hand(percent: int):
    finished_runs_of(CURVES, FULL)
    main, share = compared().by_query, percent / 100
    assert main.loc["random", f"needed_{percent}"] == pytest.approx(20 + 10 * (0.6 * share - 0.4) / 0.2)
    assert main.loc["vote_entropy", f"needed_{percent}"] == pytest.approx(20 + 10 * (0.6 * share - 0.5) / (0.5 / 3))
    saved = [main.loc["vote_entropy", f"saved_{percent}{end}"] for end in ("", "_low", "_high")]
    possible = [saved_by_hand(share, seeds) for seeds in product(range(3), repeat=3)]  # each of 1 / 27 > 2.5 %
    assert saved == pytest.approx([saved_by_hand(share, (0, 1, 2)), min(possible), max(possible)])
    assert pd.isna(main.loc["random", f"saved_{percent}"])


def test_full_data_results_of_some_seeds_are_one_target_for_all():
    finished_runs_of(CURVES, FULL[:2])  # 90 % of 0.55
    saved = [compared().by_query.loc["vote_entropy", f"saved_90{end}"] for end in ("", "_low", "_high")]
    possible = []
    for seeds in product(range(3), repeat=3):
        random, votes = (np.mean([curves[seed] for seed in seeds], axis=0) for curves in (RANDOM, VOTES))
        possible.append(np.interp(0.495, random, [10, 20, 30]) - np.interp(0.495, votes, [10, 20, 30]))
    assert saved == pytest.approx([possible[5], min(possible), max(possible)]), "the sixth is of seeds 0, 1 and 2"


def test_labels_that_no_budget_is_enough_for_are_infinite():
    finished_runs_of(CURVES, [0.73] * 3)  # 90 %: 0.657
    main = compared().by_query
    assert main["needed_90"].tolist() == [pytest.approx(20 + 10 * 0.157 / (0.5 / 3)), np.inf]
    assert main.loc["vote_entropy", "saved_90"] == np.inf
    assert main["needed_95"].tolist() == [np.inf, np.inf]
    assert pd.isna(main.loc["vote_entropy", "saved_95"])


def test_the_last_round_does_not_query():
    for query, factor in (("random", 1), ("vote_entropy", 3)):
        seconds = {"seconds_query": [1.0, 3.0, 0.0], "seconds_train": [10.0, 20.0, 60.0]}
        columns = {name: [factor * value for value in values] for name, values in seconds.items()}
        for seed in range(2):
            finished_run(query, seed, RANDOM[seed], columns=columns)
    main = compared().by_query
    assert main["seconds_query"].to_dict() == {"random": 2, "vote_entropy": 6}
    assert main["seconds_train"].to_dict() == {"random": 30, "vote_entropy": 90}


def test_one_shot_queries_in_the_first_round_only():
    finished_run("random", 0, RANDOM[0], regime="one_shot", columns={"seconds_query": [5.0, 0.0, 0.0]})
    assert compared().by_query.loc["random", "seconds_query"] == 5


def test_clicks_are_those_up_to_the_last_round():
    for seed, clicks in enumerate([[100, 200, 300], [100, 200, 500]]):
        finished_run("random", seed, RANDOM[seed], columns={"clicks": clicks, "labelled_pixels": [8, 16, 24]})
        finished_run("vote_entropy", seed, VOTES[seed], columns={"clicks": [7, 8, 9], "labelled_pixels": [8, 16, 24]})
    comparison = compared()
    assert comparison.by_query["clicks"].to_dict() == {"random": 400, "vote_entropy": 9}
    assert comparison.rows["labelled_pixels"].max() == 24
    assert comparison_text.label_table(comparison).loc["random", "clicks in all"] == "400"


def test_digits_beside_scenes_have_no_clicks():
    for seed in range(2):
        finished_run("random", seed, RANDOM[seed], columns={"clicks": [1, 2, 3], "labelled_pixels": [8, 16, 24]})
        finished_run("random", seed, RANDOM[seed], f"digits-{seed}", dataset="digits", model="mnist_cnn")
    of_scenes, of_digits = comparisons_of(Experiment.find("e"))
    assert "clicks" in of_scenes.by_query
    assert "clicks" not in of_digits.by_query


def test_clicks_for_a_share_of_the_full_data_result_are_read_off_the_mean_curve():
    for seed in range(3):
        for query, clicks in (("random", [100, 200, 400]), ("vote_entropy", [10, 20, 30 + 6 * seed])):
            curves = {"random": RANDOM, "vote_entropy": VOTES}[query]
            finished_run(query, seed, curves[seed], columns={"clicks": clicks, "labelled_pixels": [8, 16, 24]})
        finished_full_run(seed, 0.6)
    main = compared().by_query
    assert main.loc["random", "clicks_90"] == pytest.approx(np.interp(0.54, [0.2, 0.4, 0.6], [100, 200, 400]))
    assert main.loc["vote_entropy", "clicks_95"] == pytest.approx(np.interp(0.57, [0.2, 0.5, 2 / 3], [10, 20, 36]))


def test_random_regions_are_compared_with_queries_of_the_same_regions_only():
    regions = "random+windows2x2"
    names = ["random", regions, "bald+power1+windows2x2", "bald+superpixels9", "vote_entropy"]
    finished_runs_of({name: VOTES if "bald" in name else RANDOM for name in names})
    experiment = Experiment.find("e")
    assert baselines(experiment) == ["random", regions]
    of_images, of_regions = (comparisons_of(experiment, name)[0] for name in baselines(experiment))
    assert of_images.queries == sorted(names, key=lambda name: (name != "random", name))
    assert of_regions.queries == [regions, "bald+power1+windows2x2"]
    assert of_regions.by_query.loc["bald+power1+windows2x2", "gain"] == pytest.approx(0.25 / 3)
    with pytest.raises(ParameterError, match=r"^baseline is 'margin\+windows2x2'; .*allowed: bald\+power1\+windows2x2"):
        comparisons_of(experiment, "margin+windows2x2")


def test_regions_start_from_the_same_whole_images_as_images():
    finished_run("random", 0, RANDOM[0], acquired=[[1, 2], [3]])
    finished_run("vote_entropy_regions", 0, VOTES[0], acquired=[[2, 1], [4, 4]], regions=[-1, -1, 0, 3])
    assert compared().by_query.loc["vote_entropy_regions", "gain"] == pytest.approx(0.1)


def test_penalties_leave_out_the_start():
    finished_runs_of({"random": [[0.2, 0.3, 0.3]] * 3, "vote_entropy": [[0.2, 0.3, 0.4], [0.2, 0.31, 0.41]]})
    penalties = compared().penalties
    assert penalties.loc["vote_entropy", "random"] == 0.5, "of two budgets, not of three"
    assert penalties.loc["random", "vote_entropy"] == 0


def test_curves_have_an_interval_at_each_budget():
    finished_runs_of(CURVES)
    table = curve_table(compared())
    at_30 = table[(table["query"] == "random") & (table["labelled_percent"] == 30)]
    half = 4.302653 * 0.1 / 3**0.5
    (ends,) = at_30[["mean", "low", "high"]].to_numpy().tolist()
    assert ends == pytest.approx([0.6, 0.6 - half, 0.6 + half])
    assert len(table) == 6
    assert list(table) == ["query", "labelled", "labelled_percent", "mean", "sd", "n", "low", "high"]


def test_class_gains_by_hand():
    for query, gain in (("random", 0.0), ("vote_entropy", 0.1)):
        for seed in range(2):
            road, car = [0.5, 0.5 + gain], [0.2, 0.2 - gain * (1 + seed)]
            columns = {"iou_road": road, "iou_car": car, "iou_bus": [0.0, 0.0], "category_iou_x": road}
            finished_run(query, seed, [0.3, 0.3], columns=columns)
    assert compared().class_gains.index.tolist() == [0, 1, 2]
    gains = compared().class_gains.set_index(["label", "query"])
    assert list(gains.index) == [(label, "vote_entropy") for label in ("road", "car", "bus")]
    assert gains["mean"].tolist() == pytest.approx([0.1, -0.15, 0])
    assert gains["verdict"].tolist() == ["ahead of random", "undecided", "as good as random"]
    assert gains.loc[("car", "vote_entropy"), "low"] == pytest.approx(-0.15 - 12.7062 * 0.05, rel=1e-4)


def test_a_class_without_a_value_in_one_round_is_left_out_for_that_seed_alone():
    for query, gain in (("random", 0.0), ("vote_entropy", 0.1)):
        for seed in range(3):
            car = [0.2, np.nan] if (query, seed) == ("random", 1) else [0.2, 0.2 + gain * (1 + seed)]
            finished_run(query, seed, [0.3, 0.3], columns={"iou_car": car, "iou_void": [np.nan, np.nan]})
    (gains,) = compared().class_gains.itertuples()
    assert (gains.label, gains.n) == ("car", 2)
    assert gains.mean == pytest.approx(0.2)  # 0.1 of seed 0, 0.3 of seed 2
    assert gains.p == 0.5


def test_digits_have_accuracy_and_no_classes():
    for query, curves in CURVES.items():
        for seed, scores in enumerate(curves):
            finished_run(query, seed, scores, columns={"accuracy": scores, "miou": [np.nan] * 3})
    comparison = compared()
    assert comparison.measure == "accuracy"
    assert comparison.by_query["area"].tolist() == pytest.approx([1.75 / 3, 0.5])
    assert comparison.class_gains.empty
    assert {"label", "low", "high"} <= {*comparison.class_gains}, "as pages read them"


def test_settings_are_compared_apart():
    finished_runs_of(CURVES)
    for seed, scores in enumerate(RANDOM):
        finished_run("random", seed, scores, f"n-{seed}", model="n", regime="incremental", steps=7, device="cuda")
    assert [one.name for one in comparisons_of(Experiment.find("e"))] == ["d m", "d n incremental"]


@pytest.mark.parametrize(("precision", "is_said"), [("bfloat16", True), ("float32", False)])
def test_a_note_says_which_runs_lacked_the_precision_they_asked_for(
    precision: str, is_said: bool, monkeypatch: pytest.MonkeyPatch
):
    finished_run("random", 0, RANDOM[0], precision=precision)
    said = {"versions": {}, "device": "cpu"}
    for seed, has_it in ((1, True), (2, False)):
        monkeypatch.setattr("alutils.runs.folder.provenance", lambda device, has_it=has_it: said | {"bfloat16": has_it})
        finished_run("random", seed, RANDOM[0], precision=precision)
    note = "1 of 3 runs were computed in float32: their processor has no bfloat16."
    assert (note in compared().notes) == is_said


# what is refused

PARAMETERS = {field.name for field in fields(RoundsConfig)} - {
    "experiment",
    "dataset",
    "model",
    "regime",
    "query",
    "seed",
}
FIELDS = sorted(PARAMETERS | {"train_data", "test_data", "device", "start set"})


def runs_that_differ_in(field: str) -> None:
    """Write a run of random and one of vote entropy, at first alike in all that matters."""
    alike: dict[str, Any] = dict.fromkeys(PARAMETERS, 5) | {"train_data": "abc", "acquired": [[1, 2], [3]]}
    others = {"train_data": "xyz", "device": "cuda", "start set": [[1, 4], [3]]}
    finished_run("random", 0, [0.1, 0.2], **alike)
    other = {"acquired" if field == "start set" else field: others.get(field, 6)} if field else {}
    finished_run("vote_entropy", 0, [0.1, 0.2], **(alike | other))


def values_of(field: str) -> tuple[object, object]:
    """Return what stands in the records of the two runs."""
    of = {"device": lambda run: run["provenance"]["device"], "start set": lambda run: run["start_set"]}
    one, other = map(of.get(field, lambda run: run["config"].get(field)), Experiment.of_runs("e").records.values())
    return one, other


@pytest.mark.parametrize("field", FIELDS)
def test_runs_that_differ_in_more_than_query_and_seed_are_refused(field: str, results: Path):
    runs_that_differ_in(field)
    one, other = values_of(field)
    assert one != other
    assert refusal() == (
        f"{results / 'e'}: random-0 has {field} {one!r}, vote_entropy-0 has {other!r};"
        " runs that are compared must agree in it, so move one's folder to another experiment"
    )


@pytest.mark.parametrize("field", FIELDS)
def test_published_runs_that_differ_are_refused(field: str, published: Path, results: Path):
    runs_that_differ_in(field)
    one, other = values_of(field)
    records = Experiment.of_runs("e").records
    for record in records.values():
        record["provenance"]["versions"] = 0
    shutil.rmtree(results)
    runs_that_differ_in("")
    content = json.loads(publish("e")[0].with_suffix(".json").read_text())
    (published / "e.json").write_text(json.dumps(content | {"runs": records}))
    shutil.rmtree(results)
    expected = f"{published / 'e.csv'}: random-0 has {field} {one!r}, vote_entropy-0 has {other!r}; runs that are"
    for constructor in (Experiment.published, Experiment.find):
        assert refusal(constructor).startswith(expected)


def test_a_start_is_of_a_seed():
    for seed in range(2):
        finished_run("random", seed, RANDOM[seed], acquired=[[seed, 7], [3]])
        finished_run("vote_entropy", seed, VOTES[seed], acquired=[[7, seed], [4]])
    assert compared().by_query.loc["vote_entropy", "gain_n"] == 2


def test_queries_of_regions_may_start_elsewhere_than_those_of_images_but_all_alike():
    regions: dict[str, Any] = {"start_query": "random+windows2x2", "regions": [0, 1]}
    finished_run("random", 0, RANDOM[0], acquired=[[1], [3]], start_query="random")
    finished_run("random+windows2x2", 0, RANDOM[0], acquired=[[1], [3]], **regions)
    finished_run("bald+windows2x2", 0, VOTES[0], acquired=[[1], [4]], **regions)
    assert compared().by_query.loc["bald+windows2x2", "gain_n"] == 1
    finished_run("margin+windows2x2", 0, VOTES[0], acquired=[[1], [4]], **(regions | {"regions": [2, 1]}))
    assert "start set" in refusal()
    finished_run("margin+windows2x2", 0, VOTES[0], "again", acquired=[[1], [4]], start_query="random", regions=[-1, 0])
    assert "has start_query 'random'" in refusal()


def test_starts_that_were_not_published_are_not_asked_for(published: Path):
    runs_that_differ_in("start set")
    path = publish("e")[0].with_suffix(".json")
    content = json.loads(path.read_text())
    for record in content["runs"].values():
        del record["start_set"]
    path.write_text(json.dumps(content))
    (comparison,) = comparisons_of(Experiment.published("e"))
    assert comparison.queries == ["random", "vote_entropy"]


def test_a_published_table_says_what_its_runs_say(published: Path, results: Path):
    finished_runs_of(CURVES, FULL, acquired=[[1], [2]])
    of_runs = compared()
    publish("e")
    shutil.rmtree(results)
    of_table = compared()
    assert of_table.notes == of_runs.notes == []
    pd.testing.assert_frame_equal(of_table.by_query, of_runs.by_query, atol=1e-5)


def test_an_unknown_experiment_is_one_line_that_names_those_there(published: Path, results: Path):
    finished_run("random", 0, [0.1], experiment="e2")
    finished_run("random", 0, [0.1], experiment="e1")
    publish("e1")
    shutil.rmtree(results / "e1")
    assert refusal() == f"'e' has no finished run in {results} and no published table; did you mean e2? known: e1, e2"


def test_trainings_without_rounds_are_not_compared(results: Path):
    finished_full_run(0, 0.9)
    assert refusal().startswith(f"{results / 'e'}: no finished rounds; ")


# the reference: training on all labels


def test_the_same_recipe_on_all_labels_is_the_reference():
    finished_runs_of(CURVES, FULL)
    comparison = compared()
    assert comparison.full.to_dict() == dict(enumerate(FULL))
    assert comparison.notes == []


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"steps": 4}, "steps"),
        ({"steps": 4, "test_data": "xyz"}, "steps, test_data"),
        ({"steps": 6, "test_data": "xyz"}, "test_data"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_another_training_on_all_labels_is_no_reference(other: dict[str, Any], named: str):
    finished_runs_of(CURVES, steps=5, test_data="abc", start=10.0)
    for seed in range(3):
        finished_full_run(seed, FULL[seed], **({"steps": 5, "test_data": "abc"} | other))
    comparison = compared()
    assert comparison.full.empty
    assert comparison.notes == [f"No full-data result: a training on all labels had another {named}."]
    assert not {"needed_90", "saved_90", "percent_of_full_30"} & {*comparison.by_query}


def test_the_best_training_on_all_labels_is_the_reference():
    finished_runs_of(CURVES, steps=5, epochs=1)
    for seed, steps in product(range(3), (5, 40, 20, 80)):
        score = FULL[seed] if steps == 40 else 0.1
        finished_full_run(seed, score, name=f"all-{steps}-{seed}", steps=steps, epochs=1)
    comparison = compared()
    assert comparison.full.to_dict() == dict(enumerate(FULL))
    assert comparison.notes == ["The full-data result is of 40 steps and 3 seeds; a round has 5 steps."]


def test_one_training_of_several_that_differs_is_enough():
    finished_runs_of(CURVES)
    finished_full_run(0, 0.6)
    finished_full_run(1, 0.6, device="cuda")
    assert compared().full.empty


def test_without_a_training_on_all_labels_a_note_says_so():
    finished_runs_of(CURVES)
    finished_full_run(0, 0.9, model="n")
    comparison = next(one for one in comparisons_of(Experiment.find("e")) if one.name == "d m")
    assert comparison.notes == ["No full-data result: no finished training on all labels."]


def test_a_share_of_the_labels_is_no_reference():
    finished_runs_of(CURVES)
    finished_run("random", 0, [0.9], "share", kind="bulk", regime=None, share=10.0, skip=0.0)
    assert compared().full.empty


def test_a_network_trained_on_has_no_reference():
    finished_runs_of(CURVES, FULL, regime="incremental")
    comparison = compared()
    assert comparison.full.empty
    assert comparison.notes == [
        "No full-data result: incremental rounds do not train as one training on all labels does."
    ]


def test_each_regime_is_held_against_the_reference_by_its_own_recipe():
    for regime, steps in (("from_scratch", 4), ("one_shot", 6)):
        finished_run("random", 0, RANDOM[0], f"{regime}-random-0", regime=regime, steps=steps)
    finished_full_run(0, 0.6, steps=5)
    anew, one_shot = comparisons_of(Experiment.find("e"))
    assert anew.full.tolist() == [0.6]
    assert one_shot.full.empty
    assert one_shot.notes[0] == "No full-data result: a training on all labels had another steps."


def test_a_reference_of_other_seeds_is_taken_as_its_mean():
    finished_runs_of(CURVES)
    finished_full_run(8, 0.5)
    finished_full_run(9, 0.7)
    comparison = compared()
    assert comparison.full.to_dict() == {8: 0.5, 9: 0.7}
    assert comparison.by_query.loc["random", "percent_of_full_last"] == pytest.approx(100)
    assert comparison.by_query.loc["vote_entropy", "saved_90"] == pytest.approx(saved_by_hand(0.9, (0, 1, 2)))


# what is missing

ALONE = "No intervals, no tests: no query shares two seeds with the baseline, so nothing can be told from chance."
POOR: dict[str, tuple[dict[str, dict[int, list[float]]], list[str]]] = {
    "no baseline": (
        {"badge": {0: RANDOM[0], 1: RANDOM[1]}, "vote_entropy": {0: VOTES[0], 1: VOTES[1]}},
        ["No gains: no finished rounds of random, only of badge, vote_entropy."],
    ),
    "one query": ({"random": {0: RANDOM[0], 1: RANDOM[1]}}, ["No gains: random is the only query."]),
    "another query alone": (
        {"badge": {0: RANDOM[0]}},
        ["No gains: no finished rounds of random, only of badge."],
    ),
    "one seed": ({"random": {0: RANDOM[0]}, "vote_entropy": {0: VOTES[0]}}, [ALONE]),
    "one seed shared": (
        {"random": {0: RANDOM[0], 1: RANDOM[1]}, "vote_entropy": {1: VOTES[1], 2: VOTES[2]}},
        ["vote_entropy shares 1 of 3 seeds with random.", ALONE],
    ),
    "a query that shares none": (
        {"random": dict(enumerate(RANDOM)), "badge": {5: VOTES[0]}, "vote_entropy": dict(enumerate(VOTES))},
        ["badge shares 0 of 4 seeds with random."],
    ),
    "one round": ({"random": {0: [0.2], 1: [0.3]}, "vote_entropy": {0: [0.2], 1: [0.3]}}, []),
}
SENTENCES = [getattr(comparison_text, name) for name in vars(comparison_text) if name.startswith("read_")]
OF_ACQUIRED = {comparison_text.read_near_duplicates}


@pytest.fixture(params=POOR)
def poor(request: pytest.FixtureRequest) -> Comparison:
    """Return a comparison in which something is missing."""
    curves, _ = POOR[request.param]
    for query, of_seeds in curves.items():
        for seed, scores in of_seeds.items():
            finished_run(query, seed, scores, columns={"iou_a": scores})
    return compared()


@pytest.mark.parametrize("poor", POOR, indirect=True)
def test_what_is_missing_is_noted(poor: Comparison, request: pytest.FixtureRequest):
    _, notes = POOR[request.node.callspec.params["poor"]]
    assert poor.notes == ["No full-data result: no finished training on all labels.", *notes]


@pytest.mark.parametrize("has_full", [False, True])
def test_what_is_missing_leaves_tables_and_sentences(poor: Comparison, has_full: bool):
    if has_full:
        finished_full_run(0, 0.6)
        poor = compared()
    assert len(poor.full) == has_full
    assert set(poor.by_query.index) == set(poor.queries)
    said = [read(poor) for read in SENTENCES if read not in OF_ACQUIRED]
    assert len(said) == 2
    assert all(text.endswith(".") and len(text) > 15 for text in said)
    tables = [table(poor).to_string() for table in (comparison_text.score_table, comparison_text.label_table)]
    assert not [text for text in [*said, *tables] if "nan" in text.lower()]


@pytest.mark.parametrize("name", ["one seed", "one seed shared"])
def test_one_seed_has_gains_but_no_verdict_that_could_be_chance(name: str):
    for query, of_seeds in POOR[name][0].items():
        for seed, scores in of_seeds.items():
            finished_run(query, seed, scores)
    row = compared().by_query.loc["vote_entropy"]
    assert row["gain"] == pytest.approx(0.1)
    assert row[["gain_low", "gain_high", "p", "p_holm"]].isna().all()
    assert row["verdict"] == "undecided"


def test_gains_are_of_shared_seeds_and_areas_of_all():
    finished_runs_of({"random": RANDOM[:2], "vote_entropy": VOTES})
    comparison = compared()
    votes = comparison.by_query.loc["vote_entropy"]
    assert (votes["seeds"], votes["gain_n"]) == (3, 2)
    assert votes["area"] == pytest.approx(1.75 / 3)
    assert votes["gain"] == pytest.approx(0.1)
    assert comparison.notes[1:] == ["vote_entropy shares 2 of 3 seeds with random."]


@pytest.mark.parametrize(
    ("seeds", "seeds_of_votes", "shared"),
    [((0, 1), (0, 1, 2), (0, 1)), ((0, 1, 2), (0, 1), (0, 1)), ((0, 1, 2), (1, 2, 3), (1, 2)), ((3, 1), (1, 0), (1,))],
)
def test_labels_are_saved_on_shared_seeds(
    seeds: tuple[int, ...], seeds_of_votes: tuple[int, ...], shared: tuple[int, ...]
):
    """Also where both have as many seeds, but others: pairing them by position would give another number."""
    for query, curves, of in (("random", RANDOM, seeds), ("vote_entropy", VOTES, seeds_of_votes)):
        for seed in of:
            finished_run(query, seed, curves[seed % 3])
    for seed, score in enumerate(FULL):
        finished_full_run(seed, score)
    votes = compared().by_query.loc["vote_entropy"]
    assert votes["saved_90"] == pytest.approx(saved_by_hand(0.9, shared))
    gains = [np.trapezoid(np.subtract(VOTES[seed], RANDOM[seed])[1:]) for seed in shared]
    assert (votes["gain"], votes["gain_n"]) == (pytest.approx(np.mean(gains)), len(shared))


def test_queries_that_share_no_seed_with_the_baseline_are_refused():
    finished_run("random", 0, RANDOM[0])
    finished_run("random", 3, RANDOM[0])
    finished_run("badge", 2, VOTES[0])
    finished_run("vote_entropy", 1, VOTES[0])
    assert refusal() == (
        "d m: random has seeds 0, 3, badge, vote_entropy have 1, 2; queries that are compared must share some"
    )


def test_unfinished_runs_are_not_compared():
    finished_runs_of(CURVES)
    (RunFolder("e", "vote_entropy-2").path / "provenance.json").unlink()
    assert compared().by_query.loc["vote_entropy", "seeds"] == 2
