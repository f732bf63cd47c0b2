"""A round of active learning on the cached maps of a frozen encoder takes seconds on one core.

Ours calls what `ActiveLearning.do_round` calls: a training, the test at native resolution, vote entropy of the pool.
The maps are there already; what it takes to make them is measured beside.

Rivals (`frozen_rivals.py`) are the same head and encoder in plain torch, and with baal, which decode and encode each
image whenever they need it. Only some of their steps and images are run, and their time is multiplied.

The floor is the matrix products of the head alone, on tensors that are there already: the training's with both
gradients, the test's, and those of the committee. It has no mixing convolution, norm, enlarging or loss.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Goal, Result, run, time_sides
from PIL import Image
from scoring_memory import in_child, peak_mb
from torch.nn import functional as F

from alutils.datasets import ImageDataset, load_dataset
from alutils.datasets.base import SceneFiles
from alutils.datasets.features import BATCH
from alutils.datasets.folder import read_description, scene_files
from alutils.models import DEFAULT_ENCODER, SplitModel, build_model
from alutils.models.base import Maps, inference_copy, predicted_classes
from alutils.models.encoders import encoded, encoder_network, weights_file
from alutils.models.frozen import FINE, HIDDEN, join
from alutils.paths import ROOT, data_dir
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.training.feeding import feed
from alutils.training.loop import Trainer, default_device, in_batches, measure_on_test_set
from alutils.training.recipe import Recipe

MEMBERS, MANY, FEW = 10, 50, 5
HEADS, ENSEMBLE = ("frozen_linear", "frozen_small"), 5
QUERY = parse_query("vote_entropy")


@dataclass(frozen=True)
class Sizes:
    """How much there is to do, and how much of it the rivals do."""

    height: int = 360
    width: int = 480
    train: int = 367
    test: int = 233
    labelled: int = 37
    steps: int = 200
    part_steps: int = 10
    part_test: int = 16
    part_pool: int = 8
    encoded: int = 200  # images whose maps are made to see what that takes
    fed: int = 20  # batches of maps that are read
    in_child: int = 32  # images that are scored in a process of its own
    is_drawn: bool = False  # whether the images are noise

    @property
    def pool(self) -> int:
        """Return the number of images that are scored."""
        return self.train - self.labelled

    @property
    def recipe(self) -> Recipe:
        """Return the recipe of the training."""
        return Recipe(
            epochs=1, steps=self.steps, batch_size=8, learning_rate=1e-3, weight_decay=0, class_weights=False,
            void_class=False, augmentation="none", precision="float32",
        )  # fmt: skip


QUICK = Sizes(48, 64, 12, 4, 8, 2, 1, 4, 4, encoded=8, fed=2, in_child=4, is_drawn=True)


def draw_camvid(root: Path, sizes: Sizes) -> None:
    """Write noise in the form of CamVid."""
    generator = np.random.default_rng(0)
    for split, count in {"train": sizes.train, "test": sizes.test}.items():
        for folder, shape, top in ((split, (3,), 256), (f"{split}annot", (), 12)):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, top, (sizes.height, sizes.width, *shape), np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{number:03}.png")


def files(split: str) -> SceneFiles:
    """Return the files of a split of CamVid."""
    return scene_files(read_description(ROOT / "alutils/datasets/camvid.yaml"), data_dir(), split)


def with_maps(split: str, sizes: Sizes) -> ImageDataset:
    """Return a split of CamVid with maps."""
    native = split == "test"
    dataset = load_dataset("camvid", split, sizes.height, sizes.width, native_labels=native)
    return encoded(dataset, DEFAULT_ENCODER, None, default_device())


class Ours:
    """One round, part by part."""

    def __init__(self, sizes: Sizes):
        self.sizes, self.recipe = sizes, sizes.recipe
        self.train_set, self.test_set = with_maps("train", sizes), with_maps("test", sizes)
        order = np.random.default_rng(0).permutation(len(self.train_set))
        self.labelled, self.pool = order[: sizes.labelled], order[sizes.labelled :]
        self.network = self.new_network()

    def new_network(self, model: str = "frozen_small", seed: int = 0) -> SplitModel:
        """Return a network that is not trained."""
        features, classes = self.train_set.features, self.train_set.num_classes
        return build_model(model, classes, seed=seed, features=features).to(default_device())

    def train(self) -> None:
        """Train a new network."""
        trainer = Trainer(self.new_network(), self.recipe)
        trainer.train(self.train_set, self.labelled, seed=0)
        self.network = trainer.network

    def train_heads(self, model: str, count: int) -> None:
        """Train several heads as one, or one head, for a few steps."""
        heads = [self.new_network(model, seed) for seed in range(count)]
        network = join(heads, self.train_set.features) if count > 1 else heads[0]
        trainer = Trainer(network, replace(self.recipe, steps=self.sizes.part_steps))
        trainer.train(self.train_set, self.labelled, seed=0)

    def test(self) -> dict[str, float]:
        """Measure the network."""
        return measure_on_test_set(self.network, self.test_set, self.recipe).measures

    def score(self, members: int = MEMBERS, count: int | None = None) -> np.ndarray:
        """Return scores of the pool, or of its first `count` images."""
        committee = Committee([self.network], members, 0.5, seed=0)
        return score_images(QUERY, committee, self.train_set, self.pool[:count], self.recipe)

    @torch.inference_mode()
    def predict_pool(self) -> None:
        """Predict the pool once."""
        model = inference_copy(self.network)
        for maps, _ in feed(self.train_set, in_batches(self.pool, self.recipe.batch_size, ""), default_device()):
            predicted_classes(model(maps))

    def read_maps(self) -> None:
        """Read shuffled batches of maps."""
        generator = np.random.default_rng(0)
        batches = [generator.permutation(len(self.train_set))[:BATCH] for _ in range(self.sizes.fed)]
        for _ in feed(self.train_set, batches, default_device()):
            pass


class Encoding:
    """Images in memory, and what it takes to make their maps."""

    def __init__(self, dataset: ImageDataset, count: int):
        images, labels = np.array(dataset.images[:count]), np.array(dataset.labels[:count])
        names = dataset.item_names[:count]
        self.dataset = replace(dataset, images=images, labels=labels, item_names=names, features=None)
        network = encoder_network(DEFAULT_ENCODER, weights_file(DEFAULT_ENCODER)).eval()
        self.network = network.to(default_device()).to(memory_format=torch.channels_last)

    def cached(self) -> None:
        """Make maps in a new cache."""
        before = os.environ["ALUTILS_CACHE"]
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ALUTILS_CACHE"] = folder
            encoded(self.dataset, DEFAULT_ENCODER, None, default_device())
        os.environ["ALUTILS_CACHE"] = before

    @torch.inference_mode()
    def passes(self) -> None:
        """Normalise the same batches and pass them through the encoder."""
        for start in range(0, len(self.dataset), BATCH):
            pixels = torch.from_numpy(self.dataset.images[start : start + BATCH]).to(default_device())
            self.network((pixels.to(memory_format=torch.channels_last) - 127.5) / 127.5)


class Products:
    """The matrix products of a round, batch by batch, and the mixing convolutions."""

    def __init__(self, ours: Ours):
        features, batch = ours.train_set.features, ours.recipe.batch_size
        assert features
        self.sizes, self.batch, self.classes = ours.sizes, batch, ours.train_set.num_classes
        self.levels = [(level.shape[1], batch * level.shape[2] * level.shape[3]) for level in features.levels]
        self.fine = sum(stride < 8 for stride in features.strides[:-1])
        coarse = torch.randn(batch, HIDDEN, *features.levels[self.fine].shape[2:], device=default_device())
        self.coarse = coarse.to(memory_format=torch.channels_last)
        self.kernel = torch.randn(HIDDEN, 1, 3, 3, device=default_device())

    def hidden(self, has_gradients: bool = False) -> Iterator[Callable[[], object]]:
        """Yield the products of the hidden layers for one batch; the encoder's maps need no gradient."""
        for number, (channels, pixels) in enumerate(self.levels):
            yield product(pixels, channels, FINE if number < self.fine else HIDDEN, has_gradients)

    def last(self, has_gradients: bool = False) -> Iterator[Callable[[], object]]:
        """Yield the products of the last layer for one batch."""
        for number, (_, pixels) in enumerate(self.levels[: self.fine + 1]):
            channels = FINE if number < self.fine else HIDDEN
            yield product(pixels, channels, self.classes, has_gradients, has_gradients)

    def of_committee(self) -> Iterator[Callable[[], object]]:
        """Yield the products of all members' last layers for one batch, at 1/8 of the resolution."""
        for channels in [FINE] * self.fine + [HIDDEN]:
            yield product(self.levels[self.fine][1], channels, MEMBERS * self.classes)

    def run(self) -> None:
        """Do the products of a round."""
        repeat(self.sizes.steps, [*self.hidden(True), *self.last(True)])
        repeat(self.sizes.test / self.batch, [*self.hidden(), *self.last()])
        repeat(self.sizes.pool / self.batch, [*self.hidden(), *self.of_committee()])

    def mix(self) -> None:
        """Do the mixing convolutions of a round, in the training with both gradients."""
        kernel, coarse = self.kernel.clone().requires_grad_(), self.coarse.clone().requires_grad_()

        def forward(kernel: torch.Tensor = self.kernel, coarse: torch.Tensor = self.coarse) -> torch.Tensor:
            return F.conv2d(coarse, kernel, padding=1, groups=HIDDEN)

        repeat(self.sizes.steps, [lambda: torch.autograd.grad(forward(kernel, coarse), (kernel, coarse), self.coarse)])
        repeat((self.sizes.test + self.sizes.pool) / self.batch, [forward])


