"""The networks of a run: built, trained with checkpoints in the run folder, and reported to whoever watches."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alutils.datasets import ImageDataset
from alutils.models import SplitModel, build_model
from alutils.progress import Status
from alutils.runs.config import TrainingConfig
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import damaged, reported
from alutils.seeds import derive_seed
from alutils.training.loop import Trainer

SAVE_EVERY = 30.0  # seconds between checkpoints within a training


def build_network(config: TrainingConfig, dataset: ImageDataset, *, seed: int) -> SplitModel:
    """Return the config's network for `dataset`, with initial weights fixed by `seed`."""
    outputs = config.outputs(dataset)
    return build_model(config.model, outputs, seed=seed, weights=config.weights, features=dataset.features)


def check_network(config: TrainingConfig, dataset: ImageDataset, run: RunFolder) -> None:
    """Raise `ParameterError` if the network of a new run cannot be built, for example for want of its weights."""
    if not run.config():
        build_network(config, dataset, seed=0)


class RunTraining:
    """All trainings of one run: each goes on from its last checkpoint and reports the run's progress.

    config, run : the run's config and its folder
    sizes : the number of images that each round trains on
    labels_of : gives the checksum of what is labelled up to a round; a checkpoint of other labels is not used
    network_count : the number of networks that each round trains
    measures : what was measured on the test set last; watchers see `miou` and `accuracy`
    """

    def __init__(
        self,
        config: TrainingConfig,
        run: RunFolder,
        sizes: Sequence[int],
        labels_of: Callable[[int], str],
        network_count: int = 1,
    ):
        self.config, self.run, self.sizes, self.network_count = config, run, sizes, network_count
        self.labels_of = labels_of
        self.measures: Mapping[str, float] = {}
        self._steps = [config.of_round(number).total_steps(size) for number, size in enumerate(sizes)]
        self._status = Status(network_count * sum(self._steps))

    def train(self, dataset: ImageDataset, indices: np.ndarray, round_number: int = 0, member: int = 0) -> SplitModel:
        """Return a network of a round, trained on the images `indices`.

        member : the network's position in an ensemble; each has its own random numbers and checkpoint, and member 0 is
            the same network as without an ensemble
        """
        first_round, decay = self.config.schedule(round_number)
        seed = derive_seed(self.config.seed, "ensemble", member) if member else self.config.seed
        network = build_network(self.config, dataset, seed=derive_seed(seed, "weights", first_round))
        trainer = Trainer(network, self.config.of_round(round_number))
        first_epoch, last_save = self._resume(trainer, first_round, round_number, member), time.monotonic()
        self._tell(round_number, member, first_epoch)
        stage = {"stage": self._stage(round_number, member)}

        def after_epoch(epochs_done: int, is_last: bool) -> None:
            nonlocal last_save
            self._tell(round_number, member, epochs_done)
            if is_last or time.monotonic() - last_save >= SAVE_EVERY:
                self.run.save_checkpoint(member, trainer.state() | stage | {"epochs": epochs_done})
                last_save = time.monotonic()

        seed = derive_seed(seed, "training", round_number)
        trainer.train(dataset, indices, seed=seed, decay=decay, first_epoch=first_epoch, after_epoch=after_epoch)
        return network

    def _resume(self, trainer: Trainer, first_round: int, round_number: int, member: int) -> int:
        """Load the last checkpoint into `trainer` if it is of this very training; return the round's epochs done.

        A checkpoint of the round before is used, too, if its network is trained further in this one. Raises `DataError`
        if it is needed for that and is of something else.

        first_round : the round in which the training of the network began
        """
        path, saved = self.run.checkpoint_file(member), self.run.load_checkpoint(member) or {}
        is_same = saved.get("stage") == self._stage(round_number, member)
        is_continued, last = first_round < round_number, round_number - 1
        was_done = is_continued and saved.get("stage") == self._stage(last, member)
        if is_same or (was_done and saved["epochs"] == self.config.of_round(last).total_epochs(self.sizes[last])):
            with reported(path):
                trainer.load_state(saved)
            return saved["epochs"] if is_same else 0
        if is_continued:
            raise damaged(path, f"it is not the network of round {last}, which is trained further in round {last + 1}")
        return 0

    def _stage(self, round_number: int, member: int) -> dict[str, Any]:
        """Return what tells a checkpoint from all others: round, network, labels, and what the run was to do."""
        config = hashlib.sha256(json.dumps(self.run.config(), sort_keys=True).encode()).hexdigest()
        labels = {"count": self.sizes[round_number], "checksum": self.labels_of(round_number)}
        return {"round": round_number, "member": member, "config": config, "labels": labels}

    def _tell(self, round_number: int, member: int, epochs_done: int) -> None:
        """Report the optimizer steps done so far in the whole run, the round, the epoch and the last measures."""
        config, size, steps = self.config.of_round(round_number), self.sizes[round_number], self._steps[round_number]
        done = self.network_count * sum(self._steps[:round_number]) + member * steps
        done += min(epochs_done * config.steps_per_epoch(size), steps)
        where = {"round": round_number + 1, "rounds": len(self.sizes)}
        where |= {"epoch": epochs_done, "epochs": config.total_epochs(size)}
        score = {name: self.measures[name] for name in ("miou", "accuracy") if name in self.measures}
        self._status.tell(done, **where, **score)
