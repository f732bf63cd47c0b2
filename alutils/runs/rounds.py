"""Active learning, round by round: train, test, score, choose, label, save."""

import copy
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from alutils.datasets import ImageDataset, clips
from alutils.errors import DataError, check_range
from alutils.models import SplitModel
from alutils.queries.embeddings import Candidates
from alutils.queries.query import parse_query
from alutils.queries.regions import Pieces
from alutils.queries.scoring import random_scores, score_images
from alutils.queries.selections import selection_of
from alutils.runs.acquisition import Acquisitions, Row, Rows, piece_rows, start_set
from alutils.runs.config import RoundsConfig
from alutils.runs.data import check_labels, load_sets
from alutils.runs.folder import RunFolder
from alutils.runs.kept import committee_of_round, keep_networks
from alutils.runs.networks import RunTraining, check_network
from alutils.runs.schemas import check_items
from alutils.runs.sharding import score_in_shards
from alutils.seeds import numpy_generator
from alutils.training.loop import Tested, at_once, class_loss_weights, default_device, measure_on_test_set

Trained = tuple[list[SplitModel], Tested, float]  # networks, the test of the first, seconds of both


def run_rounds(config: RoundsConfig, scoring_workers: int = 1) -> pd.DataFrame:
    """Run active learning and return `rounds.csv`, one row per round.

    All files of the run are saved after each round. A run that was killed goes on from there, and a finished run is
    only read. Everything that can be checked is checked before the run gets a folder.

    scoring_workers : the number of processes that score the pool; it does not change the result
    """
    learning = ActiveLearning(config, scoring_workers)
    with learning.run.opened(config.as_dict(learning.pieces.dataset, learning.test_set)):
        learning.restore()
        while len(learning.rows) < config.rounds:
            learning.do_round()
        learning.run.finish(default_device())
        return learning.run.rounds()


