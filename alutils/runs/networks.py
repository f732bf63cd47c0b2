"""The networks of a run: built, trained with checkpoints in the run folder, and reported to whoever watches."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from alutils.datasets import ImageDataset
from alutils.models import SplitModel, build_model
from alutils.models.frozen import join, take_apart
from alutils.progress import Status
from alutils.runs.config import TrainingConfig
from alutils.runs.first_round import State, first_round_file, shared
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import damaged, reported
from alutils.seeds import derive_seed
from alutils.training.loop import Tested, Trainer

SAVE_EVERY = 30.0  # seconds between checkpoints within a training


def build_network(config: TrainingConfig, dataset: ImageDataset, *, seed: int) -> SplitModel:
    """Return the config's network for `dataset`, with initial weights fixed by `seed`."""
    outputs = config.outputs(dataset)
    return build_model(config.model, outputs, seed=seed, weights=config.weights, features=dataset.features)


def check_network(config: TrainingConfig, dataset: ImageDataset, run: RunFolder, content: dict[str, Any]) -> None:
    """Raise `ParameterError` if the network of a new run cannot be built, for example for want of its weights.

    content : what the run's `config.json` will hold; a run that holds it is only read, or goes on
    """
    if not run.holds(content):
        build_network(config, dataset, seed=0)


class First(NamedTuple):
    """Networks of round 0, what the first one reaches on the test set, and the seconds that both took."""

    networks: list[SplitModel]
    tested: Tested
    seconds: float


class RunTraining:
    """All trainings of one run: each goes on from its last checkpoint and reports the run's progress.

    config, run : the run's config and its folder
    sizes : the number of images that each round trains on
    labels_of : gives the checksum of what is labelled up to a round; a checkpoint of other labels is not used
    network_count : the number of networks that each round trains; those on frozen maps are trained as one
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
        self.config, self.run, self.sizes = config, run, sizes
        self.joined = network_count if config.is_frozen else 1  # networks that are trained as one
        self.members = range(0, network_count, self.joined)
        self.labels_of = labels_of
        self.measures: Mapping[str, float] = {}
        self._steps = [config.of_round(number).total_steps(size) for number, size in enumerate(sizes)]
        self._status = self._new_status()

    def train(
        self, dataset: ImageDataset, indices: np.ndarray, round_number: int = 0, member: int = 0
    ) -> list[SplitModel]:
        """Return a network of a round, trained on the images `indices`, or several that are trained as one.

        member : one of `members`, the first network's position in an ensemble; each training has its own random numbers
            and checkpoint, and where networks are not joined, member 0 is the same as without an ensemble
        """
        networks, trainer = self._trainer(dataset, round_number, member)
        self._train(trainer, dataset, indices, round_number, member)
        return take_apart(trainer.network, networks)

    def train_first(
        self,
        dataset: ImageDataset,
        indices: np.ndarray,
        member: int,
        test: Callable[[SplitModel], Tested],
        test_clips: Sequence[tuple[str, int]],
    ) -> First:
        """Return what `train` returns in round 0, and what `test` returns for member 0, on these clips.

        What another run has made of the same networks is read; while another one makes it, this one waits.
        """
        networks, trainer = self._trainer(dataset, 0, member)

        def make() -> State:
            started = time.perf_counter()
            self._train(trainer, dataset, indices, 0, member)
            tested = Tested({}, torch.empty(0)) if member else test(take_apart(trainer.network, networks)[0])
            state = trainer.state() if self.config.trains_further else {"model": trainer.network.state_dict()}
            return state | tested._asdict() | {"seconds": time.perf_counter() - started}

        path = first_round_file(self.run.config(), trainer, dataset, indices, member, test_clips)
        made = shared(path, make, lambda kept: self._take_over(trainer, kept, member))
        return First(take_apart(trainer.network, networks), Tested(made["measures"], made["clips"]), made["seconds"])

    def _take_over(self, trainer: Trainer, kept: State, member: int) -> None:
        """Go on from what another run made of a network in round 0, as if it had been trained here."""
        epochs = self.config.of_round(0).total_epochs(self.sizes[0])
        if self.config.trains_further:
            trainer.load_state(kept)
            self._save(trainer, 0, member, epochs)
        else:
            trainer.network.load_state_dict(kept["model"])
        self._status = self._new_status()  # no step was done here
        self._tell(0, member, epochs)

    def _trainer(self, dataset: ImageDataset, round_number: int, member: int) -> tuple[list[SplitModel], Trainer]:
        """Return networks with their initial weights, and what trains them in a round."""
        first_round, _ = self.config.schedule(round_number)
        members = range(member, member + self.joined)
        seeds = [derive_seed(self._seed(number), "weights", first_round) for number in members]
        networks = [build_network(self.config, dataset, seed=seed) for seed in seeds]
        return networks, Trainer(join(networks, dataset.features), self.config.of_round(round_number))

    def _seed(self, member: int) -> int:
        return derive_seed(self.config.seed, "ensemble", member) if member else self.config.seed

    def _train(
        self, trainer: Trainer, dataset: ImageDataset, indices: np.ndarray, round_number: int, member: int
    ) -> None:
        """Train a network for a round, from its last checkpoint on."""
        first_round, decay = self.config.schedule(round_number)
        first_epoch, last_save = self._resume(trainer, first_round, round_number, member), time.monotonic()
        self._tell(round_number, member, first_epoch)

        def after_epoch(epochs_done: int, is_last: bool) -> None:
            nonlocal last_save
            self._tell(round_number, member, epochs_done)
            if is_last or time.monotonic() - last_save >= SAVE_EVERY:
                self._save(trainer, round_number, member, epochs_done)
                last_save = time.monotonic()

        seed = derive_seed(self._seed(member), "training", round_number)
        trainer.train(dataset, indices, seed=seed, decay=decay, first_epoch=first_epoch, after_epoch=after_epoch)

    def _save(self, trainer: Trainer, round_number: int, member: int, epochs_done: int) -> None:
        """Save the checkpoint of a network."""
        stage = self._stage(round_number, member)
        self.run.save_checkpoint(member, trainer.state() | {"stage": stage, "epochs": epochs_done})

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

    def _new_status(self) -> Status:
        """Return what watchers are told through; it estimates seconds from the steps that are done from now on."""
        return Status(len(self.members) * sum(self._steps))

    def _tell(self, round_number: int, member: int, epochs_done: int) -> None:
        """Report the optimizer steps done so far in the whole run, the round, the epoch and the last measures."""
        config, size, steps = self.config.of_round(round_number), self.sizes[round_number], self._steps[round_number]
        done = len(self.members) * sum(self._steps[:round_number]) + self.members.index(member) * steps
        done += min(epochs_done * config.steps_per_epoch(size), steps)
        where = {"round": round_number + 1, "rounds": len(self.sizes)}
        where |= {"epoch": epochs_done, "epochs": config.total_epochs(size)}
        score = {name: self.measures[name] for name in ("miou", "accuracy") if name in self.measures}
        self._status.tell(done, **where, **score)
