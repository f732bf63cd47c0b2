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

from alutils.datasets import ImageDataset, label_counts
from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.training import loop as training
from alutils.training.feeding import feed
from alutils.training.loop import Trainer, class_loss_weights, epoch_batches, evaluate
from alutils.training.metrics import mean_iou
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


def test_a_loss_that_is_not_finite_raises(tiny_scenes: ImageDataset) -> None:
    trainer = new_trainer()
    next(trainer.network.parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"^the loss is nan at learning rate 0\.01.*$"):
        trainer.train(tiny_scenes, ALL, seed=0)


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
    before = mean_iou(evaluate(trainer.network, tiny_scenes, RECIPE))
    trainer.train(tiny_scenes, ALL, seed=0)
    assert before < 0.5
    assert mean_iou(evaluate(trainer.network, tiny_scenes, RECIPE)) > 0.9


def test_bfloat16_runs_on_a_cpu(tiny_scenes: ImageDataset) -> None:
    recipe = replace(RECIPE, steps=3, precision="bfloat16")
    weights = trained(tiny_scenes, recipe)
    assert torch.isfinite(weights).all()
    assert not torch.equal(weights, trained(tiny_scenes, replace(recipe, precision="float32")))
    evaluate(build_model("unet_small", 3, seed=0), tiny_scenes, recipe)


def test_evaluation_does_not_depend_on_the_batch_size(tiny_scenes: ImageDataset) -> None:
    model = build_model("unet_small", 3, seed=0)
    before = flat(model)
    confusions = [evaluate(model, tiny_scenes, replace(RECIPE, batch_size=size)) for size in (2, 5, 12, 99)]
    assert all(torch.equal(confusion, confusions[0]) for confusion in confusions)
    assert confusions[0].sum() == (tiny_scenes.labels != 255).sum()
    assert torch.equal(flat(model), before)  # batch norm's statistics included


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