def product(
    pixels: int, channels: int, outputs: int, for_weights: bool = False, for_maps: bool = False
) -> Callable[[], object]:
    """Return what multiplies maps (pixels, channels) with weights, and if asked for also computes gradients."""
    maps, weights, result = (
        torch.randn(shape, device=default_device())
        for shape in ((pixels, channels), (outputs, channels), (outputs, pixels))  # the fastest order
    )
    of_weights, of_maps = torch.empty_like(weights), torch.empty_like(maps)

    def multiply() -> None:
        torch.mm(weights, maps.T, out=result)
        if for_weights:
            torch.mm(result, maps, out=of_weights)
        if for_maps:
            torch.mm(result.T, weights, out=of_maps)

    return multiply


def repeat(times: float, work: list[Callable[[], object]]) -> None:
    """Do the work so often, to the nearest whole number."""
    for _ in range(round(times)):
        for do in work:
            do()


def child(members: int, sizes: Sizes) -> float:
    """Return the peak memory of scoring with so many members, in MB."""
    ours = Ours(sizes)
    features = ours.train_set.features
    assert features
    levels = [torch.zeros(1, level.shape[1], 2, 2, device=default_device()) for level in features.levels]
    ours.network.eval()(Maps(levels, torch.Size([1, 3, 8, 8])))  # what torch sets up at its first call is not counted
    return peak_mb(lambda: ours.score(members, sizes.in_child))


