"""Consensus and vote scores of a pool cost close to one forward pass an image, not T of them.

Sides: ours; one plain forward pass and argmax of the same images (the floor); T full passes with every member's
output kept and scipy's entropy (how the thesis and most research code do it); baal's MCDropoutModule with its entropy
and variance heuristics; the same with baal's MCCachingModule. All start from images in memory.
"""

import copy

import numpy as np
import torch
from measure import Goal, Result, run, synchronize, time_sides
from scipy.stats import entropy
from torch import Tensor, nn

from alutils.datasets import ImageDataset
from alutils.datasets.base import IMAGENET_MEAN, IMAGENET_STD
from alutils.models import SplitModel, build_model
from alutils.models.base import inference_copy, resize_logits
from alutils.queries.committee import Committee, committee_statistics
from alutils.queries.scores import consensus_entropy, vote_entropy
from alutils.queries.scoring import ask_committee
from alutils.training.feeding import feed
from alutils.training.loop import default_device
from alutils.training.recipe import Recipe

CLASSES, BATCH, MEMBERS = 19, 4, 10
STATISTICS = ("mean_probability", "vote_share")
RECIPE = Recipe(
    epochs=1, steps=None, batch_size=BATCH, learning_rate=1e-3, weight_decay=0, class_weights=False, void_class=False,
    augmentation="none", precision="float32",
)  # fmt: skip


def noise_images(count: int, height: int, width: int) -> ImageDataset:
    """Return images of noise; what is on them does not change what a score costs."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), np.uint8)
    labels = np.zeros((count, height, width), np.uint8)
    names = [str(index) for index in range(CLASSES)]
    items = [str(index) for index in range(count)]
    return ImageDataset(
        "noise", "train", images, labels, items, names, [(0, 0, 0)] * CLASSES, IMAGENET_MEAN, IMAGENET_STD, ""
    )


def both_entropies(mean_probability: Tensor, vote_share: Tensor) -> Tensor:
    """Return the means over the pixels of consensus and vote entropy, (N, 2) in bits."""
    maps_N_2_H_W = torch.stack([consensus_entropy(mean_probability), vote_entropy(vote_share)], dim=1)
    return maps_N_2_H_W.flatten(2).mean(dim=2)


def committee_of(model: SplitModel, members: int = MEMBERS) -> Committee:
    """Return a committee of one network at dropout rate 0.5."""
    return Committee([model], members, 0.5, seed=0)


def ours(model: SplitModel, dataset: ImageDataset, members: int = MEMBERS) -> np.ndarray:
    """Return (N, 2) scores."""
    batches = ask_committee(committee_of(model, members), dataset, np.arange(len(dataset)), RECIPE, STATISTICS)
    return torch.cat([both_entropies(**statistics).double().cpu() for statistics in batches]).numpy()


def in_batches(model: SplitModel, dataset: ImageDataset) -> list[Tensor]:
    """Return the dataset's images on the model's device, normalised, a batch each."""
    device = next(model.parameters()).device
    starts = range(0, len(dataset), BATCH)
    batches = [np.arange(start, min(start + BATCH, len(dataset))) for start in starts]
    return [images for images, _ in feed(dataset, batches, device)]


@torch.inference_mode()
def plain_forward(model: SplitModel, dataset: ImageDataset) -> None:
    """Predict every image once."""
    model.eval()
    for images in in_batches(model, dataset):
        model(images).argmax(dim=1).cpu()


@torch.inference_mode()
def naive(model: SplitModel, dataset: ImageDataset) -> np.ndarray:
    """Return (N, 2) scores from T full passes with dropout on, whose outputs are all kept."""
    model.eval()
    for module in model.modules():
        module.train(isinstance(module, nn.Dropout))
    scores = []
    for images in in_batches(model, dataset):
        probs_T_N_C_H_W = np.stack([model(images).softmax(dim=1).cpu().numpy() for _ in range(MEMBERS)])
        consensus = entropy(probs_T_N_C_H_W.mean(axis=0), base=2, axis=1)
        votes = probs_T_N_C_H_W.argmax(axis=2)
        shares = np.stack([(votes == c).mean(axis=0) for c in range(CLASSES)], axis=1)
        maps = np.stack([consensus, entropy(shares, base=2, axis=1)], axis=1)
        scores.append(maps.mean(axis=(2, 3)))
    return np.concatenate(scores)


@torch.inference_mode()
def passes_alone(model: SplitModel, dataset: ImageDataset) -> None:
    """Compute every member's logits and do nothing with them."""
    committee = committee_of(inference_copy(model))
    for images in in_batches(model, dataset):
        for _ in committee.logits(images):
            pass
    synchronize()


