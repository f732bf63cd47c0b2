"""Heads on the maps of a frozen encoder: by hand, and as the same thing computed the long way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.datasets import IGNORE_INDEX, Features
from alutils.models import MODELS, build_model
from alutils.models.base import Maps, inference_copy
from alutils.models.frozen import (
    FEW_PIXELS,
    FrozenHead,
    FrozenSmall,
    Standardise,
    enlarged_sum,
    join,
    products,
    take_apart,
)
from alutils.queries.committee import Committee, fixed_dropout
from alutils.seeds import derive_seed
from alutils.training.loop import Trainer
from alutils.training.recipe import Recipe

CLASSES = 3
ENCODERS = {  # the strides of their maps
    "four levels": (4, 8, 16, 32),
    "one level": (16,),
    "one fine level": (4,),
    "no fine level": (8, 32),
    "one stride": (16, 16, 16),
    "two fine ones": (4, 4, 16),
}
RECIPE = Recipe(
    epochs=1,
    steps=None,
    batch_size=4,
    learning_rate=0.01,
    weight_decay=0.1,
    class_weights=False,
    void_class=False,
    augmentation="none",
    precision="float32",
)
HEADS = [name for name, network in MODELS.items() if network.is_frozen]


def features(strides: Sequence[int]) -> Features:
    """Return what a head is built from: maps with 3, 4, ... channels of random means and deviations."""
    drawn = np.random.default_rng(0)
    means, stds = (
        [drawn.uniform(0.5, 2, 3 + level).astype(np.float32) for level in range(len(strides))] for _ in range(2)
    )
    levels = [np.zeros((1, len(mean), 1, 1), np.float16) for mean in means]
    return Features("", tuple(levels), tuple(strides), tuple(means), tuple(stds))


def maps_for(strides: Sequence[int], count: int = 4, height: int = 40, width: int = 72) -> Maps:
    """Return random maps of images; sides are rounded up, as encoders do."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(count, 3 + level, -(-height // stride), -(-width // stride)) for level, stride in enumerate(strides)]
    return Maps([torch.randn(shape, generator=generator) for shape in shapes], torch.Size([count, 3, height, width]))


def head_for(name: str, strides: Sequence[int], seed: int = 1) -> FrozenHead:
    """Return a head that has been trained a little: no number in it is 0 or 1."""
    head = build_model(name, CLASSES, seed=0, features=features(strides))
    assert isinstance(head, FrozenHead)
    generator = torch.Generator().manual_seed(seed)
    for key, value in head.state_dict().items():
        if value.is_floating_point() and not key.startswith("standardise"):
            value.copy_(torch.rand(value.shape, generator=generator) - (0.5 if "var" not in key else -0.5))
    return head.eval()


@pytest.fixture(params=[(name, encoder) for name in HEADS for encoder in ENCODERS], ids=" on ".join)
def head(request: pytest.FixtureRequest) -> tuple[FrozenHead, Maps]:
    """Return each head for each kind of encoder, with maps of four images."""
    name, encoder = request.param
    return head_for(name, ENCODERS[encoder]), maps_for(ENCODERS[encoder])


# The parts, by hand


def test_standardise_by_hand():
    layer = Standardise(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 4.0]))
    maps = torch.tensor([[5.0, 1.0], [6.0, -2.0]])[None, :, None]  # (1, 2, 1, 2)
    torch.testing.assert_close(layer(maps)[0, :, 0], torch.tensor([[2.0, 0.0], [2.0, 0.0]]))
    assert not list(layer.parameters())
    constant = Standardise(torch.tensor([7.0]), torch.tensor([0.0]))
    assert constant(torch.full((1, 1, 2, 2), 7.0)).abs().max() == 0