def measure(quick: bool) -> Result:
    """Take CamVid, or noise of its size, make the maps, and let the sides take turns."""
    torch.set_num_threads(1)
    has_camvid = (data_dir() / "camvid").is_dir()
    sizes = QUICK if quick else Sizes(is_drawn=not has_camvid)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALUTILS_CACHE"] = f"{folder}/cache"
        if sizes.is_drawn:
            os.environ["ALUTILS_DATA"] = folder
            draw_camvid(Path(folder) / "camvid", sizes)
        return compare(sizes, *((1, 1) if quick else (3, 2)))


def compare(sizes: Sizes, rounds: int, slow_rounds: int) -> Result:
    """Time all sides."""
    from frozen_rivals import Rivals

    ours = Ours(sizes)
    encoding, floor = Encoding(ours.train_set, sizes.encoded), Products(ours)
    parts = sizes.part_steps, sizes.part_test, sizes.part_pool
    rivals = Rivals(ours.train_set, files("train"), files("test"), ours.recipe, MEMBERS, *parts)
    sides: dict[str, Callable[[], object]] = {
        "train": ours.train,
        "test": ours.test,
        "score": ours.score,
        "products": floor.run,
        "mixing": floor.mix,
        "score_many": lambda: ours.score(MANY),
        "one_pass": ours.predict_pool,
        "cached": encoding.cached,
        "passes": encoding.passes,
        "read_maps": ours.read_maps,
    }
    for model in HEADS:
        sides |= {f"{model}_{count}": partial(ours.train_heads, model, count) for count in (1, ENSEMBLE)}
    seconds = time_sides(sides, rounds) | time_sides(rivals.sides(), slow_rounds)
    megabytes = {members: in_child(__file__, members, int(sizes == QUICK))["mb"] for members in (FEW, MANY)}
    return result(sizes, ours.train_set, seconds, megabytes)