def baal_heuristics(model: SplitModel, dataset: ImageDataset, caching: bool) -> None:
    """Rank every image by baal's entropy and variance."""
    from baal.active.heuristics import Entropy, Variance
    from baal.bayesian.caching_utils import MCCachingModule
    from baal.bayesian.dropout import MCDropoutModule
    from baal.modelwrapper import ModelWrapper, TrainingArgs

    committee = MCDropoutModule(copy.deepcopy(model))
    committee = MCCachingModule(committee) if caching else committee
    images = torch.cat(in_batches(model, dataset)).cpu()
    wrapper = ModelWrapper(committee, TrainingArgs(batch_size=1, workers=0, replicate_in_memory=not caching))
    with torch.inference_mode():
        pool = torch.utils.data.TensorDataset(images)
        for predictions in wrapper.predict_on_dataset_generator(pool, MEMBERS, verbose=False):
            for heuristic in (Entropy(reduction="mean"), Variance(reduction="mean")):
                heuristic.get_uncertainties(predictions)


@torch.inference_mode()
def difference_to_float64(model: SplitModel, dataset: ImageDataset) -> float:
    """Return the largest difference of our scores to those of members with the same masks, kept in float64."""
    exact = committee_of(copy.deepcopy(model).cpu().double())
    differences = []
    for image in in_batches(copy.deepcopy(model).cpu(), dataset)[0].double().split(1):
        kept = [resize_logits(m, image.shape[2:]) for m in exact.logits(image)]
        differences.append(both_entropies(**committee_statistics(kept, STATISTICS)))
    return float(np.abs(torch.cat(differences).numpy() - ours(model, dataset)[:BATCH]).max())


def measure(quick: bool) -> Result:
    """Time all sides, the quick ones more often."""
    count, height, width = (2, 32, 64) if quick else (8, 256, 512)
    dataset = noise_images(count, height, width)
    model = (
        build_model("deeplabv3_resnet50", CLASSES, seed=0).to(default_device()).to(memory_format=torch.channels_last)
    )
    nn.init.normal_(model.get_parameter("head.2.weight"), std=0.5)  # members disagree
    close = {
        "ours": lambda: ours(model, dataset),
        "floor": lambda: plain_forward(model, dataset),
        "passes_alone": lambda: passes_alone(model, dataset),
    }
    slow = {
        "naive": lambda: naive(model, dataset),
        "baal_mcdropout": lambda: baal_heuristics(model, dataset, caching=False),
        "baal_mccaching": lambda: baal_heuristics(model, dataset, caching=True),
    }
    seconds = time_sides(close, 1 if quick else 5) | time_sides(slow, 1 if quick else 2)
    mine, floor, passes = (seconds[name] for name in close)
    rivals = {name: seconds[name] for name in slow}
    return Result(
        f"consensus and vote scores of {count} images of {height}x{width}, {CLASSES} classes, T = {MEMBERS},"
        " deeplabv3_resnet50, float32",
        mine,
        floor,
        rivals,
        [
            Goal("committee scoring: times faster than T passes", rivals["naive"] / mine, at_least=7),
            Goal("... than baal's MCDropoutModule", rivals["baal_mcdropout"] / mine, at_least=7),
            Goal("... than baal's MCCachingModule", rivals["baal_mccaching"] / mine, at_least=2.5),
            Goal("... the same, if all but the members' passes were free", rivals["baal_mccaching"] / passes),
            Goal("... times the cost of one forward pass", mine / floor, at_most=1.3),
            Goal("... difference to float64, same masks", difference_to_float64(model, dataset), at_most=1e-5),
        ],
        {"passes_alone": passes},
    )


if __name__ == "__main__":
    run(measure, __file__)
