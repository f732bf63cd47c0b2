"""Networks on the maps of a frozen encoder are asked like any other, at the size of their logits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import fake_maps
from scipy.stats import spearmanr
from torch.nn import functional as F

from alutils.datasets import ImageDataset
from alutils.datasets.features import with_features
from alutils.models import MODELS, SplitModel, build_model
from alutils.models.base import resize_logits
from alutils.queries.committee import STATISTICS, Committee, committee_statistics, fixed_dropout
from alutils.queries.embeddings import Candidates
from alutils.queries.query import QUERIES, parse_query
from alutils.queries.scores import SCORES, applied, score_of
from alutils.queries.scoring import score_images, score_maps
from alutils.queries.selections import SELECTIONS
from alutils.seeds import derive_seed
from alutils.training.feeding import feed
from alutils.training.recipe import Recipe

HEADS = [name for name, network in MODELS.items() if network.is_frozen]
ASKING = [name for name, entry in QUERIES.items() if entry.score is not None]
CHANGED = ["balanced", "sum", "top0.1", "interior1", "windows2x3", "balanced+top0.5+windows2x3", "superpixels4"]
ALL = np.arange(12)
RECIPE = Recipe(
    epochs=1, steps=None, batch_size=4, learning_rate=0.01, weight_decay=0, class_weights=True, void_class=False,
    augmentation="flip", precision="float32",
)  # fmt: skip
WEIGHTS = torch.tensor([1.0, 2.0, 5.0])


def undecided(name: str, dataset: ImageDataset, seed: int = 0) -> SplitModel:
    """Return an untrained network with strong weights, whose members vote differently."""
    model = build_model(name, 3, seed=seed, features=dataset.features)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * parameter.std(correction=0))
    return model.eval()


def scores_of(text: str, committee: Committee, dataset: ImageDataset, indices: np.ndarray = ALL) -> np.ndarray:
    query = parse_query(text)
    return score_images(query, committee, dataset, indices, RECIPE, WEIGHTS if query.balanced else None)


def smooth_scenes(dataset: ImageDataset) -> ImageDataset:
    """Return 24 scenes of 64x96 pixels whose colours change slowly, with their maps."""
    drawn = torch.rand(24, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    contrast = torch.linspace(0.1, 1, 24).view(-1, 1, 1, 1)
    images = F.interpolate(0.5 + contrast * (drawn - 0.5), (64, 96), mode="bicubic").clamp(0, 1)
    names = [f"scene{index}" for index in range(24)]
    pixels = (images * 255).to(torch.uint8).numpy()
    scenes = replace(dataset, images=pixels, labels=pixels[:, 0] % 3, item_names=names, features=None)
    return with_features(scenes, "fake", "fake", lambda: fake_maps)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("text", [*ASKING, *(f"margin+{changed}" for changed in CHANGED)])
def test_scores_of_images_alone_are_those_in_batches(name: str, text: str, frozen_scenes: ImageDataset):
    committee = Committee([undecided(name, frozen_scenes)], 10, 0.5, seed=0)
    scores = scores_of(text, committee, frozen_scenes)
    assert len(scores) == 12
    assert np.isfinite(scores).any(axis=tuple(range(1, scores.ndim))).all()
    assert len(np.unique(scores[~np.isnan(scores)].round(6))) > 6
    for index in (11, 2, 5):
        alone = scores_of(text, committee, frozen_scenes, np.array([index]))
        np.testing.assert_allclose(alone[0], scores[index], atol=1e-5)
    unlabelled = replace(frozen_scenes, labels=np.full_like(frozen_scenes.labels, 255))
    np.testing.assert_array_equal(scores, scores_of(text, committee, unlabelled))


@pytest.mark.parametrize("name", HEADS)
def test_reductions_and_regions_are_of_maps_of_full_size(name: str, frozen_scenes: ImageDataset):
    committee = Committee([undecided(name, frozen_scenes)], 4, 0.5, seed=0)
    whole = scores_of("margin", committee, frozen_scenes)
    np.testing.assert_allclose(scores_of("margin+sum", committee, frozen_scenes), 24 * 32 * whole, rtol=1e-5)
    np.testing.assert_allclose(scores_of("margin+windows2x2", committee, frozen_scenes).mean(axis=1), whole, rtol=1e-5)
    np.testing.assert_allclose(scores_of("margin+top1", committee, frozen_scenes), whole, rtol=1e-5)
    for index in (0, 5):
        _, maps = score_maps(committee, frozen_scenes, index, RECIPE, ["margin"])
        assert maps["margin"].shape == (24, 32)
        assert maps["margin"].mean() == pytest.approx(whole[index], rel=1e-5)
        of_windows = scores_of("margin+windows3x4", committee, frozen_scenes, np.array([index]))[0]
        np.testing.assert_allclose(of_windows[1], maps["margin"][:8, 8:16].mean(), rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@torch.inference_mode()
def test_balanced_scores_are_weighted_by_the_class_predicted_there(name: str, frozen_scenes: ImageDataset):
    committee = Committee([undecided(name, frozen_scenes)], 4, 0.5, seed=0)
    ((maps, _),) = feed(frozen_scenes, [ALL], torch.device("cpu"))
    statistics = committee_statistics(committee.logits(maps), STATISTICS)
    probs = statistics["mean_probability"]
    weighted = applied(SCORES["margin"], statistics) * WEIGHTS[probs.argmax(dim=1)]
    expected = resize_logits(weighted[:, None], (24, 32)).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(scores_of("margin+balanced", committee, frozen_scenes), expected, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("text", ASKING)
@torch.inference_mode()
def test_the_ranking_is_that_of_members_asked_at_full_size(name: str, text: str, frozen_scenes: ImageDataset):
    dataset = smooth_scenes(frozen_scenes)
    query, network, everything = parse_query(text), undecided(name, dataset), np.arange(24)
    rate, members = (0.5, 8) if query.has_dropout else (0.0, 1)
    scores = scores_of(text, Committee([network], members, rate, seed=0), dataset, everything)
    ((maps, _),) = feed(dataset, [everything], torch.device("cpu"))
    logits, encoded, score = [], network.encode(maps), score_of(query)
    assert score is not None
    for member in range(members):
        with fixed_dropout(network, rate, derive_seed(0, "member", member)):
            logits.append(network.decode(encoded))
    full = applied(score, committee_statistics(logits, STATISTICS, (64, 96))).mean(dim=(1, 2))
    assert spearmanr(scores, full).statistic > 0.95


@pytest.mark.parametrize("name", HEADS)
@torch.inference_mode()
def test_an_ensemble_is_the_mean_of_its_networks(name: str, frozen_scenes: ImageDataset):
    networks = [undecided(name, frozen_scenes, seed) for seed in range(3)]
    ((maps, _),) = feed(frozen_scenes, [ALL], torch.device("cpu"))
    probs = [network.decode(network.for_committee(network.encode(maps))).softmax(dim=1) for network in networks]  # type: ignore[operator]
    statistics = committee_statistics(Committee(networks).logits(maps), STATISTICS)
    torch.testing.assert_close(statistics["mean_probability"], torch.stack(probs).mean(dim=0))
    scores = scores_of("vote_entropy+ensemble3", Committee(networks), frozen_scenes)
    assert scores.std() > 0.01


@pytest.mark.parametrize("name", HEADS)
def test_the_prediction_beside_score_maps_is_the_networks(name: str, frozen_scenes: ImageDataset):
    network = undecided(name, frozen_scenes)
    prediction, maps = score_maps(Committee([network], 4, 0.5), frozen_scenes, 3, RECIPE, list(SCORES))
    ((features, _),) = feed(frozen_scenes, [np.array([3])], torch.device("cpu"))
    with torch.inference_mode():
        plain = network(features).argmax(dim=1)[0].numpy()
    assert (prediction == plain).mean() > 0.8, "where it is asked at a lower resolution, edges move"
    assert {scores.shape for scores in maps.values()} == {plain.shape}


@pytest.mark.parametrize("selection", ["core_set", "typiclust", "badge"])
def test_a_selection_sees_the_encoders_maps_or_the_heads_gradients(selection: str, frozen_scenes: ImageDataset):
    chosen = []
    for seed in (0, 0, 1):
        candidates = Candidates(undecided("frozen_small", frozen_scenes, seed), frozen_scenes, RECIPE, ALL[2:], ALL[:2])
        picks = SELECTIONS[selection](np.zeros(10), 4, np.random.default_rng(0), candidates)
        assert len(set(picks.tolist()) & set(range(10))) == 4
        chosen.append(picks.tolist())
    assert chosen[0] == chosen[1]
    assert (chosen[0] == chosen[2]) == (selection != "badge"), "embeddings do not depend on the head"