def test_standardised_maps_have_mean_0_and_deviation_1():
    maps = maps_for((4, 8))
    moments = [(level.mean(dim=(0, 2, 3)), level.std(dim=(0, 2, 3), correction=0)) for level in maps.levels]
    means, stds = ([array.numpy() for array in arrays] for arrays in zip(*moments, strict=True))
    known = features((4, 8))._replace(means=tuple(means), stds=tuple(stds))
    head = build_model("frozen_linear", CLASSES, seed=0, features=known)
    assert isinstance(head, FrozenHead)
    for level in head.standardised(maps):
        torch.testing.assert_close(level.mean(dim=(0, 2, 3)), torch.zeros(level.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.std(dim=(0, 2, 3), correction=0), torch.ones(level.shape[1]))


def test_products_by_hand():
    maps = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]], [[[3.0, 4.0]], [[30.0, 40.0]]]])  # (2, 2, 1, 2)
    weights = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
    first = [[[1, 2]], [[11, 22]], [[-10, -20]]]
    assert products(maps, weights).tolist() == [first, [[[3, 4]], [[33, 44]], [[-30, -40]]]]
    of_each = torch.stack([weights, 2 * weights])
    assert products(maps, of_each).tolist() == [first, [[[6, 8]], [[66, 88]], [[-60, -80]]]]


def test_enlarged_sum_by_hand():
    fine, coarse = torch.tensor([10.0, 20, 30, 40])[None, None, None], torch.tensor([0.0, 4])[None, None, None]
    assert enlarged_sum([fine, coarse]).flatten().tolist() == [10, 21, 33, 44]
    assert enlarged_sum([coarse]) is coarse
    assert enlarged_sum([coarse, coarse, torch.ones(1, 1, 1, 1)]).flatten().tolist() == [1, 9]


# The whole


def test_logits_are_as_fine_as_the_finest_maps_and_every_weight_learns(head: tuple[FrozenHead, Maps]):
    network, maps = head
    (logits,) = network.train().training_logits(maps)
    assert logits.shape == (4, CLASSES, *maps.levels[0].shape[2:])
    labels = torch.randint(0, CLASSES, (4, *logits.shape[2:]), generator=torch.Generator().manual_seed(0))
    F.cross_entropy(logits, labels).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert network.eval()(maps).shape == (4, CLASSES, 40, 72)


MASKS = {  # (N, h, w): which pixels have a label
    "corners": lambda mask: mask[:1, :: mask.shape[1] - 1, :: mask.shape[2] - 1].fill_(True),
    "one window and one pixel": lambda mask: (mask[1, 2:5, 3:9].fill_(True), mask[3, -1, 4].fill_(True)),
    "random ones": lambda mask: mask.bernoulli_(0.1, generator=torch.Generator().manual_seed(1)),
    "all": lambda mask: mask.fill_(True),
}


@pytest.mark.parametrize("joined", [1, 3])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("which", MASKS)
def test_logits_of_some_pixels_are_those_among_all_and_so_are_their_gradients(which: str, encoder: str, joined: int):
    strides = ENCODERS[encoder]
    heads = [head_for("frozen_small", strides, seed=number) for number in range(joined)]
    network, maps = join(heads, features(strides)).double().train(), maps_for(strides)
    wanted = torch.zeros(4, *maps.levels[0].shape[2:], dtype=torch.bool)
    MASKS[which](wanted)
    classes = torch.randint(0, CLASSES, (int(wanted.sum()),), generator=torch.Generator().manual_seed(0))
    found: list[dict[str, Any]] = []
    for compute in (
        lambda: [logits.permute(0, 2, 3, 1)[wanted] for logits in network.training_logits(maps)],
        lambda: network.logits_at(maps, wanted),
    ):
        network.zero_grad()
        torch.manual_seed(5)  # of dropout
        logits = compute()
        assert len(logits) == joined
        torch.stack([number * F.cross_entropy(of, classes) for number, of in enumerate(logits, 1)]).sum().backward()
        gradients = {name: weights.grad for name, weights in network.named_parameters()}
        found.append({"logits": torch.cat([*logits])} | gradients)
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, atol=1e-5, rtol=1e-5, msg=name)


