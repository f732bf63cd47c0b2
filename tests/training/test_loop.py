import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from alutils.datasets import ImageDataset, clips, label_counts, load_dataset
from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.models.base import Maps
from alutils.training import loop as training
from alutils.training.feeding import feed
from alutils.training.loop import (
    Trainer,
    autocast,
    check_losses,
    class_loss_weights,
    default_device,
    epoch_batches,
    evaluate,
    in_batches,
    measure_on_test_set,
)
from alutils.training.metrics import mean_iou, resize_predictions
from alutils.training.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    steps=None,
    batch_size=4,
    learning_rate=0.01,
    weight_decay=1e-4,
    class_weights=True,
    void_class=False,
    augmentation="flip",
    precision="float32",
)
ALL = np.arange(12)  # the images of `tiny_scenes`
CPU = torch.device("cpu")


def scenes(labels: np.ndarray) -> ImageDataset:
    """Return black scenes of the classes a, b, c with the labels (N, H, W)."""
    images = np.zeros((len(labels), 3, *labels.shape[1:]), np.uint8)
    names, colours = [f"scene{index}" for index in range(len(labels))], [(0, 0, 0)] * 3
    return ImageDataset(
        *("black", "train", images, labels.astype(np.uint8), names),
        *(["a", "b", "c"], colours, (0.5,) * 3, (0.25,) * 3, "f" * 64),
    )


def trained(dataset: ImageDataset, recipe: Recipe = RECIPE, indices: np.ndarray = ALL, **options: Any) -> Tensor:
    """Return all weights of a small network after training."""
    trainer = new_trainer(recipe)
    trainer.train(dataset, indices, seed=5, **options)
    return flat(trainer.network)


def new_trainer(recipe: Recipe = RECIPE, seed: int = 0) -> Trainer:
    return Trainer(build_model("unet_small", 3, seed=seed), recipe, CPU)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([values.double().flatten() for values in model.state_dict().values()])


# Recipe


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("steps", 0),
        ("steps", -3),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", 11.0),
        ("weight_decay", -0.1),
        ("precision", "float16"),
    ],
)
def test_recipe_refuses_impossible_values(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=rf"^{name} is [^;]*; (did you mean \w+\? )?allowed: .*$"):
        replace(RECIPE, **{name: value})


def test_total_steps() -> None:
    assert RECIPE.total_steps(12) == 2 * 3
    assert RECIPE.total_steps(13) == 2 * 4  # the last batch of an epoch is filled up
    assert RECIPE.total_steps(1) == 2
    assert replace(RECIPE, steps=7).total_steps(13) == 7
    assert (RECIPE.total_epochs(13), replace(RECIPE, steps=7).total_epochs(12)) == (2, 3)


# What goes into a step


def test_void_counts_as_the_last_class_where_it_is_one(tiny_scenes: ImageDataset) -> None:
    counts = label_counts(tiny_scenes, np.arange(12), void_class=True)
    assert counts[-1] == (tiny_scenes.labels == 255).sum()
    assert counts.sum() == tiny_scenes.labels.size
    weights = class_loss_weights(tiny_scenes, np.arange(12), void_class=True)
    np.testing.assert_allclose(weights, 1 / np.log(1.02 + counts / counts.sum()), rtol=1e-6)


def test_class_loss_weights_by_hand() -> None:
    labels = np.array([[[0, 0], [255, 0]], [[0, 1], [255, 255]], [[2, 2], [2, 2]]])
    expected = [1 / math.log(1.82), 1 / math.log(1.22), 1 / math.log(1.02)]  # shares 4/5, 1/5, 0
    weights = class_loss_weights(scenes(labels), np.array([0, 1]))
    assert weights.tolist() == pytest.approx(expected)
    single = class_loss_weights(scenes(np.array([[[0, 255]]])), np.array([0]))
    assert single.tolist() == pytest.approx([1 / math.log(2.02), 1 / math.log(1.02), 1 / math.log(1.02)])
    nothing = class_loss_weights(scenes(np.full((1, 2, 2), 255)), np.array([0]))
    assert nothing.tolist() == pytest.approx([1 / math.log(1.02)] * 3), (
        "of void alone: as of classes that are not there"
    )
    labels[2] = 1  # the label of an image that is not labelled
    assert torch.equal(class_loss_weights(scenes(labels), np.array([0, 1])), weights)


