"""Committee statistics against hand-worked values; members that are one fixed network each."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.models.base import resize_logits
from alutils.queries import committee
from alutils.queries.committee import (
    STATISTICS,
    Committee,
    committee_statistics,
    enlarged_pieces,
    entropy_bits,
    fixed_dropout,
)

LOGITS = arrays(np.float64, (4, 2, 3, 2, 2), elements=st.floats(-30, 30))  # T, N, C, H, W


def logits_of(*probs: list[float]) -> list[torch.Tensor]:
    """Return one member's logits (1, C) for each list of probabilities."""
    return [torch.tensor([p], dtype=torch.float64).log() for p in probs]


def test_two_members_by_hand():
    stats = committee_statistics(logits_of([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]), STATISTICS)
    assert stats["mean_probability"][0].tolist() == pytest.approx([0.375, 0.375, 0.25])
    assert stats["vote_share"][0].tolist() == [0.5, 0.5, 0.0]
    assert stats["mean_entropy"].item() == pytest.approx(1.5)  # each member: 1/2*1 + 2 * 1/4*2 bits


def test_entropy_of_certainty_and_of_ignorance():
    probs = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert entropy_bits(probs).tolist() == [0.0, 2.0]


def test_a_confident_committee_has_zero_entropy_not_nan():
    stats = committee_statistics([torch.tensor([[1000.0, 0.0, -1000.0]])] * 3, STATISTICS)
    assert entropy_bits(stats["mean_probability"]).item() == 0
    assert stats["mean_entropy"].item() == 0


@settings(max_examples=30, deadline=None)
@given(LOGITS, st.permutations(range(4)))
def test_order_of_members_does_not_matter_and_bounds_hold(logits: np.ndarray, order: list[int]):
    members = torch.from_numpy(logits)
    stats = committee_statistics(members, STATISTICS)
    shuffled = committee_statistics(members[order], STATISTICS)
    for name in STATISTICS:
        torch.testing.assert_close(stats[name], shuffled[name])
    consensus = entropy_bits(stats["mean_probability"])
    assert (consensus <= math.log2(3) + 1e-9).all()
    assert (stats["mean_entropy"] <= consensus + 1e-9).all(), "entropy is concave: the mean cannot be below"


@settings(max_examples=20, deadline=None)
@given(LOGITS)
def test_streaming_equals_keeping_every_member(logits: np.ndarray):
    members = torch.from_numpy(logits)
    probs = members.softmax(dim=2)
    stats = committee_statistics(iter(members), STATISTICS)
    torch.testing.assert_close(stats["mean_probability"], probs.mean(dim=0))
    votes = torch.nn.functional.one_hot(members.argmax(dim=2), 3).movedim(-1, 2).double()
    torch.testing.assert_close(stats["vote_share"], votes.mean(dim=0))


def test_no_member_and_a_broken_member_are_refused():
    with pytest.raises(ValueError, match="at least one member"):
        committee_statistics([], STATISTICS)
    with pytest.raises(ValueError, match="not finite"):
        committee_statistics([torch.tensor([[math.nan, 0.0]])], STATISTICS)


@pytest.mark.parametrize(("members", "dropout"), [(0, 0.5), (1001, 0.5), (10, 0.995), (10, -0.1)])
def test_impossible_committees_are_refused(members: int, dropout: float):
    with pytest.raises(ParameterError, match="committee_"):
        Committee([], members, dropout)
    for possible in ((1, 0.0), (1000, 0.99)):
        Committee([], *possible)


@pytest.mark.parametrize("size", [(7, 9), (13, 40), (28, 36), (5, 9), (1, 1)])
@pytest.mark.parametrize("rows", [0, 1, 2, 99])
def test_logits_enlarged_in_pieces_are_those_enlarged_whole(
    size: tuple[int, int], rows: int, monkeypatch: pytest.MonkeyPatch
):
    logits = torch.randn(2, 3, 7, 9, generator=torch.manual_seed(0), dtype=torch.float64)
    monkeypatch.setitem(committee.PIECE, "cpu", rows * 3 * size[1] + 1)
    whole, times = torch.zeros(2, 3, *size, dtype=torch.float64), torch.zeros(2, 3, *size)
    for place, piece in enlarged_pieces(logits, size):
        assert piece.shape[2] <= max(rows, 1)
        whole[place], times[place] = piece, times[place] + 1
    assert (times == 1).all(), "each pixel is in one piece"
    torch.testing.assert_close(whole, resize_logits(logits, size), atol=1e-12, rtol=0)


def scene_model() -> tuple[SplitModel, torch.Tensor]:
    """Return an untrained network with strong random weights, whose members differ, and 4 images."""
    model = build_model("unet_small", 3, seed=0).eval()
    torch.nn.init.normal_(model.get_parameter("head.1.weight"), std=5, generator=torch.manual_seed(0))
    return model, torch.rand(4, 3, 32, 48, generator=torch.manual_seed(0))