def test_few_labelled_pixels_are_computed_alone_in_float32_on_a_cpu(monkeypatch: pytest.MonkeyPatch):
    maps, alone = maps_for((4, 8)), list[int]()
    logits_at = FrozenSmall.logits_at

    def noted(network: FrozenSmall, images: Maps, wanted: Tensor) -> tuple[Tensor, ...]:
        alone.append(1)
        return logits_at(network, images, wanted)

    monkeypatch.setattr(FrozenSmall, "logits_at", noted)

    def step_alone(share: float, *, name: str = "frozen_small", joined: int = 1, precision: str = "float32") -> bool:
        heads = [build_model(name, CLASSES, seed=seed, features=features((4, 8))) for seed in range(joined)]
        network = join(heads, features((4, 8))) if joined > 1 else heads[0]
        targets = torch.zeros(4, 40, 72, dtype=torch.uint8)
        targets[:, round(40 * share) :] = IGNORE_INDEX
        trainer = Trainer(network, replace(RECIPE, precision=precision), torch.device("cpu"))
        alone.clear()
        loss = trainer.step(maps, targets, None, 0.01)
        assert (loss > 0) == (share > 0)
        return bool(alone)

    assert step_alone(FEW_PIXELS - 0.05)
    assert not step_alone(FEW_PIXELS + 0.05)
    assert not step_alone(0)
    assert step_alone(0.1, joined=2)
    assert not step_alone(0.1, name="frozen_linear")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert not step_alone(0.1, precision="bfloat16")


@pytest.mark.parametrize("hidden", [None, [[True, False, False, False], [False, True, True, False]]])
def test_training_with_few_labelled_pixels_gives_the_same_network_either_way(
    hidden: list[list[bool]] | None, monkeypatch: pytest.MonkeyPatch
):
    maps, targets = maps_for((4, 8, 16, 32)), torch.full((4, 40, 72), IGNORE_INDEX, dtype=torch.uint8)
    targets[:3, 8:20, 24:40] = torch.randint(0, CLASSES, (3, 12, 16), generator=torch.Generator().manual_seed(0))
    trained = []
    for few in (FEW_PIXELS, 0.0):
        monkeypatch.setattr("alutils.models.frozen.FEW_PIXELS", few)
        known, count = features((4, 8, 16, 32)), len(hidden or [()])
        network = join(
            [build_model("frozen_small", CLASSES, seed=seed, features=known) for seed in range(count)], known
        )
        trainer = Trainer(network, RECIPE, torch.device("cpu"))
        weights_of, of_heads = torch.tensor([1.0, 2.0, 3.0]), None if hidden is None else torch.tensor(hidden)
        torch.manual_seed(0)
        losses = [trainer.step(maps, targets, weights_of, 0.003, of_heads) for _ in range(10)]
        trained.append(
            torch.cat([torch.stack(losses), *(weights.flatten() for weights in network.state_dict().values())])
        )
    torch.testing.assert_close(*trained, atol=1e-4, rtol=1e-3)
    assert not torch.equal(*trained), "else both took one way"