@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 99))
def test_epoch_batches_are_full_and_hold_every_image(count: int, batch_size: int, seed: int) -> None:
    indices = 100 + np.arange(count)
    batches = epoch_batches(indices, batch_size, seed)
    assert batches.shape == (math.ceil(count / batch_size), batch_size)
    found, times = np.unique(batches, return_counts=True)
    assert np.array_equal(found, indices)
    if count >= batch_size:
        assert times.max() <= 2  # only the first are repeated, to fill the last batch
    else:
        assert times.max() - times.min() <= 1


def test_every_seed_has_an_order_of_its_own() -> None:
    assert not np.array_equal(epoch_batches(ALL, 4, seed=0), epoch_batches(ALL, 4, seed=1))
    assert np.array_equal(epoch_batches(ALL, 4, seed=0), epoch_batches(ALL, 4, seed=0))


# One step, by hand: logits are two numbers that do not depend on the image


class Constant(SplitModel):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.auxiliary = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def training_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        shape = (len(images), 2, *images.shape[-2:])
        return tuple(logits[:, None, None].expand(shape) for logits in (self.main, self.auxiliary))


def one_step(weights: Tensor | None) -> Constant:
    model = Constant()
    labels = torch.tensor([[[0, 0, 0, 1, 255]]])  # three of a, one of b, one void
    trainer = Trainer(model, RECIPE, CPU)
    trainer.optimizer = torch.optim.SGD(model.parameters(), lr=123.0)
    trainer.step(torch.zeros(1, 3, 1, 5), labels, weights, 1.0)
    return model


def test_a_step_follows_the_mean_cross_entropy_of_labelled_pixels() -> None:
    model = one_step(weights=None)  # the gradient is 1/2 minus the share of the class
    assert model.main.tolist() == pytest.approx([0.75 - 0.5, 0.25 - 0.5])
    assert model.auxiliary.tolist() == pytest.approx([0.4 * 0.25, -0.4 * 0.25])


def test_a_step_weighs_classes() -> None:
    assert one_step(weights=torch.tensor([1.0, 3.0])).main.tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("weights", [None, torch.ones(2), torch.tensor([[1.0, 3.0], [5.0, 1.0]])])
def test_heads_that_are_trained_as_one_learn_from_no_image_that_is_hidden_from_them(weights: Tensor | None) -> None:
    trainer, labels = Trainer(Constant(), RECIPE, CPU), torch.tensor([[[0]], [[1]]])
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=1)
    trainer.network.further_weight = 1.0

    def learnt(*hidden: list[bool]) -> tuple[float, list[float]]:
        trainer.network.load_state_dict({"main": torch.zeros(2), "auxiliary": torch.zeros(2)})
        loss = trainer.step(torch.zeros(2, 3, 1, 1), labels, weights, 1.0, torch.tensor(hidden))
        return loss.item(), flat(trainer.network).tolist()

    assert learnt([True, False], [False, True]) == (pytest.approx(2 * math.log(2)), [-0.5, 0.5, 0.5, -0.5])
    assert learnt([True, False], [True, True]) == (pytest.approx(math.log(2)), [-0.5, 0.5, 0, 0])


def test_a_second_step_starts_from_the_first_ones_weights_and_forgets_its_gradient() -> None:
    trainer, labels = Trainer(Constant(), RECIPE, CPU), torch.zeros(1, 1, 1, dtype=torch.int64)
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=1)
    trainer.network.eval()  # as an evaluation leaves it
    losses = [trainer.step(torch.zeros(1, 3, 1, 1), labels, None, rate) for rate in (1.0, 0.5)]
    assert trainer.network.training
    assert losses[0].item() == pytest.approx(1.4 * math.log(2))
    assert losses[1].item() == pytest.approx(math.log1p(math.exp(-1)) + 0.4 * math.log1p(math.exp(-0.4)))
    second = 0.5 + 0.5 / (1 + math.e)  # half a step down the gradient at (0.5, -0.5)
    assert trainer.network.get_parameter("main").tolist() == pytest.approx([second, -second])