def test_statistics_are_as_precise_whatever_the_members_ran_in():
    logits = [torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    outside = committee_statistics(logits, STATISTICS, (17, 23))
    with torch.autocast("cpu", torch.bfloat16):
        inside = committee_statistics(logits, STATISTICS, (17, 23))
    for name in STATISTICS:
        assert torch.equal(inside[name], outside[name])


def test_members_in_half_precision_are_averaged_in_full():
    logits = [torch.randn(2, 3, 5, 6, generator=torch.manual_seed(seed)).bfloat16() for seed in range(3)]
    for name, found in committee_statistics(logits, STATISTICS, (9, 7)).items():
        assert found.dtype == torch.float32
        assert torch.equal(found, committee_statistics([one.float() for one in logits], STATISTICS, (9, 7))[name])


@torch.inference_mode()
def test_statistics_equal_those_of_members_kept_whole_in_float64():
    model, images = scene_model()
    asked = Committee([model], 10, 0.5, seed=1)
    stats = committee_statistics(asked.logits(images), STATISTICS, (32, 48))
    model.double()
    kept = torch.stack([resize_logits(m, (32, 48)) for m in asked.logits(images.double())])
    probs = kept.softmax(dim=2)
    votes = torch.nn.functional.one_hot(kept.argmax(dim=2), 3).movedim(-1, 2).double()
    entropies = -(probs * probs.log2()).nansum(dim=2)
    assert entropies.std() > 0.1
    assert votes.mean(dim=0).unique().numel() > 5
    torch.testing.assert_close(stats["mean_probability"].double(), probs.mean(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(stats["mean_entropy"].double(), entropies.mean(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(stats["vote_share"].double(), votes.mean(dim=0), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_member_is_the_same_network_whatever_the_batch():
    model, images = scene_model()
    asked = Committee([model], 3, 0.5, seed=1)
    together = torch.stack(list(asked.logits(images)))
    alone = torch.stack([torch.cat(m) for m in zip(*(asked.logits(image[None]) for image in images), strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    reversed_ = torch.stack(list(asked.logits(images.flip(0)))).flip(1)
    torch.testing.assert_close(together, reversed_, atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_members_and_seeds_differ_and_no_dropout_is_the_plain_network():
    model, images = scene_model()
    first, second = Committee([model], 2, 0.5, seed=1).logits(images)
    assert not torch.allclose(first, second)
    (other,) = Committee([model], 1, 0.5, seed=2).logits(images)
    assert not torch.allclose(first, other)
    (plain,) = Committee([model]).logits(images)
    torch.testing.assert_close(plain, model.decode(model.encode(images)))


@torch.inference_mode()
def test_an_ensemble_has_one_member_a_network_and_copies_leave_its_networks_alone():
    (model, images), other = scene_model(), build_model("unet_small", 3, seed=1)
    before = [value.clone() for value in model.state_dict().values()]
    ensemble = Committee([model, other])
    first, second = ensemble.logits(images)
    torch.testing.assert_close(first, model.decode(model.encode(images)))
    torch.testing.assert_close(second, other.decode(other.encode(images)))
    for copied in (ensemble.for_inference(), ensemble.to("cpu")):
        assert not {*map(id, copied.networks)} & {*map(id, ensemble.networks)}
        torch.testing.assert_close(next(copied.logits(images)), first, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(value, old) for value, old in zip(model.state_dict().values(), before, strict=True))


def test_fixed_dropout_keeps_the_expected_share_and_scale():
    layer = torch.nn.Dropout(0.1).eval()
    with fixed_dropout(layer, 0.75, seed=3):
        output = layer(torch.ones(2, 200, 200))
    assert set(output.unique().tolist()) == {0.0, 4.0}
    assert output.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(output[0], output[1]), "one mask for all images"
    assert torch.equal(layer(torch.ones(3)), torch.ones(3)), "outside, the layer is itself again"


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 2**31), st.integers(2, 4))
def test_every_dropout_layer_has_a_mask_of_its_own(rate: float, seed: int, layers: int):
    """Were two masks one, as many would get through both as through one."""
    model = torch.nn.Sequential(*(torch.nn.Dropout(0.1) for _ in range(layers))).eval()
    with fixed_dropout(model, rate, seed):
        output, again = model(torch.ones(1, 200, 200)), model(torch.ones(1, 200, 200))
    assert torch.equal(output, again)
    through = (1 - rate) ** layers
    assert (output > 0).double().mean().item() == pytest.approx(through, abs=5 * (through * (1 - through)) ** 0.5 / 200)
    assert output.max().item() == pytest.approx((1 - rate) ** -layers)