def result(sizes: Sizes, dataset: ImageDataset, seconds: dict[str, float], megabytes: dict[int, float]) -> Result:
    """Return a round's seconds and all goals."""
    round_s = seconds["train"] + seconds["test"] + seconds["score"]
    rivals = scaled(seconds, sizes)
    return Result(
        f"a round on {sizes.train} images {'of noise' if sizes.is_drawn else 'of CamVid'}, {sizes.height}x"
        f"{sizes.width}: {sizes.steps} steps of 8 on {sizes.labelled} labelled images, test on {sizes.test}, vote"
        f" entropy of {sizes.pool}, T = {MEMBERS}, frozen_small, float32, one thread; the rivals' time is that of"
        f" {sizes.part_steps} steps, {sizes.part_test} test images and {sizes.part_pool} of the pool, multiplied",
        round_s,
        seconds["products"],
        rivals,
        [*round_goals(seconds, rivals, round_s, sizes), *part_goals(seconds, megabytes, sizes)],
        details(seconds, dataset, sizes),
    )


def scaled(seconds: dict[str, float], sizes: Sizes) -> dict[str, float]:
    """Return the seconds of the rivals' whole rounds."""
    steps, test, pool = (
        whole / part
        for whole, part in (
            (sizes.steps, sizes.part_steps),
            (sizes.test, sizes.part_test),
            (sizes.pool, sizes.part_pool),
        )
    )
    tested = test * seconds["plain_test"]
    baal = steps * seconds["baal_train"] + tested
    return {
        "plain_torch": steps * seconds["plain_train"] + tested + pool * seconds["plain_score"],
        "baal_loop": baal + pool * seconds["baal_score"],
        "baal_loop_mccaching": baal + pool * seconds["baal_mccaching_score"],
    }


def round_goals(seconds: dict[str, float], rivals: dict[str, float], round_s: float, sizes: Sizes) -> list[Goal]:
    """Return the goals of a step and a whole round."""
    step_s = seconds["train"] / sizes.steps
    plain, small = (seconds[f"plain_train{name}"] / sizes.part_steps for name in ("", "_at_own_size"))
    baal = min(rivals["baal_loop"], rivals["baal_loop_mccaching"])
    return [
        Goal("frozen rounds: seconds a round on one core", round_s, at_most=25),
        Goal("... a training step, times faster than plain torch", plain / step_s, at_least=20),
        Goal("... the same, where its loss is at 1/4 of the resolution, too", small / step_s),
        Goal("... a whole round, times faster than plain torch", rivals["plain_torch"] / round_s, at_least=5),
        Goal("... than baal's faster loop", baal / round_s, at_least=10),
        Goal("... times the head's matrix products alone", round_s / seconds["products"], at_most=2),
    ]


def part_goals(seconds: dict[str, float], megabytes: dict[int, float], sizes: Sizes) -> list[Goal]:
    """Return the goals of the committee and of the cache."""
    one_pass, passes = seconds["one_pass"], seconds["passes"]
    faster = (passes * BATCH / sizes.encoded) / (seconds["read_maps"] / sizes.fed)
    return [
        Goal(f"... scoring with T = {MEMBERS}, times one prediction", seconds["score"] / one_pass, at_most=1.5),
        Goal(f"... with T = {MANY}", seconds["score_many"] / one_pass, at_most=3),
        Goal(f"... its peak memory against T = {FEW}", megabytes[MANY] / megabytes[FEW], at_most=1.05),
        Goal("... making the maps, times the encoder's passes", seconds["cached"] / passes, at_most=1.15),
        Goal("... reading a batch of maps, times faster than encoding it", faster, at_least=50),
        *(
            Goal(
                f"... {ENSEMBLE} heads of {model} trained as one, times one head",
                seconds[f"{model}_{ENSEMBLE}"] / seconds[f"{model}_1"],
                at_most=2.5,
            )
            for model in HEADS
        ),
    ]


def details(seconds: dict[str, float], dataset: ImageDataset, sizes: Sizes) -> dict[str, Any]:
    """Return further numbers."""
    assert dataset.features
    size = sum(level.nbytes for level in dataset.features.levels) / len(dataset)
    return {
        "seconds of the training": seconds["train"],
        "seconds of the test": seconds["test"],
        "seconds of the scoring": seconds["score"],
        "seconds of the matrix products with the mixing convolution": seconds["products"] + seconds["mixing"],
        "milliseconds a training step": 1000 * seconds["train"] / sizes.steps,
        "milliseconds a training step in plain torch": 1000 * seconds["plain_train"] / sizes.part_steps,
        "milliseconds to encode an image": 1000 * seconds["passes"] / sizes.encoded,
        "milliseconds to read a batch of maps": 1000 * seconds["read_maps"] / sizes.fed,
        "MB of maps an image": size / 1e6,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        torch.set_num_threads(1)
        members, is_quick = map(int, sys.argv[2:])
        print(json.dumps({"mb": child(members, QUICK if is_quick else Sizes())}))
    else:
        run(measure, __file__)