def test_a_loss_that_is_not_finite_is_named_with_its_own_learning_rate() -> None:
    rates = np.array([0.3, 0.2, 0.1])
    check_losses(torch.tensor([1.0, 2.0, 3.0]), rates)
    with pytest.raises(FloatingPointError, match=r"^the loss is inf at learning rate 0\.2;"):
        check_losses(torch.tensor([1.0, math.inf, math.nan]), rates)


@pytest.mark.parametrize(
    ("precision", "device", "is_half"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("float32", "cpu", False),
        ("float32", "cuda", False),
        ("bfloat16", "cpu", True),
        ("bfloat16", "cuda", True),
    ],
)
def test_a_recipe_and_a_device_say_the_precision(
    precision: str, device: str, is_half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *given, enabled: (*given, enabled))
    for has_it in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has_it=has_it: has_it)
        found: Any = autocast(precision, torch.device(device))
        assert found == (device, torch.bfloat16, is_half and (has_it or device == "cuda"))


@pytest.mark.parametrize(("is_there", "name"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_if_there_is_one(is_there: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    assert default_device().type == name


def test_a_trainer_has_the_device_and_the_recipe_that_it_is_given() -> None:
    assert Trainer(Constant(), RECIPE).device == default_device()
    trainer = Trainer(Constant(), RECIPE, CPU)
    assert trainer.device == CPU
    (group,) = trainer.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.01, 1e-4)


@given(st.integers(0, 30), st.integers(2, 9))
def test_batches_are_in_order_and_full_but_the_last(count: int, batch_size: int) -> None:
    batches = list(in_batches(100 + np.arange(count), batch_size, ""))
    assert [number for batch in batches for number in batch] == list(range(100, 100 + count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(0 < len(batch) <= batch_size for batch in batches)


def test_a_loss_that_is_not_finite_raises(tiny_scenes: ImageDataset) -> None:
    trainer = new_trainer()
    next(trainer.network.parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"^the loss is nan at learning rate 0\.01.*$"):
        trainer.train(tiny_scenes, ALL, seed=0)


# Networks on frozen maps


def test_labels_at_fewer_pixels_are_those_at_the_centres_by_hand() -> None:
    labels = torch.arange(2 * 4 * 6).reshape(2, 4, 6)
    assert resize_predictions(labels, (2, 3))[0].tolist() == [[7, 9, 11], [19, 21, 23]]
    assert resize_predictions(labels, (1, 1)).flatten().tolist() == [15, 39]
    assert resize_predictions(labels, (4, 4))[1].tolist() == [
        [row + column for column in (0, 2, 3, 5)] for row in (24, 30, 36, 42)
    ]
    assert resize_predictions(labels, (4, 6)) is labels
    digits = torch.tensor([3, 1])
    assert resize_predictions(digits, torch.Size([])) is digits


def test_the_loss_is_taken_at_the_size_of_the_logits() -> None:
    class Coarse(Constant):
        def training_logits(self, images: Tensor) -> tuple[Tensor, ...]:
            return (self.main.view(1, 2, 1, 1).expand(1, 2, 1, 2),)

    network = Coarse()
    network.main.data = torch.tensor([0.0, math.log(3)])  # probabilities 1/4 and 3/4
    targets = torch.tensor([[[0, 0, 0, 255], [0, 1, 0, 1]]])  # those at the centres are both 1
    loss = Trainer(network, RECIPE, CPU).step(torch.zeros(1, 3, 2, 4), targets, None, 0.1)
    assert loss.item() == pytest.approx(-math.log(3 / 4))


@pytest.mark.parametrize("name", ["frozen_linear", "frozen_small"])
def test_a_network_on_frozen_maps_learns(name: str, frozen_scenes: ImageDataset) -> None:
    network = build_model(name, 3, seed=0, features=frozen_scenes.features)
    trainer = Trainer(network, replace(RECIPE, steps=100, learning_rate=0.03), CPU)
    before = mean_iou(evaluate(trainer.network, frozen_scenes, RECIPE).sum(dim=0))
    trainer.train(frozen_scenes, ALL, seed=0)
    assert before < 0.6
    assert mean_iou(evaluate(trainer.network, frozen_scenes, RECIPE).sum(dim=0)) > 0.7


@torch.inference_mode()
def test_a_network_on_frozen_maps_is_tested_at_the_native_resolution(frozen_scenes: ImageDataset) -> None:
    network = build_model("frozen_small", 3, seed=0, features=frozen_scenes.features).eval()
    labels = np.random.default_rng(0).integers(0, 3, (12, 60, 80)).astype(np.uint8)
    found = evaluate(network, replace(frozen_scenes, labels=labels), RECIPE).sum(dim=0)
    ((maps, _),) = feed(frozen_scenes, [ALL], CPU)
    predictions = F.interpolate(network.decode(network.encode(maps)), (24, 32), mode="bilinear").argmax(dim=1).numpy()
    rows, columns = (((np.arange(many) + 0.5) * few / many).astype(int) for few, many in ((24, 60), (32, 80)))
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, predictions[:, rows[:, None], columns]), 1)
    assert found.sum() == labels.size
    assert abs(found.numpy() - expected).sum() <= 1e-3 * labels.size, "a sum in another order may turn a tie"


# A whole training


@pytest.mark.parametrize(
    ("decay", "shares"),
    [((1.0, 0.0), [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]), ((0.5, 0.2), [0.5, 0.45, 0.4, 0.35, 0.3, 0.25])],
)
def test_learning_rate_falls_linearly(
    decay: tuple[float, float], shares: list[float], tiny_scenes: ImageDataset
) -> None:
    trainer, rates = new_trainer(), []
    trainer.optimizer.register_step_pre_hook(lambda opt, *_: rates.append(opt.param_groups[0]["lr"]))
    trainer.train(tiny_scenes, ALL, seed=0, decay=decay)
    assert rates == pytest.approx([0.01 * share for share in shares])


def test_steps_may_end_within_an_epoch(tiny_scenes: ImageDataset) -> None:
    trainer, rates, calls = new_trainer(replace(RECIPE, steps=5)), [], []  # an epoch has 3
    trainer.optimizer.register_step_pre_hook(lambda opt, *_: rates.append(opt.param_groups[0]["lr"]))
    trainer.train(tiny_scenes, ALL, seed=0, after_epoch=lambda *call: calls.append(call))
    assert rates == pytest.approx([0.01 * share for share in (1, 0.8, 0.6, 0.4, 0.2)])
    assert calls == [(1, False), (2, True)]


def test_every_epoch_sees_all_images_in_an_order_of_its_own(
    tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def spy(dataset: ImageDataset, batches: np.ndarray, *others: Any) -> Iterator[tuple[Tensor, Tensor]]:
        seen.extend(batches.ravel())
        return feed(dataset, batches, *others)

    monkeypatch.setattr(training, "feed", spy)
    trained(tiny_scenes)
    first, second = seen[:12], seen[12:]
    assert sorted(first) == sorted(second) == ALL.tolist()
    assert first != second


class Noting(SplitModel):
    """Notes the images and the mask of its dropout at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(3)), list[tuple[bytes, bytes]]()

    def training_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        mask = nn.functional.dropout(torch.ones(99), training=self.training)
        self.seen.append((images.numpy().tobytes(), mask.numpy().tobytes()))
        return (self.weight[:, None, None].expand(len(images), 3, *images.shape[-2:]),)


@pytest.mark.parametrize("augmentation", ["flip", "scale", "colour"])
def test_every_epoch_draws_its_own_augmentation_and_dropout_fixed_by_the_seed(
    augmentation: str, tiny_scenes: ImageDataset
) -> None:
    recipe = replace(RECIPE, epochs=8, batch_size=4, augmentation=augmentation)

    def noted(**options: Any) -> list[tuple[bytes, bytes]]:
        network = Noting()
        torch.rand(3)  # training seeds its own draws
        Trainer(network, recipe, CPU).train(tiny_scenes, ALL[:1], **options)  # an epoch is one image, four times
        return network.seen

    drawn, again, other = noted(seed=5), noted(seed=5), noted(seed=6)
    assert drawn == again
    assert drawn[3:] == noted(seed=5, first_epoch=3), "they depend on the number of the epoch alone"
    for images, masks in (zip(*seen, strict=True) for seen in (drawn, other)):
        assert len(set(masks)) == 8
        assert len(set(images)) > 4, "flips of four images may be the same by chance"
    assert not {mask for _, mask in drawn} & {mask for _, mask in other}
    assert [images for images, _ in drawn] != [images for images, _ in other]


class Spying(Trainer):
    """Notes the targets and the class weights of each step."""

    def __init__(self, recipe: Recipe):
        super().__init__(build_model("unet_small", 3 + recipe.void_class, seed=0), recipe, CPU)
        self.targets, self.weights = list[Tensor](), list[Tensor | None]()

    def step(self, images: Tensor | Maps, targets: Tensor, weights: Tensor | None, *of_step: Any) -> Tensor:
        self.targets.append(targets)
        self.weights.append(weights)
        return super().step(images, targets, weights, *of_step)


@pytest.mark.parametrize(("void_class", "value"), [(False, 255), (True, 3)])
def test_void_is_a_class_only_where_it_is_one(void_class: bool, value: int, tiny_scenes: ImageDataset) -> None:
    trainer = Spying(replace(RECIPE, void_class=void_class))
    trainer.train(tiny_scenes, ALL, seed=0)
    targets = torch.cat(trainer.targets)
    assert targets.unique().tolist() == [0, 1, 2, value]
    assert (targets == value).sum() == 2 * (tiny_scenes.labels == 255).sum(), "in two epochs"


def test_classes_are_weighed_only_if_the_recipe_says_so(tiny_scenes: ImageDataset) -> None:
    weighed, plain = Spying(RECIPE), Spying(replace(RECIPE, class_weights=False))
    for trainer in (weighed, plain):
        trainer.train(tiny_scenes, ALL[:4], seed=0)
    expected = class_loss_weights(tiny_scenes, ALL[:4])
    assert [weights.tolist() for weights in weighed.weights if weights is not None] == [[expected.tolist()]] * 2
    assert plain.weights == [None, None]


def test_a_batch_without_a_label_has_loss_0_and_teaches_nothing(tiny_scenes: ImageDataset) -> None:
    trainer, void = Trainer(Constant(), RECIPE, CPU), torch.full((1, 1, 2), 255)
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=1)
    assert trainer.step(torch.zeros(1, 3, 1, 2), void, None, 1.0).item() == 0
    assert flat(trainer.network).tolist() == [0] * 4
    tiny_scenes.labels[[2, 5]] = 255
    weights = trained(tiny_scenes, replace(RECIPE, batch_size=2, epochs=4), np.array([2, 5, 7]))
    assert torch.isfinite(weights).all()


def test_training_resumed_is_the_same_training(tiny_scenes: ImageDataset) -> None:
    recipe = replace(RECIPE, epochs=3)
    trainer, saved = new_trainer(recipe), dict[int, Any]()

    def save(epochs_done: int, is_last: bool) -> None:
        saved[epochs_done] = copy.deepcopy(trainer.state())

    trainer.train(tiny_scenes, ALL, seed=5, after_epoch=save)

    resumed = new_trainer(recipe, seed=1)
    resumed.network.eval()  # as an evaluation leaves it
    resumed.load_state(saved[1])
    assert not torch.equal(flat(resumed.network), flat(trainer.network))
    torch.rand(9)  # training seeds its own draws
    resumed.train(tiny_scenes, ALL, seed=5, first_epoch=1)
    assert torch.equal(flat(resumed.network), flat(trainer.network))


def test_only_labelled_images_matter(tiny_scenes: ImageDataset) -> None:
    labelled = np.array([0, 2, 5])
    before = trained(tiny_scenes, indices=labelled)
    others = np.setdiff1d(ALL, labelled)
    tiny_scenes.labels[others] = 1
    assert torch.equal(trained(tiny_scenes, indices=labelled), before)
    tiny_scenes.labels[labelled] = 1
    assert not torch.equal(trained(tiny_scenes, indices=labelled), before)


@pytest.mark.parametrize("change", [{"class_weights": False}, {"weight_decay": 0.1}])
def test_every_switch_of_the_recipe_acts(change: dict[str, Any], tiny_scenes: ImageDataset) -> None:
    recipe = replace(RECIPE, steps=3)
    assert not torch.equal(trained(tiny_scenes, replace(recipe, **change)), trained(tiny_scenes, recipe))


def test_training_learns(tiny_scenes: ImageDataset) -> None:
    trainer = new_trainer(replace(RECIPE, steps=60))
    before = mean_iou(evaluate(trainer.network, tiny_scenes, RECIPE).sum(dim=0))
    trainer.train(tiny_scenes, ALL, seed=0)
    assert before < 0.5
    assert mean_iou(evaluate(trainer.network, tiny_scenes, RECIPE).sum(dim=0)) > 0.9


def test_bfloat16_runs_on_a_cpu_that_has_it_and_is_float32_on_others(
    tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, steps=3, precision="bfloat16")
    in_float32 = trained(tiny_scenes, replace(recipe, precision="float32"))
    for has_it in (False, True):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has_it=has_it: has_it)
        weights = trained(tiny_scenes, recipe)
        assert torch.isfinite(weights).all()
        assert torch.equal(weights, in_float32) == (not has_it)
    evaluate(build_model("unet_small", 3, seed=0), tiny_scenes, recipe)


def normalised(images: np.ndarray) -> Tensor:
    return (torch.from_numpy(images) / 255 - 0.5) / 0.25


@torch.no_grad()
def undecided(dataset: ImageDataset, classes: int = 3) -> SplitModel:
    """Return an untrained network with dropout that predicts each class about as often as any other."""
    model = build_model("unet_small", classes, seed=0)
    torch.nn.init.normal_(model.get_parameter("head.1.weight"), std=5, generator=torch.manual_seed(0))
    logits = model.eval()(normalised(dataset.images))
    model.get_parameter("head.1.bias").sub_(logits.mean(dim=(0, 2, 3)))
    return model.train()  # as a training leaves it


@torch.inference_mode()
def plain_confusion(model: SplitModel, dataset: ImageDataset, outputs: int) -> np.ndarray:
    """Count labels and predictions image by image, the network in evaluation mode."""
    counts, model = np.zeros((outputs, outputs), int), copy.deepcopy(model).eval()
    for image, label, _ in map(dataset.__getitem__, range(len(dataset))):
        predicted = model(normalised(image[None])).argmax(dim=1)[0].numpy()
        larger = len(label) // len(predicted)
        predicted = predicted.repeat(larger, axis=0).repeat(larger, axis=1)
        np.add.at(counts, (label[label != 255], predicted[label != 255]), 1)
    return counts


@pytest.mark.parametrize("batch_size", [2, 5, 12, 99])
def test_evaluation_is_a_plain_loop_whatever_the_batch_size(batch_size: int, tiny_scenes: ImageDataset) -> None:
    model = undecided(tiny_scenes)
    before, expected = flat(model), plain_confusion(model, tiny_scenes, 3)
    assert (expected / expected.sum() > 0.01).all(), "every class is often right and often taken for each other one"
    confusion = evaluate(model, tiny_scenes, replace(RECIPE, batch_size=batch_size)).sum(dim=0).numpy()
    assert confusion.sum() == (tiny_scenes.labels != 255).sum()
    assert abs(confusion - expected).sum() <= 4, "a pixel or two may be on the edge"
    assert torch.equal(flat(model), before)  # batch norm's statistics included
    assert model.training


@pytest.mark.parametrize("batch_size", [2, 5, 99])
def test_each_clip_is_counted_apart(batch_size: int, tiny_scenes: ImageDataset, monkeypatch: Any) -> None:
    monkeypatch.setattr("alutils.datasets.base.CLIP", 4)
    names = [f"{'b' if index < 7 else 'a'}{index:02}" for index in range(12)]
    names = [name.replace("b", "b_") for name in names]
    filmed = replace(tiny_scenes, item_names=names, sequences=["a", "b_"])
    assert [(sequence, images.tolist()) for sequence, images in clips(filmed)] == [
        ("b", [0, 1, 2, 3]), ("b", [4, 5, 6]), ("a", [7, 8, 9]), ("a", [10, 11])
    ]  # fmt: skip
    model = undecided(tiny_scenes)
    found = measure_on_test_set(model, filmed, replace(RECIPE, batch_size=batch_size)).clips
    for (_, images), counts in zip(clips(filmed), found, strict=True):
        chosen = replace(filmed, images=filmed.images[images], labels=filmed.labels[images])
        chosen = replace(chosen, item_names=[names[index] for index in images])
        confusion = plain_confusion(model, chosen, 3)
        right = confusion.diagonal()
        expected = [right, confusion.sum(axis=0) + confusion.sum(axis=1) - right]
        assert np.abs(counts.numpy() - expected).sum() <= 4, "a pixel or two may be on the edge"


def test_images_of_no_sequence_and_digits_are_clips_too(tiny_scenes: ImageDataset) -> None:
    assert [(sequence, len(images)) for sequence, images in clips(tiny_scenes)] == [("", 12)]
    digits = load_dataset("digits", "test")
    assert [(sequence, len(images)) for sequence, images in clips(digits)] == [("", len(digits))]


def test_predictions_are_enlarged_to_the_labels_and_void_has_a_column(tiny_scenes: ImageDataset) -> None:
    larger = replace(tiny_scenes, labels=tiny_scenes.labels.repeat(2, axis=1).repeat(2, axis=2))
    model = undecided(tiny_scenes, 4)
    confusion = evaluate(model, larger, replace(RECIPE, void_class=True)).sum(dim=0).numpy()
    expected = plain_confusion(model, larger, 4)[:3]
    assert (expected[:, 3] > 99).all(), "void is often predicted"
    assert abs(confusion - expected).sum() <= 16


def test_measures_are_those_of_the_confusion(tiny_scenes: ImageDataset) -> None:
    scenes = replace(tiny_scenes, categories={"bc": [1, 2], "a": [0]})
    model = undecided(tiny_scenes)
    measures, counts = (
        measure_on_test_set(model, scenes, RECIPE).measures,
        evaluate(model, scenes, RECIPE).sum(dim=0).numpy(),
    )
    right = counts.diagonal()
    ious = right / (counts.sum(axis=0) + counts.sum(axis=1) - right)
    both = counts[1:, 1:].sum() / (counts.sum() - counts[0, 0])
    expected = {"miou": ious.mean(), "accuracy": right.sum() / counts.sum()}
    expected |= {"iou_a": ious[0], "iou_b": ious[1], "iou_c": ious[2]}
    assert measures == pytest.approx(expected | {"category_iou_bc": both, "category_iou_a": ious[0]})
    noise = np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), np.uint8)
    digits = replace(tiny_scenes, images=noise, labels=scenes.labels[:, 9, 9], mean=(0.5,), std=(0.25,))
    guess = build_model("mnist_cnn", 3, seed=0)
    with torch.inference_mode():
        predicted = guess.eval()(normalised(noise)).argmax(dim=1).numpy()
    assert measure_on_test_set(guess, digits, RECIPE).measures == {"accuracy": (predicted == digits.labels).mean()}


def test_scenes_are_augmented_as_the_recipe_says(tiny_scenes: ImageDataset) -> None:
    ways = ["none", "flip", "flip+scale+colour"]
    weights = [trained(tiny_scenes, replace(RECIPE, steps=3, augmentation=way)) for way in ways]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("augmentation", ["mirror", "flip+", "flip,scale", "", "none+flip"])
def test_an_unknown_augmentation_is_refused(augmentation: str) -> None:
    with pytest.raises(
        ParameterError,
        match=r"^augmentation is [^;]*; (did you mean \w+\? )?allowed: flip, scale, colour, .*none alone$",
    ):
        replace(RECIPE, augmentation=augmentation)
