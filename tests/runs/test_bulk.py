"""Bulk training on shares of orders, end to end on a data set of twelve scenes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import BULK, ROUNDS

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.runs import networks
from alutils.runs.bulk import load_bulk_model, run_bulk
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import run_rounds
from alutils.training.loop import measure_on_test_set, predict

pytestmark = pytest.mark.usefixtures("tiny_everywhere")


def test_an_order_of_regions_is_no_order_of_images():
    rounds = replace(ROUNDS, query="bald+windows2x2")
    run_rounds(rounds)
    with pytest.raises(ParameterError, match="a share of an order is of whole images, not of regions"):
        run_bulk(replace(BULK, query=rounds.query))


@pytest.mark.slow
def test_void_may_be_a_class_of_its_own(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    config = replace(BULK, void_class=True, keep_model=True, epochs=20, share=100.0, augmentation="none")
    row = run_bulk(config).iloc[0]
    model = load_bulk_model(config, tiny_scenes)
    predicted = torch.cat([predictions for predictions, _ in predict(model, tiny_scenes, config)])
    assert set(predicted.unique().tolist()) == {0, 1, 2, 3}
    counted = torch.from_numpy(tiny_scenes.labels) != 255
    assert row["accuracy"] == (predicted == torch.from_numpy(tiny_scenes.labels).long())[counted].double().mean().item()
    assert not [name for name in row.index if name.startswith("iou_") and name[-1] not in "abc"]
    without = run_bulk(replace(config, void_class=False, experiment="ignored"))
    assert without["miou"].item() != row["miou"]


@pytest.mark.slow
def test_an_order_is_found_by_its_regime():
    rounds = replace(ROUNDS, regime="incremental")
    run_rounds(rounds)
    config = replace(BULK, query=rounds.query, order_regime="incremental", share=50.0)
    run_bulk(config)
    order = RunFolder("e", rounds.run_name).acquisitions()["index"]
    assert RunFolder("e", config.run_name).acquisitions()["index"].tolist() == order[:6].tolist()
    assert config.run_name == "tiny-unet_small-bulk-consensus_entropy_by_unet_small_incremental-share50-seed0"
    with pytest.raises(ParameterError, match="is no finished run"):
        run_bulk(replace(config, order_regime="from_scratch"))


@pytest.mark.slow
def test_bulk_training_takes_its_share_of_an_order():
    run_rounds(ROUNDS)
    order = RunFolder("e", ROUNDS.run_name).acquisitions()["index"].tolist()
    config = replace(BULK, query="consensus_entropy", skip=25.0, share=50.0)
    assert run_bulk(config)["labelled"].item() == 6
    assert RunFolder("e", config.run_name).acquisitions()["index"].tolist() == order[3:9]
    random = replace(BULK, share=25.0)
    run_bulk(random)
    assert RunFolder("e", random.run_name).acquisitions()["index"].tolist() == order[:3], (
        "a random order begins with the seed's start set"
    )


def test_one_order_may_be_trained_with_several_seeds():
    configs = [replace(BULK, seed=seed, order_seed=1) for seed in (0, 1)]
    scores = [run_bulk(config)["miou"].item() for config in configs]
    images = [RunFolder("e", config.run_name).acquisitions()["index"].tolist() for config in configs]
    assert images[0] == images[1]
    assert scores[0] != scores[1]
    alone = replace(BULK, seed=1)
    assert run_bulk(alone)["miou"].item() == scores[1], "seed 1 on the order of seed 1"
    assert "order_seed" not in RunFolder("e", alone.run_name).config()
    assert configs[0].run_name == "tiny-unet_small-bulk-random-share50-order1-seed0"
    of_query = replace(BULK, query="bald", seed=0, order_seed=7)
    assert of_query.order_run_name == "tiny-unet_small-bald-seed7"


def test_bulk_training_on_all_labels_keeps_its_model_on_request(tiny_scenes: ImageDataset):
    config = replace(BULK, query="all", share=100.0, keep_model=True)
    row = run_bulk(config).iloc[0]
    assert row["labelled"] == 12
    model = load_bulk_model(config, tiny_scenes)
    measures = measure_on_test_set(model, tiny_scenes, config).measures
    assert measures["miou"] == row["miou"]
    with pytest.raises(ParameterError, match="keep_model"):
        load_bulk_model(BULK, tiny_scenes)


@pytest.mark.slow
def test_an_order_that_is_missing_or_too_short_is_one_line():
    with pytest.raises(ParameterError, match=r"is no finished run; run 03_active_learning_rounds"):
        run_bulk(replace(BULK, query="vote_entropy"))
    run_rounds(ROUNDS)
    with pytest.raises(ParameterError, match=r"share is 12 images .* allowed: 1 to 9"):
        run_bulk(replace(BULK, query="consensus_entropy", share=100.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, "share is 0 percent; allowed: 0.01 to 100"),
        ({"share": 60.0, "skip": 50.0}, "share is 60 percent; allowed: 0.01 to 50"),
        ({"query": "all"}, "share is 50, skip is 0; with query all: 100 and 0"),
        (
            {"query": "all", "share": 100.0, "order_seed": 3},
            "order_seed is 3; with query all, which has no order: None",
        ),
        ({"query": "best"}, "query is 'best'; allowed: all, random"),
    ],
)
def test_impossible_shares_are_one_line(changes: dict[str, Any], message: str):
    with pytest.raises(ParameterError) as caught:
        run_bulk(replace(BULK, **changes))
    assert message in str(caught.value)


@pytest.mark.slow
def test_bulk_training_on_an_order_that_changed_is_done_again(results: Path):
    bulk = replace(BULK, query="vote_entropy")
    run_rounds(replace(ROUNDS, query="vote_entropy"))
    run_bulk(bulk)
    assert not (results / "e" / "superseded").exists()
    run_rounds(replace(ROUNDS, query="vote_entropy", committee_dropout=0.9, learning_rate=0.02))
    run_bulk(bulk)
    assert len(list((results / "e" / "superseded").glob("*bulk*"))) == 1


def test_a_network_that_cannot_be_built_is_noticed_before_there_is_a_folder(results: Path):
    with pytest.raises(ParameterError, match="weights is 'imagenet'; unet_small has none to load"):
        run_bulk(replace(BULK, weights="imagenet"))
    assert not list(results.glob("*"))


def test_a_finished_run_is_read_even_if_its_network_cannot_be_built_any_more(monkeypatch: pytest.MonkeyPatch):
    first = run_bulk(BULK)
    monkeypatch.setattr(networks, "build_model", None)
    assert run_bulk(BULK).equals(first)


def test_a_network_that_cannot_be_built_leaves_a_finished_run_where_it_is(
    results: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: Any, **__: Any) -> None:
        raise ParameterError("its weights cannot be fetched")

    first, other = run_bulk(BULK), replace(BULK, learning_rate=0.5)
    with monkeypatch.context() as without:
        without.setattr(networks, "build_model", refuse)
        with pytest.raises(ParameterError, match="cannot be fetched"):
            run_bulk(other)
        assert not (results / "e" / "superseded").exists()
        assert run_bulk(BULK).equals(first)
    second = run_bulk(other)
    monkeypatch.setattr(networks, "build_model", refuse)
    assert run_bulk(BULK).equals(first), "it is brought back, and nothing is built"
    assert run_bulk(other).equals(second)