@torch.inference_mode()
def test_the_copy_for_inference_gives_the_same_logits(head: tuple[FrozenHead, Maps]):
    network, maps = head
    torch.testing.assert_close(inference_copy(network)(maps), network(maps), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_decode_equals_one_linear_layer_on_enlarged_maps(head: tuple[FrozenHead, Maps]):
    network, encoded = encoded_in_double(*head)
    whole = torch.cat([enlarged(encoded, number) for number in range(len(encoded))], dim=1)
    weights = torch.cat(list(network.last), dim=1)
    torch.testing.assert_close(network.decode(encoded), F.conv2d(whole, weights[:, :, None, None]) + network.bias)


def encoded_in_double(network: FrozenHead, maps: Maps) -> tuple[FrozenHead, list[Tensor]]:
    """Return a head and what it encodes, in double precision."""
    network = network.double()
    return network, network.encode(maps._replace(levels=[level.double() for level in maps.levels]))


def enlarged(maps: list[Tensor], number: int) -> Tensor:
    """Return one of several maps at the size of the finest, enlarged step by step."""
    found = maps[number]
    for finer in reversed(maps[:number]):
        found = F.interpolate(found, size=finer.shape[2:], mode="bilinear", align_corners=False)
    return found


def test_dropout_drops_or_doubles_whole_channels_of_each_image(head: tuple[FrozenHead, Maps]):
    network, maps = head
    encoded = [torch.zeros_like(level[:1]).repeat(60, 1, 1, 1) for level in network.encode(maps)]
    for level in encoded:
        for channel in (0, level.shape[1] - 1):
            level[:, channel] = 1 + torch.rand(level[:, 0].shape, generator=torch.Generator().manual_seed(0))
            plain = network.eval().decode(encoded) - network.bias
            torch.manual_seed(0)
            shares = (network.train().decode(encoded) - network.bias) / plain
            assert shares.flatten(1).std(dim=1).max() < 1e-3, "it is one number for an image"
            of_images = shares.flatten(1).mean(dim=1).round(decimals=3)
            assert set(of_images.tolist()) == {0.0, 2.0}
            assert 10 < of_images.count_nonzero() < 50
            level[:, channel] = 0


@torch.inference_mode()
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_members_at_once_are_those_one_by_one(rate: float, head: tuple[FrozenHead, Maps]):
    network, encoded = encoded_in_double(*head)
    maps = head[1]._replace(levels=[level.double() for level in head[1].levels])
    pooled = network.for_committee(encoded)
    found = list(Committee([network], 12, rate, seed=3).logits(maps))
    assert len(found) == 12
    for member, logits in enumerate(found):
        with fixed_dropout(network, rate, derive_seed(3, "member", member)):
            torch.testing.assert_close(logits, network.decode(pooled))
    assert all(torch.allclose(found[0], other) for other in found) == (rate == 0)


@torch.inference_mode()
def test_a_committee_is_asked_at_an_eighth_of_the_resolution_or_less(head: tuple[FrozenHead, Maps]):
    network, maps = head
    encoded = network.encode(maps)
    for pooled, whole in zip(network.for_committee(encoded), encoded, strict=True):
        if len(encoded) > 1 and whole.shape[2:] == (10, 18):
            means = whole.unflatten(3, (-1, 2)).mean(dim=4).unflatten(2, (-1, 2)).mean(dim=3)
            smaller = F.adaptive_avg_pool2d(whole, (3, 5))
            torch.testing.assert_close(pooled, means if pooled.shape[2] == 5 else smaller)
        else:
            assert pooled is whole


@torch.inference_mode()
def test_the_embedding_is_the_mean_of_the_coarsest_maps(head: tuple[FrozenHead, Maps]):
    network, maps = head
    known = features([4] * len(maps.levels))
    expected = (maps.levels[-1].mean(dim=(2, 3)) - torch.from_numpy(known.means[-1])) / torch.from_numpy(known.stds[-1])
    torch.testing.assert_close(network.embed(maps), expected, atol=1e-4, rtol=1e-4)


def test_gradients_of_the_last_layer_are_those_of_autograd(head: tuple[FrozenHead, Maps]):
    network, encoded = encoded_in_double(*head)
    encoded = [level.detach() for level in encoded]
    logits = network.decode(encoded)
    labels = torch.randint(0, CLASSES, (4, *logits.shape[2:]), generator=torch.Generator().manual_seed(0))
    one_hot = F.one_hot(labels, CLASSES).movedim(3, 1)
    found = network.last_gradients(encoded, (logits.softmax(dim=1) - one_hot) / labels[0].numel())
    weights = list(network.last)
    for image in range(4):
        loss = F.cross_entropy(network.decode([level[image, None] for level in encoded]), labels[image, None])
        torch.testing.assert_close(found[image], torch.cat(torch.autograd.grad(loss, weights), dim=1))


@pytest.mark.parametrize("name", HEADS)
def test_the_seed_fixes_the_weights(name: str):
    known = features((4, 8, 32))
    first, same, other = (build_model(name, CLASSES, seed=seed, features=known).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(torch.equal(first[key], other[key]) for key in first if "standardise" in key)


# Several heads, trained as one


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", HEADS)
def test_joined_heads_give_the_logits_of_each(name: str, encoder: str):
    strides, maps = ENCODERS[encoder], maps_for(ENCODERS[encoder])
    heads = [build_model(name, CLASSES, seed=seed, features=features(strides)).eval() for seed in range(3)]
    together = join(heads, features(strides)).eval().training_logits(maps)
    for head, logits in zip(heads, together, strict=True):
        torch.testing.assert_close(logits, head.training_logits(maps)[0])
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("name", HEADS)
def test_joined_heads_learn_what_each_would_learn_alone(name: str):
    """Without dropout; Adam is given each head's own gradients, and the mean loss of several is not taken."""
    strides, maps = (4, 8, 16), maps_for((4, 8, 16))
    targets = torch.randint(0, CLASSES, (4, 40, 72), generator=torch.Generator().manual_seed(0))
    heads = [build_model(name, CLASSES, seed=seed, features=features(strides)) for seed in range(2)]
    alone = [build_model(name, CLASSES, seed=seed, features=features(strides)) for seed in range(2)]
    together = join(heads, features(strides))
    for network in (together, *alone):
        for layer in network.modules():
            if isinstance(layer, nn.Dropout2d):
                layer.p = 0.0
        trainer = Trainer(network, RECIPE, torch.device("cpu"))
        for _ in range(3):
            trainer.step(maps, targets, None, 0.01)
    take_apart(together, heads)
    for head, other in zip(heads, alone, strict=True):
        torch.testing.assert_close(head.state_dict(), other.state_dict(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rows", ["float32", "bfloat16"])
def test_gradients_of_products_in_bfloat16_are_close_to_those_of_autograd_in_float32(rows: str):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 6, 7, generator=generator).to(getattr(torch, rows)).float().requires_grad_()
    weights, error = torch.randn(2, 3, 5, generator=generator).requires_grad_(), torch.randn(2, 3, 6, 7)
    torch.einsum("ndhw,ncd->nchw", maps, weights).backward(error)
    half = maps.detach().to(getattr(torch, rows)).requires_grad_()
    same = weights.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = products(half, same)
    assert result.dtype == torch.bfloat16
    result.float().backward(error)
    for tensor, expected in ((half, maps), (same, weights)):
        assert tensor.grad is not None
        assert tensor.grad.dtype == tensor.dtype
        torch.testing.assert_close(tensor.grad.float(), expected.grad, atol=0.05, rtol=0.05)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_heads_learn_in_bfloat16_as_they_do_in_float32(name: str, count: int):
    strides, maps = (4, 8, 16), maps_for((4, 8, 16))
    targets = torch.randint(0, CLASSES, (4, 40, 72), generator=torch.Generator().manual_seed(0))
    losses = {}
    for precision in ("float32", "bfloat16"):
        heads = [build_model(name, CLASSES, seed=seed, features=features(strides)) for seed in range(count)]
        network = join(heads, features(strides)) if count > 1 else heads[0]
        trainer = Trainer(network, replace(RECIPE, precision=precision), torch.device("cpu"))
        torch.manual_seed(0)
        losses[precision] = torch.stack([trainer.step(maps, targets, None, 0.01) for _ in range(20)])
        assert all(weights.dtype == torch.float32 for weights in network.parameters())
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], atol=0.02 * count, rtol=0.02)
    assert losses["bfloat16"][-1] < 0.95 * losses["bfloat16"][0]


@pytest.mark.parametrize("name", HEADS)
def test_joined_heads_drop_channels_of_their_own(name: str):
    strides, maps = (4, 8, 16), maps_for((4, 8, 16))
    same = [build_model(name, CLASSES, seed=0, features=features(strides)) for _ in range(2)]
    first, second = join(same, features(strides)).train().training_logits(maps)
    assert not torch.allclose(first, second)
