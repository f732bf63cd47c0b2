"""A finished run, opened: its rounds, what they chose, and its networks, which are asked about one image at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset
from alutils.errors import DataError, ParameterError
from alutils.models.base import predicted_classes
from alutils.paths import published_dir
from alutils.queries.committee import Committee, committee_statistics, enlarged_pieces, probability
from alutils.queries.query import parse_query
from alutils.queries.regions import Pieces
from alutils.queries.scores import SCORES, applied, largest, score_of
from alutils.queries.scoring import enlarged
from alutils.runs.acquisition import WHOLE_IMAGE
from alutils.runs.config import RoundsConfig, recipe_of
from alutils.runs.data import load_split
from alutils.runs.folder import RunFolder, finished_runs
from alutils.runs.kept import committee_of_round, kept_networks
from alutils.runs.schemas import check_items
from alutils.training.feeding import feed
from alutils.training.loop import autocast

FEW = 8
LOOKS = 200  # kept of networks on frozen maps, a quarter of a megabyte each
LARGE_LOOKS = 10  # kept of others, whose committees are asked at the size of the images
LOADED_BY = ("dataset", "height", "width", "model", "encoder", "encoder_weights")
STATISTICS = ("mean_probability", "vote_share", "mean_entropy")


@dataclass(frozen=True)
class Look:
    """What the networks of a round say of one image.

    prediction : (H, W) uint8, the classes that the network predicts without dropout; (1,) for digits
    statistics : the committee's means at the size at which the query asks, (1, C, h, w) or (1, h, w); (1, C) or (1,)
        for digits
    members : of digits, the probabilities that each member gives, (T, C); empty for scenes
    """

    prediction: np.ndarray
    statistics: dict[str, Tensor]
    members: np.ndarray


class OpenedRun:
    """A finished run of rounds. The networks of round r chose what was labelled in round r + 1.

    query : the run's query
    rounds, acquired : `rounds.csv` and `acquisitions.csv`
    scores : the functions of every score that can be shown, by name; the query's own comes first, and of runs that are
        opened together each has those of all
    loaded : data sets that runs share, by what they are loaded by
    """

    def __init__(self, run: RunFolder, loaded: dict[tuple[Any, ...], ImageDataset] | None = None):
        if not run.is_finished:
            raise ParameterError(
                f"{run.path} is no finished run; allowed: one that alutils run or alutils grid finished"
            )
        self.run, self.name = run, run.path.name
        content = run.config()
        if content["kind"] != "rounds":
            raise ParameterError(
                f"{self.name} is a bulk training; allowed: runs of notebook 03 or 01, which have rounds"
            )
        self.config = RoundsConfig.from_names(content | {"experiment": run.path.parent.name})
        self.query = parse_query(self.config.query).loaded()
        self.rounds, self.acquired = run.rounds(), run.acquisitions()
        self._loaded = {} if loaded is None else loaded
        self.scores = _scores(self.config.query, score_of(self.query))
        self.look = lru_cache(LOOKS if self.config.is_frozen else LARGE_LOOKS)(self._look)

    @cached_property
    def train_set(self) -> ImageDataset:
        """Return the pool; raise `DataError` if it is not the one that the run had."""
        dataset = self._load("train")
        check_items(self.acquired, dataset)
        if self.run.config()["train_data"] != dataset.fingerprint:
            raise DataError(f"{self.name} had other images or labels than {dataset.name} has now; run it again")
        return dataset

    @cached_property
    def test_set(self) -> ImageDataset:
        """Return the test set, with labels at the size of the images."""
        return self._load(self.config.test_split)

    def _load(self, split: str) -> ImageDataset:
        by = split, *(getattr(self.config, name) for name in LOADED_BY)
        if by not in self._loaded:
            self._loaded[by] = load_split(self.config, split)
        return self._loaded[by]

    def images(self, split: str) -> ImageDataset:
        """Return the split of that name: train or test."""
        return self.test_set if split == "test" else self.train_set

    @cached_property
    def region_maps(self) -> np.ndarray | None:
        """Return the region of each pixel of the pool, (N, H, W); `None` if whole images are labelled."""
        return Pieces(self.train_set, self.query.regions).maps

    @property
    def last_round(self) -> int:
        """Return the number of the last round."""
        return len(self.rounds) - 1

    def chosen(self, number: int) -> list[int]:
        """Return the images that the networks of a round chose, in the order of choice; none in the last round."""
        return self.acquired.loc[self.acquired["round"] == number + 1, "index"].unique().tolist()

    def labelled(self, number: int) -> list[int]:
        """Return the images that are labelled, wholly or in part, when a round trains."""
        return self.acquired.loc[self.acquired["round"] <= number, "index"].unique().tolist()

    def regions(self, index: int, rounds: Iterable[int]) -> np.ndarray | None:
        """Return where an image was labelled in some rounds, (H, W): 0, or 1 + the region; `None` for whole images."""
        if self.region_maps is None:
            return None
        rows = self.acquired[(self.acquired["index"] == index) & self.acquired["round"].isin(list(rounds))]
        of_image = self.region_maps[index].astype(np.int64)
        if (rows["region"] == WHOLE_IMAGE).any():
            return np.ones_like(of_image)
        return np.where(np.isin(of_image, rows["region"]), of_image + 1, 0)

    @lru_cache(16)  # noqa: B019 - a few runs are open at a time, for as long as the kernel lives
    def committee(self, number: int) -> Committee:
        """Return the committee of a round. A query that asks none, or one without dropout, gets one with dropout."""
        config, dataset = self.config, self.train_set
        networks = kept_networks(config, self.run, number, dataset)
        query = self.query if self.query.has_dropout or self.query.networks > 1 else parse_query("vote_entropy")
        return committee_of_round(config, query, networks, number).for_inference()

    @torch.inference_mode()
    def _look(self, number: int, split: str, index: int) -> Look:
        committee, dataset = self.committee(number), self.images(split)
        plain = committee.networks[0]
        ((images, _),) = feed(dataset, [np.array([index])], committee.device)
        with autocast(self.config.precision, committee.device):
            logits = plain.decode(plain.encode(images)).float()
            if dataset.is_dense:
                asked_at = None if plain.at_own_size else dataset.images.shape[2:]
                statistics = committee_statistics(committee.logits(images), STATISTICS, asked_at)
                members = np.empty((0, 0))
            else:
                asked = [answer.float() for answer in committee.logits(images)]
                statistics = committee_statistics(asked, STATISTICS)
                members = torch.cat([probability(answer) for answer in asked]).cpu().numpy()
        size = dataset.images.shape[2:]
        rows = [predicted_classes(piece) for _, piece in enlarged_pieces(logits, size)]
        prediction = (torch.cat(rows, dim=1)[0] if dataset.is_dense else rows[0]).to(torch.uint8).cpu().numpy()
        return Look(prediction, {name: found.cpu() for name, found in statistics.items()}, members)

    def score_map(self, look: Look, name: str) -> np.ndarray:
        """Return a score of each pixel, (H, W) float32; (1,) for digits."""
        return np.atleast_1d(enlarged(applied(self.scores[name], look.statistics), self.train_set)[0].numpy())

    @lru_cache(64)  # noqa: B019
    def limit(self, name: str) -> float:
        """Return where the colour scale of a score ends: the most that so many classes and members allow.

        For a score of one's own, of which that is not known, it is the most among a few images in the first round.
        """
        if name not in SCORES:
            few = range(min(FEW, len(self.train_set)))
            return max(float(self.score_map(self.look(0, "train", index), name).max()) for index in few)
        committee = self.committee(0)
        return largest(name, self.config.outputs(self.train_set), committee.members * len(committee.networks)) or 1.0


def _scores(query: str, own: Callable[..., Tensor] | None) -> dict[str, Callable[..., Tensor]]:
    """Return all scores by name, a query's own first; that of a file of one's own has the query's name."""
    if own is None:
        return SCORES
    name = next((name for name, score in SCORES.items() if score is own), query)
    return {name: own} | SCORES


def opened_runs(experiment: str) -> dict[str, OpenedRun]:
    """Return the finished runs of rounds of an experiment, by name; raise `ParameterError` if there are none."""
    rounds = [run for run in finished_runs(experiment) if run.config().get("kind") == "rounds"]
    loaded: dict[tuple[Any, ...], ImageDataset] = {}
    found = {run.path.name: OpenedRun(run, loaded) for run in rounds}
    if not found:
        what = ", only a published table" if (published_dir() / f"{experiment}.csv").exists() else ""
        raise ParameterError(
            f"experiment {experiment} has no finished run of rounds{what}; allowed: one that notebook 03 ran"
        )
    for run in found.values():
        run.scores = {name: score for one in (run, *found.values()) for name, score in one.scores.items()}
    return found


def comparable(run: OpenedRun, others: Iterable[OpenedRun]) -> list[str]:
    """Return the names of the other runs with the same seed and recipe."""
    recipe = recipe_of(run.run.config())
    return [
        other.name
        for other in others
        if other.name != run.name and other.config.seed == run.config.seed and recipe_of(other.run.config()) == recipe
    ]
