"""Runs of networks on the maps of a frozen encoder, end to end on twelve scenes and a fake encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import BULK, ROUNDS, tables
from PIL import Image

from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import ParameterError
from alutils.models import DEFAULT_ENCODER, MODELS, build_model
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.runs import data
from alutils.runs.bulk import load_bulk_model, run_bulk
from alutils.runs.config import REGIMES
from alutils.runs.data import load_sets, load_split
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import run_rounds
from alutils.runs.sharding import score_in_shards
from alutils.training.feeding import feed
from alutils.training.loop import Trainer, measure_on_test_set

DESCRIPTION = """
name: tiny
classes: {a: [255, 0, 0], b: [0, 255, 0], c: [0, 0, 255]}
ignore: [255]
splits: {train: {images: photos, labels: masks}}
"""
HEADS = [name for name, network in MODELS.items() if network.is_frozen]
FROZEN = replace(ROUNDS, model="frozen_small")

pytestmark = pytest.mark.usefixtures("tiny_everywhere", "fake_encoder", "quick_provenance")


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_run_on_maps_makes_them_once_and_is_fixed_by_its_parameters(name: str, regime: str, fake_encoder: list[str]):
    config = replace(FROZEN, model=name, regime=regime, query="bald+power1")
    table = run_rounds(config)
    assert table["labelled"].tolist() == [3, 6, 9]
    assert table["miou"].between(0, 1).all()
    again = replace(config, experiment="again")
    run_rounds(again)
    assert tables(again) == tables(config)
    assert fake_encoder == [DEFAULT_ENCODER] * 2, "for the training and the test images"


@pytest.mark.parametrize(
    "query",
    ["badge", "core_set", "typiclust", "vote_entropy+ensemble2", "margin+balanced+windows2x3", "bald+superpixels6"],
)
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_kind_of_query_asks_networks_on_maps(precision: str, query: str):
    config = replace(FROZEN, query=query, rounds=2, precision=precision)
    assert run_rounds(config)["labelled"].tolist() == [3, 6]
    acquired = RunFolder("e", config.run_name).acquisitions()
    assert not acquired.duplicated([name for name in ("index", "region") if name in acquired]).any()


def test_a_finished_run_is_only_read(monkeypatch: pytest.MonkeyPatch):
    first = run_rounds(FROZEN)
    monkeypatch.setattr(Trainer, "train", None)
    assert run_rounds(FROZEN).equals(first)


# What a config says of an encoder


def test_a_config_names_the_encoder_of_networks_on_maps_only():
    configs = [replace(ROUNDS, query="random", rounds=1, model=name) for name in ("unet_small", "frozen_linear")]
    for config in configs:
        run_rounds(config)
    own, frozen = (RunFolder("e", config.run_name).config() for config in configs)
    features = load_split(configs[1], "train").features
    assert features is not None
    said = {"encoder": DEFAULT_ENCODER, "encoder_weights": None, "encoder_digest": features.digest}
    assert frozen == own | {"model": "frozen_linear"} | said
    assert not {name for name in own if "encoder" in name}, "as runs had it before there were encoders"


def test_other_weights_set_the_old_run_apart(tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "weights.pth"
    config = replace(FROZEN, query="random", rounds=1, encoder="resnet18", encoder_weights=str(file))
    for content, kept in [("one", 0), ("two, longer", 1), ("one", 1)]:
        file.write_text(content)
        run_rounds(config)
        assert ("had encoder_digest" in capsys.readouterr().out) == bool(kept)
        assert len([*(results / "e").glob("superseded/*")]) == kept


@pytest.mark.parametrize("change", [{"encoder": "resnet18"}, {"encoder_weights": "weights.pth"}], ids=str)
def test_an_encoder_for_a_network_with_one_of_its_own_is_refused(change: dict[str, Any]):
    encoder = change.get("encoder", DEFAULT_ENCODER)
    message = f"encoder is '{encoder}'; unet_small has one of its own, allowed with: frozen_linear, frozen_small"
    for config in (ROUNDS, BULK):
        with pytest.raises(ParameterError, match=message):
            replace(config, **change)
    assert replace(FROZEN, **change)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("augmentation", "wrong"), [("scale", "scale"), ("flip+colour", "colour")])
def test_maps_are_only_flipped(name: str, augmentation: str, wrong: str):
    with pytest.raises(ParameterError, match=f"^augmentation for {name} is '{wrong}'; allowed: flip, none$"):
        replace(ROUNDS, model=name, augmentation=augmentation)
    assert replace(ROUNDS, model=name, augmentation="none").augmentations == []


def test_digits_have_no_maps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "load_dataset", load_dataset)
    with pytest.raises(ParameterError, match=r"^model for digits is 'frozen_small'; allowed: mnist_cnn$"):
        run_rounds(replace(FROZEN, dataset="digits"))


# How data are read


def test_a_network_with_an_encoder_of_its_own_reads_images_as_that_encoder_does(tiny_scenes: ImageDataset):
    for dataset in load_sets(replace(ROUNDS, model="deeplabv3_lite0")):
        assert (dataset.mean, dataset.std) == ((0.5,) * 3, (0.5,) * 3)
        ((images, _),) = feed(dataset, [np.arange(12)], torch.device("cpu"))
        torch.testing.assert_close(images, torch.from_numpy(tiny_scenes.images) / 127.5 - 1)
        assert dataset.features is None
    for dataset in load_sets(ROUNDS):
        assert (dataset.mean, dataset.std) == (tiny_scenes.mean, tiny_scenes.std)


def test_native_labels_are_compared_with_predictions_from_the_same_maps(
    tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch, fake_encoder: list[str]
):
    large = replace(tiny_scenes, labels=tiny_scenes.labels.repeat(2, axis=1).repeat(2, axis=2))

    def load(name: str, split: str, *size: int | None, native_labels: bool = False) -> ImageDataset:
        return replace(large if native_labels else tiny_scenes, split=split)

    monkeypatch.setattr(data, "load_dataset", load)
    config = replace(FROZEN, query="random", rounds=1)
    small, native = (
        run_rounds(replace(config, test_resolution=name, experiment=name)) for name in ("training", "native")
    )
    assert small["miou"].item() == native["miou"].item(), "each prediction is repeated like its label"
    assert fake_encoder == [DEFAULT_ENCODER] * 2


# Bulk training


def test_bulk_training_takes_the_order_of_another_network_and_keeps_its_own(monkeypatch: pytest.MonkeyPatch):
    rounds = replace(ROUNDS, epochs=1)
    run_rounds(rounds)
    config = replace(BULK, model="frozen_small", query=rounds.query, share=50.0, keep_model=True)
    row = run_bulk(config).iloc[0]
    order = RunFolder("e", rounds.run_name).acquisitions()["index"]
    assert RunFolder("e", config.run_name).acquisitions()["index"].tolist() == order[:6].tolist()
    train_set, test_set = load_sets(config)
    model = load_bulk_model(config, train_set)
    assert measure_on_test_set(model, test_set, config).measures["miou"] == row["miou"]


# Shards


@pytest.mark.slow
def test_several_workers_read_the_same_maps_and_give_the_same_scores(
    tiny_scenes: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The workers load no encoder: their maps are cached by this process, in which a fake made them."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for name, image, label in zip(tiny_scenes.item_names, tiny_scenes.images, tiny_scenes.labels, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "photos" / f"{name}.png")
        Image.fromarray(label).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "tiny.yaml").write_text(DESCRIPTION)
    monkeypatch.setattr(data, "load_dataset", load_dataset)
    config = replace(FROZEN, dataset=str(tmp_path / "tiny.yaml"))
    dataset, indices = load_split(config, "train"), np.arange(1, 12)
    network = build_model("frozen_small", 3, seed=0, features=dataset.features)
    committee = Committee([network], 3, 0.5, 7)
    one = score_images(parse_query(config.query), committee, dataset, indices, config)
    assert score_in_shards(config, committee, indices, 2, config.batch_size).tobytes() == one.tobytes()
    assert len(set(one)) > 5


def test_an_ensemble_is_trained_once_and_its_first_round_is_shared(monkeypatch: pytest.MonkeyPatch):
    calls = list[int]()
    train = Trainer.train

    def counted(trainer: Trainer, *arguments: Any, **named: Any) -> None:
        calls.append(1)
        train(trainer, *arguments, **named)

    monkeypatch.setattr(Trainer, "train", counted)
    config = replace(FROZEN, query="vote_entropy+ensemble3", rounds=2)
    run_rounds(config)
    assert len(calls) == 2, "one training a round"
    run_rounds(replace(config, query="bald+ensemble3"))
    assert len(calls) == 3, "the first round is read"
