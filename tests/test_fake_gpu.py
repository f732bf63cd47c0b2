"""Every network and every query on a GPU that is not there.

`FakeTensorMode` gives tensors that have a device and a shape but no numbers, and refuses to mix devices. So these tests
find tensors on a wrong device and of a wrong shape; they cannot find a wrong number. Backward passes are left out:
autograd's engine asks for a real GPU. Each weight that a loss depends on gets a gradient of its own shape instead.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from alutils.datasets import Features, ImageDataset
from alutils.models import FOR_DIGITS, MODELS, SplitModel, build_model
from alutils.models.frozen import FrozenHead
from alutils.queries.committee import STATISTICS, Committee
from alutils.queries.embeddings import Candidates
from alutils.queries.query import QUERIES, parse_query
from alutils.queries.scores import SCORES, applied
from alutils.queries.scoring import ask_committee, score_images, score_maps
from alutils.training import feeding
from alutils.training.loop import Trainer, class_loss_weights, measure_on_test_set
from alutils.training.recipe import Recipe

pytestmark = pytest.mark.slow  # the mode takes seconds to load

IMAGES, BATCH, CLASSES = 3, 2, 4  # the last batch is smaller
ALL = np.arange(IMAGES)
PLAIN = Recipe(
    epochs=1, steps=None, batch_size=BATCH, learning_rate=0.01, weight_decay=0, class_weights=False, void_class=False,
    augmentation="none", precision="float32",
)  # fmt: skip
FULL = replace(PLAIN, class_weights=True, precision="bfloat16")
FULL_OF_SCENES = replace(FULL, void_class=True, augmentation="flip+scale+colour")
ASKING = [name for name, entry in QUERIES.items() if entry.score is not None]
CHANGED = ["balanced", "sum", "top0.1", "interior1", "windows2x3", "windows2x3+balanced+top0.5", "superpixels4"]

ANSWERS: dict[Any, Callable[..., Any]] = {  # what takes numbers to know
    torch.ops.aten._local_scalar_dense.default: lambda one: 1,
    torch.ops.aten.nonzero.default: lambda where: where.new_empty(0, where.ndim, dtype=torch.int64),
    torch.ops.aten.bincount.default: lambda numbers, weights=None, minlength=0: numbers.new_empty(minlength),
}


def dataset_for(name: str) -> ImageDataset:
    """Return data that suit the network `name`, on the CPU, as a run would load them."""
    shape, of_labels = ((1, 28, 28), ()) if name in FOR_DIGITS else ((3, 24, 40), (24, 40))
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    labels = drawn.integers(0, CLASSES, (IMAGES, *of_labels)).astype(np.uint8)
    items, classes = [f"item{index}" for index in range(IMAGES)], [f"class{index}" for index in range(CLASSES)]
    colours, mean, std = [(0, 0, 0)] * CLASSES, (0.5,) * shape[0], (0.25,) * shape[0]
    groups = {"first": [0, 1], "others": [2, 3]}
    dataset = ImageDataset("fake", "train", images, labels, items, classes, colours, mean, std, "f" * 64, (), groups)
    return replace(dataset, features=features()) if MODELS[name].is_frozen else dataset


def features() -> Features:
    """Return maps of images of 24x40 pixels at 1/4, 1/8 and 1/16 of the resolution, channels last as in the cache."""
    shapes = {4: (6, 10, 5), 8: (3, 5, 6), 16: (2, 3, 7)}
    drawn = np.random.default_rng(0)
    levels = [drawn.normal(size=(IMAGES, *shape)).astype(np.float16).transpose(0, 3, 1, 2) for shape in shapes.values()]
    ones = tuple(np.ones(level.shape[1], np.float32) for level in levels)
    return Features("fake", tuple(levels), tuple(shapes), ones, ones)


def built(name: str, outputs: int = CLASSES, seed: int = 0) -> SplitModel:
    return build_model(name, outputs, seed=seed, features=dataset_for(name).features)


class FakeGpu(FakeTensorMode):
    """The mode, which also answers what takes numbers to know."""

    def dispatch(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        kwargs = kwargs or {}
        return ANSWERS[func](*args, **kwargs) if func in ANSWERS else super().dispatch(func, types, args, kwargs)

    def may_turn_const(self, t: Tensor) -> bool:
        return False  # a constant would be copied to the real GPU


class FakeGenerator(torch.Generator):
    """A generator that says where it is."""

    place: torch.device

    def __new__(cls, device: torch.device | str = "cpu") -> "FakeGenerator":
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made


class Generators(TorchFunctionMode):
    """Refuses to draw numbers on another device than the generator's."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        drawn, generator = func(*args, **(kwargs or {})), (kwargs or {}).get("generator")
        if generator is not None and generator.place.type != drawn.device.type:
            raise RuntimeError(f"a generator on {generator.place} draws numbers on {drawn.device}")
        return drawn


def on_cpu(tensor: Tensor) -> Tensor:
    assert tensor.device.type == "cpu"
    return tensor


def zeros(tensor: Tensor) -> np.ndarray:
    return np.zeros(on_cpu(tensor).shape, str(tensor.dtype).removeprefix("torch."))


def copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copy = tensor.detach().clone()
    return memo.setdefault(id(tensor), nn.Parameter(copy) if isinstance(tensor, nn.Parameter) else copy)


def backward(loss: Tensor) -> None:
    """Give each weight that the loss depends on a gradient."""
    assert loss.shape == ()
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
            if hasattr(node, "variable"):
                node.variable.grad = torch.empty_like(node.variable)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Return the device that is not there; while the test runs, every tensor is fake."""
    monkeypatch.setattr(weakref, "getweakrefs", lambda tensor: [])  # the mode's own would keep weights from moving
    monkeypatch.setattr(feeding, "one_ahead", map)  # the mode is only in this thread
    monkeypatch.setattr(torch, "Generator", FakeGenerator)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.Tensor, "pin_memory", on_cpu)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", copied, raising=False)
    monkeypatch.setattr(FakeTensor, "numpy", zeros, raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**30))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    with FakeGpu(), Generators():
        yield torch.device("cuda", 0)


def test_the_fake_gpu_refuses_what_a_real_one_refuses(gpu: torch.device):
    here, there = torch.ones(3), torch.ones(3, device=gpu)
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(RuntimeError, match="a generator on cpu draws numbers on cuda:0"):
        there.uniform_(generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError):
        there.numpy()
    with pytest.raises(AssertionError):
        there.pin_memory()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("resident_share", [0.5, 0.0])
def test_a_network_is_trained_and_tested(
    name: str, resident_share: float, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feeding, "RESIDENT_SHARE", resident_share)
    dataset = dataset_for(name)
    full = FULL_OF_SCENES if dataset.is_dense else FULL
    if dataset.features:
        full = replace(full, augmentation="flip")
    recipe = full if resident_share else PLAIN
    trainer = Trainer(built(name, recipe.outputs(dataset)), recipe, gpu)
    trainer.train(dataset, ALL, seed=0)
    assert {weight.device for weight in trainer.network.state_dict().values()} == {gpu}
    trained = [weight for weight in trainer.network.parameters() if weight.requires_grad]
    assert {None if weight.grad is None else weight.grad.device for weight in trained} == {gpu}
    if dataset.is_dense:
        dataset = replace(dataset, labels=dataset.labels.repeat(2, axis=1).repeat(2, axis=2))
    assert set(measure_on_test_set(trainer.network, dataset, recipe).measures) >= {"accuracy"}


def scores_of(text: str, name: str, gpu: torch.device) -> np.ndarray:
    dataset, query = dataset_for(name), parse_query(text)
    networks = [built(name, seed=member) for member in range(query.networks)]
    committee = Committee(networks, 2, 0.5 * query.has_dropout).to(gpu)
    weights = class_loss_weights(dataset, ALL) if query.balanced else None
    return score_images(query, committee, dataset, ALL, FULL, weights)


@pytest.mark.parametrize("name", MODELS)
def test_a_committee_has_all_statistics_and_scores(name: str, gpu: torch.device):
    dataset, committee = dataset_for(name), Committee([built(name)], 2, 0.5).to(gpu)
    (statistics,) = ask_committee(committee, dataset, ALL[:BATCH], PLAIN, list(STATISTICS))
    size = (3, 5) if committee.networks[0].at_own_size else dataset.labels.shape[1:]
    for score in SCORES.values():
        scores = applied(score, statistics)
        assert (scores.shape, scores.device) == ((BATCH, *size), gpu)


@pytest.mark.parametrize("name", MODELS)
def test_a_network_scores_images(name: str, gpu: torch.device):
    assert scores_of("vote_entropy+balanced+top0.1", name, gpu).shape == (IMAGES,)


@pytest.mark.parametrize("name", ["unet_small", "frozen_small"])
@pytest.mark.parametrize("text", [*ASKING, "bald+ensemble2", *(f"margin+{changed}" for changed in CHANGED)])
def test_scenes_are_scored(text: str, name: str, gpu: torch.device):
    assert scores_of(text, name, gpu).shape[0] == IMAGES


@pytest.mark.parametrize("text", [*ASKING, "bald+ensemble2", "margin+balanced"])
def test_digits_are_scored(text: str, gpu: torch.device):
    assert scores_of(text, "mnist_cnn", gpu).shape == (IMAGES,)


@pytest.mark.parametrize("name", MODELS)
def test_images_have_embeddings_and_gradients(name: str, gpu: torch.device):
    dataset, network = dataset_for(name), built(name).to(gpu)
    candidates = Candidates(network, dataset, FULL, ALL, ALL[:0])
    assert candidates.embeddings(ALL).shape[0] == IMAGES
    weights = [*network.last] if isinstance(network, FrozenHead) else [network.head[-1].get_parameter("weight")]
    assert candidates.gradients(ALL).shape == (IMAGES, sum(one.numel() for one in weights))


@pytest.mark.parametrize("name", ["unet_small", "frozen_small"])
def test_a_scene_has_score_maps(name: str, gpu: torch.device):
    dataset, committee = dataset_for(name), Committee([built(name)], 2, 0.5).to(gpu)
    prediction, maps = score_maps(committee, dataset, 0, FULL, list(SCORES))
    assert {prediction.shape, *(found.shape for found in maps.values())} == {dataset.labels.shape[1:]}