class ActiveLearning:
    """One run of active learning: what is the same in all rounds, and what each round adds to.

    pieces : the training set, divided into the images or regions that are labelled one by one
    budgets : the number of labelled images in each round
    rows : the rows of `rounds.csv`, one per finished round
    clips : the rows of `clips.csv`, one per finished round and clip of the test set
    acquired : the labelled pieces
    scores : one array (P,) for each round in which the pool was scored
    """

    def __init__(self, config: RoundsConfig, scoring_workers: int = 1):
        self.config, self.scoring_workers = config, scoring_workers
        self.query = parse_query(config.query).loaded()
        check_range("scoring_workers", scoring_workers, 1, 1000)
        self.run = RunFolder(config.experiment, config.run_name)
        train_set, self.test_set = load_sets(config)
        self.budgets = config.labelled_by_round(len(train_set))
        self.pieces = Pieces(train_set, self.query.regions)
        check_network(config, train_set, self.run, config.as_dict(train_set, self.test_set))
        self.rows, self.clips, self.scores = Rows(), Rows(), list[np.ndarray]()
        self.acquired = Acquisitions(self.pieces)
        sizes, labels_of = config.training_sizes(self.budgets), self.acquired.pool.checksum
        self.training = RunTraining(config, self.run, sizes, labels_of, self.query.networks)

    def do_round(self) -> None:
        """Train, test, score, choose, label and save."""
        number = len(self.rows)
        networks, tested, seconds_train = self.train_and_test(number) if number else self.first_round()
        trained = time.perf_counter()
        batch = Rows()
        if self.acquired.pool.last_round == number < self.config.rounds - 1:  # one_shot labels ahead, once
            self.scores.append(self.score(networks, number))
            batch = self.choose(networks[0], number)
        row = round_row(number, self.budgets[number], len(self.pieces.dataset), tested.measures, seconds_train)
        seconds_query = time.perf_counter() - trained
        self.rows.append(row | self.acquired.total_cost(number) | {"seconds_query": seconds_query})
        self.clips += clip_rows(number, self.test_set, tested)
        self.acquired.label(batch)
        self.training.measures = tested.measures
        keep_networks(self.config, self.run, number, networks)
        self.save()

    def first_round(self) -> Trained:
        """Return what round 0 gives; what another run made of the same is read, seconds included."""
        dataset, images = self.labelled(0)
        check_labels(dataset, images)
        divided = [(sequence, len(positions)) for sequence, positions in clips(self.test_set)]
        made = [
            self.training.train_first(dataset, images, member, self.test, divided) for member in self.training.members
        ]
        return [network for one in made for network in one.networks], made[0].tested, sum(one.seconds for one in made)

    def train_and_test(self, number: int) -> Trained:
        """Return what a later round gives."""
        started = time.perf_counter()
        networks = self.train(number)
        tested = self.test(networks[0])
        return networks, tested, time.perf_counter() - started

    def train(self, number: int) -> list[SplitModel]:
        """Return the round's networks, trained on what is labelled so far, or on what is newly labelled."""
        dataset, images = self.labelled(number)
        trained = [self.training.train(dataset, images, number, member) for member in self.training.members]
        return [network for networks in trained for network in networks]

    def labelled(self, number: int) -> tuple[ImageDataset, np.ndarray]:
        """Return what a round trains on: the data set, void where nothing is labelled, and the images that count."""
        pool = self.acquired.pool
        is_new_only = self.config.regime == "new_data_only"
        return self.pieces.labelled_only(pool.labelled_in(number) if is_new_only else pool.labelled_by(number))

    def test(self, network: SplitModel) -> Tested:
        """Return what a network reaches on the test set."""
        return measure_on_test_set(network, self.test_set, self.config)

    def score(self, networks: list[SplitModel], number: int) -> np.ndarray:
        """Return the scores of all pieces, (P,); NaN for labelled ones."""
        config, query, pieces, pool = self.config, self.query, self.pieces, self.acquired.pool
        images = np.unique(pieces.images[pool.unlabelled_pieces])
        committee, weights = committee_of_round(config, query, networks, number), self.class_weights()
        if not query.asks_committee:
            generator = numpy_generator(config.seed, "scores", number)
            scores = random_scores(query, pieces.dataset, images, generator=generator)
        elif self.scoring_workers > 1:
            size = at_once(pieces.dataset, config)
            scores = score_in_shards(config, committee, images, self.scoring_workers, size, weights)
        else:
            scores = score_images(query, committee, pieces.dataset, images, config, weights)
        of_images = np.full((len(pieces.dataset), *scores.shape[1:], 1), np.nan)
        of_images[images] = scores[..., None]
        of_pieces = of_images.reshape(len(of_images), -1)[pieces.images, pieces.regions]
        of_pieces[pool.labelled_pieces] = np.nan
        return of_pieces

    def class_weights(self) -> Tensor | None:
        """Return the weights of the classes among the labels so far, (C,), for a balanced query; `None` for others."""
        if not self.query.balanced:
            return None
        labelled = self.pieces.labelled_only(self.acquired.pool.labelled_pieces)
        return class_loss_weights(*labelled, self.config.void_class)

    def choose(self, network: SplitModel, number: int) -> Rows:
        """Return rows of acquisitions of the next batch, or in regime `one_shot` of all further batches."""
        config, pieces, scores = self.config, self.pieces, self.scores[-1]
        ahead, generator = copy.deepcopy(self.acquired.pool), numpy_generator(config.seed, "query", number)
        last_round = config.rounds - 1 if config.regime == "one_shot" else number + 1
        rows = Rows()
        for of_round in range(number + 1, last_round + 1):
            unlabelled, labelled = ahead.unlabelled_pieces, ahead.labelled_pieces
            room = pieces.room(self.budgets[of_round], labelled)
            most = min(room // pieces.sizes[unlabelled].min(), len(unlabelled))
            images = pieces.images[unlabelled], pieces.images[labelled]
            candidates = Candidates(network, pieces.dataset, config, *images)
            chosen = selection_of(self.query)(scores[unlabelled], most, generator, candidates)
            taken = ahead.label(chosen[np.cumsum(pieces.sizes[unlabelled[chosen]]) <= room], of_round)
            rows += piece_rows(pieces, taken, scores[taken], of_round)
        return rows

    def save(self) -> None:
        """Save the tables, and the scores of queries that ask a committee."""
        scores = np.array(self.scores, np.float32) if self.query.asks_committee and self.scores else None
        self.run.save_rounds(
            pd.DataFrame(self.rows), pd.DataFrame(self.acquired.rows), scores, clips=pd.DataFrame(self.clips)
        )

    def restore(self) -> None:
        """Go on from the run's tables, or label the first batch of a new run.

        Raises `DataError` if the tables contradict each other or the data set.
        """
        self.rows = records(self.run.rounds())
        if not self.rows:
            self.acquired.label(start_set(self.config, self.pieces, self.budgets[0]))
            return
        acquired = self.run.acquisitions()
        check_items(acquired, self.pieces.dataset)
        self.scores, self.clips = list(self.run.scores()), records(self.run.clips())
        self.training.measures = self.rows[-1]
        try:
            self.acquired.restore(records(acquired))
            self._check_restored()
        except ValueError as error:
            raise DataError(f"{self.run.path}: damaged ({error}); put copies back, or remove the folder") from error

    def _check_restored(self) -> None:
        """Raise `ValueError` unless what is labelled and scored is what the finished rounds label and score."""
        done, last_round = len(self.rows), self.config.rounds - 1
        divided = [("" if pd.isna(row["sequence"]) else row["sequence"], row["images"]) for row in self.clips]
        now = [(sequence, len(images)) for sequence, images in clips(self.test_set)]
        if divided and divided != now * done:
            raise ValueError("clips.csv divides the test set in another way than the data set's sequences do now")
        if [row["labelled"] for row in self.rows] != self.budgets[:done]:
            raise ValueError(f"rounds.csv does not have the budgets {self.budgets}")
        is_ahead = self.config.regime == "one_shot"
        room = self.acquired.room(self.budgets[last_round if is_ahead else min(done, last_round)])
        if not 0 <= room < self.pieces.sizes.max():
            raise ValueError(f"{len(self.acquired.rows)} acquisitions do not fill the budget after {done} rounds")
        scored = min(done, last_round, 1 if is_ahead else done) * self.query.asks_committee
        if len(self.scores) != scored or (scored and len(self.scores[0]) != len(self.pieces.sizes)):
            shape = np.array(self.scores).shape
            raise ValueError(f"scores.npy has the shape {shape}; allowed: {scored, len(self.pieces.sizes)}")


def records(table: pd.DataFrame) -> Rows:
    """Return the rows of a table as dicts."""
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def clip_rows(number: int, test_set: ImageDataset, tested: Tested) -> Rows:
    """Return the rows of `clips.csv` of a round: the pixels that mean IoU is made of, clip by clip; none for digits."""
    if not test_set.is_dense:
        return []
    columns = [f"{what}_{name}" for what in ("intersection", "union") for name in test_set.class_names]
    return [
        {"round": number, "clip": clip, "sequence": sequence, "images": len(images)}
        | dict(zip(columns, counts.flatten().tolist(), strict=True))
        for clip, ((sequence, images), counts) in enumerate(zip(clips(test_set), tested.clips, strict=True))
    ]


def round_row(number: int, labelled: int, pool_size: int, measures: Mapping[str, float], seconds: float) -> Row:
    """Return a row of `rounds.csv`; `seconds` are those of training and test, in the run that made the networks."""
    share = {"labelled": labelled, "labelled_percent": round(100 * labelled / pool_size, 4)}
    return {"round": number} | share | dict(measures) | {"seconds_train": seconds}
