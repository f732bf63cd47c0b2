"""An opened run says what its networks said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import BULK
from explored import DIGITS, REGIONS, SCENES, finished, opened

from alutils.datasets import ImageDataset
from alutils.errors import DataError, ParameterError
from alutils.explorer.opened import OpenedRun, comparable, opened_runs
from alutils.queries.query import parse_query
from alutils.queries.scores import SCORES
from alutils.queries.scoring import score_maps
from alutils.runs import data
from alutils.runs.bulk import run_bulk
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder
from alutils.runs.kept import committee_of_round, kept_networks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_provenance")]
of_tiny_scenes = pytest.mark.usefixtures("tiny_everywhere")


@of_tiny_scenes
@pytest.mark.parametrize("config", [SCENES, replace(SCENES, query="margin"), replace(SCENES, query="bald+ensemble2")])
def test_a_look_shows_what_the_round_scored(config):
    run = opened(config)
    networks = kept_networks(config, run.run, 1, run.train_set)
    asked = committee_of_round(config, parse_query(config.query if config.query != "margin" else "bald"), networks, 1)
    prediction, maps = score_maps(asked, run.train_set, 5, config, list(SCORES))
    look = run.look(1, "train", 5)
    assert (look.prediction == prediction).all()
    for name, expected in maps.items():
        np.testing.assert_allclose(run.score_map(look, name), expected, atol=1e-5)


@of_tiny_scenes
def test_predictions_of_a_round_give_its_mean_iou():
    run = opened(SCENES)
    for number, miou in enumerate(run.rounds["miou"]):
        labels = run.test_set.labels
        found = np.stack([run.look(number, "test", index).prediction for index in range(len(labels))])
        ious = []
        for class_ in range(3):
            counted = labels != 255
            both = ((found == class_) & (labels == class_))[counted].sum()
            either = ((found == class_) | (labels == class_))[counted].sum()
            ious += [both / either] if either else []
        # asked one by one instead of in batches, a pixel between two classes may fall to the other one: 1 of 9,216
        assert np.mean(ious) == pytest.approx(miou, abs=1e-3)


@of_tiny_scenes
def test_what_was_chosen_and_labelled():
    run = opened(SCENES)
    order = run.acquired["index"].tolist()
    assert [run.chosen(number) for number in range(3)] == [order[3:6], order[6:9], []]
    assert [run.labelled(number) for number in range(3)] == [order[:3], order[:6], order[:9]]
    assert run.regions(order[0], [0]) is None


@of_tiny_scenes
def test_regions_lie_where_they_were_labelled():
    run = opened(REGIONS)
    row = run.acquired[run.acquired["round"] == 1].iloc[0]
    found = run.regions(row["index"], [1])
    assert found is not None
    assert (found[np.asarray(run.region_maps)[row["index"]] == row["region"]] == row["region"] + 1).all()
    of_image = run.acquired[(run.acquired["index"] == row["index"]) & (run.acquired["round"] == 1)]
    assert set(np.unique(found)) - {0} == {region + 1 for region in of_image["region"]}
    start = run.acquired.iloc[0]
    assert np.all(run.regions(start["index"], [0]) == 1), "the start is of whole images"


@of_tiny_scenes
def test_a_colour_scale_ends_at_the_most_that_a_score_can_be():
    run = opened(SCENES)  # 3 classes, 4 members
    most = {"consensus_entropy": np.log2(3), "vote_entropy": np.log2(3), "mutual_information": np.log2(3)}
    most |= {"variation_ratio": 2 / 3, "least_confidence": 2 / 3, "margin": 1}
    assert {name: run.limit(name) for name in SCORES} == pytest.approx(most)
    alone = opened(replace(SCENES, committee_members=1))
    assert alone.limit("vote_entropy") == 1, "one member never disagrees"
    assert next(iter(opened(replace(SCENES, query="bald")).scores)) == "mutual_information", "a query's own comes first"


@of_tiny_scenes
def test_a_score_of_ones_own_is_shown_first(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def doubled(vote_share):\n    return 2 * (1 - vote_share.amax(dim=1))\n")
    run = finished(replace(SCENES, query="mine.py:doubled"))
    assert [*run.scores] == ["mine.py:doubled", *SCORES]
    look = run.look(0, "train", 0)
    own = run.score_map(look, "mine.py:doubled")
    np.testing.assert_allclose(own, 2 * run.score_map(look, "variation_ratio"), atol=1e-6)
    shown = [run.score_map(run.look(0, "train", index), "mine.py:doubled").max() for index in range(8)]
    assert run.limit("mine.py:doubled") == pytest.approx(max(shown))
    finished(replace(SCENES, query="random"))
    together = opened_runs("e").values()
    assert all("mine.py:doubled" in one.scores for one in together), "a score of one can be looked at in all"


def test_of_digits_every_member_is_known():
    run = opened(DIGITS)
    look = run.look(1, "test", 3)
    assert look.members.shape == (4, 10)
    np.testing.assert_allclose(look.members.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(look.statistics["mean_probability"][0], look.members.mean(axis=0), atol=1e-5)
    votes = torch.nn.functional.one_hot(torch.from_numpy(look.members).argmax(1), 10).float().mean(0)
    np.testing.assert_allclose(look.statistics["vote_share"][0], votes)
    miou = run.rounds["accuracy"].iloc[1]
    predicted = [run.look(1, "test", index).prediction[0] for index in range(len(run.test_set))]
    assert np.mean(np.array(predicted) == run.test_set.labels) == pytest.approx(miou)


@of_tiny_scenes
def test_runs_of_one_seed_and_recipe_can_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch):
    configs = [
        SCENES,
        replace(SCENES, query="random"),
        replace(SCENES, seed=1),
        replace(SCENES, epochs=1, query="bald"),
    ]
    for config in configs:
        finished(config)
    runs = opened_runs("e")
    assert comparable(runs[SCENES.run_name], runs.values()) == [configs[1].run_name]
    asked = list[str]()

    def load(config: RoundsConfig, split: str) -> ImageDataset:
        asked.append(split)
        return data.load_split(config, split)

    monkeypatch.setattr("alutils.explorer.opened.load_split", load)
    assert len({id(run.train_set) for run in runs.values()}) == 1
    assert asked == ["train"], "runs share a data set, which a GPU then keeps once"


@of_tiny_scenes
def test_what_cannot_be_opened_is_one_line(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ParameterError, match="experiment nowhere has no finished run of rounds"):
        opened_runs("nowhere")
    run_bulk(BULK)
    with pytest.raises(
        ParameterError, match="experiment e has no finished run of rounds; allowed: one that notebook 03"
    ):
        opened_runs("e")
    with pytest.raises(ParameterError, match="is a bulk training; allowed"):
        OpenedRun(RunFolder("e", BULK.run_name))
    with pytest.raises(ParameterError, match="is no finished run; allowed"):
        OpenedRun(RunFolder("e", "never"))
    run = finished(SCENES)
    changed = replace(tiny_scenes, fingerprint="0" * 64)
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: changed)
    again = OpenedRun(run.run)
    with pytest.raises(DataError, match="had other images or labels than tiny has now"):
        _ = again.train_set
