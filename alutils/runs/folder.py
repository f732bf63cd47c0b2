"""The run folder. Only this module knows the names of its files, and only it writes and reads them."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alutils.errors import ParameterError
from alutils.files import locked, open_regular, write_whole
from alutils.paths import results_dir
from alutils.provenance import code, provenance
from alutils.runs.schemas import (
    ACQUISITIONS,
    CLIPS,
    ROUNDS,
    Checksums,
    Provenance,
    Saved,
    SavedConfig,
    check_acquisitions,
    check_rounds,
    damaged,
    parse_csv,
    read_bytes,
    read_json,
    reported,
)

if TYPE_CHECKING:  # they take seconds to load, and a process that only starts runs does not need them
    import numpy as np
    import pandas as pd
    import torch


SEAL = 64  # characters of a SHA-256 in hexadecimal


def check_name(name: str) -> None:
    """Raise `ParameterError` unless `name` can be the name of an experiment's or a run's folder; paths are not."""
    if not re.fullmatch(r"\w[\w .+-]*", name):
        allowed = "one folder name of letters, digits, spaces and _ . + -"
        raise ParameterError(f"{name!r} is no name for an experiment or a run; allowed: {allowed}")


class RunFolder:
    """`results/<experiment>/<run>/`: config, provenance, rounds, acquisitions, checkpoint, final weights."""

    def __init__(self, experiment: str, run: str):
        for name in (experiment, run):
            check_name(name)
        self.path = results_dir() / experiment / run

    def lock(self, name: str) -> Path:
        """Return the path of the run's lock file called `name`. It is outside the folder, which may be moved."""
        return self.path.parent / ".locks" / f"{self.path.name}.{name}"

    @contextmanager
    def opened(self, config: dict[str, Any]) -> Iterator["RunFolder"]:
        """Open the folder for the run of `config`, and lock it against other processes until the end of the context.

        If another process works in the folder, this one waits for it. If the folder holds a run of another config, that
        run is moved to `superseded/`; if a run of this config is there, it is moved back. A new folder gets its
        `config.json`.
        """
        with locked(self.lock("run"), str(self.path)):
            self._set_apart(config)
            self._bring_back(config)
            if differences(self.config() or config, config):
                raise damaged(self.path / "config.json", "superseded/ has it under another config's name")
            if not (self.path / "config.json").exists():
                write_whole(self.path / "config.json", json.dumps(config, indent=2) + "\n")
            if not self.is_finished:
                self._note_code()
            yield self

    def _set_apart(self, config: dict[str, Any]) -> None:
        """Move the run to `superseded/` if it has another config, and print what differs."""
        changed = self.changes(dict.fromkeys(self.config()) | config)
        if changed:
            print(f"{self.path.name} had {changed}; the old run is kept as {self.set_apart()}")  # noqa: T201

    def changes(self, config: Mapping[str, Any]) -> str:
        """Return in which fields of `config` the saved one differs; an empty text if in none, or if there is none."""
        known = self.config()
        changed = [name for name in differences(known, config) if name in config] if known else []
        return ", ".join(f"{name} {known.get(name)!r}, now {config[name]!r}" for name in changed)

    def config(self) -> dict[str, Any]:
        """Return what `config.json` holds, an empty dict if there is none; `DataError` if it is not what was saved."""
        path = self.path / "config.json"
        if not path.exists():
            return {}
        known = self._checksums()
        if known and known.config != sha256(read_bytes(path)):
            raise damaged(path, "it is not the config of what the run finished")
        return read_json(path, model=SavedConfig)

    def holds(self, config: dict[str, Any]) -> bool:
        """Tell whether a run of this config lies here or in `superseded/`."""
        return not differences(self.config(), config) or (self._apart(config) / "config.json").exists()

    def set_apart(self) -> Path:
        """Move the whole run to `superseded/`; return its new path."""
        apart = self._apart(self.config())
        apart.parent.mkdir(exist_ok=True)
        return self.path.rename(apart)

    def _bring_back(self, config: dict[str, Any]) -> None:
        """Move a run of this config back from `superseded/`.

        `config.json` is moved last: if this process is killed before that, the next one moves the rest.
        """
        apart = self._apart(config)
        if (self.path / "config.json").exists() or not (apart / "config.json").exists():
            return
        self.path.mkdir(exist_ok=True)
        for file in sorted(apart.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(self.path / file.name)
        apart.rmdir()

    def _apart(self, config: dict[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        return self.path.parent / "superseded" / f"{self.path.name}-{digest}"

    def _note_code(self) -> None:
        """Add the present commit to the list of those that worked on the run, which goes into `provenance.json`."""
        path = self.path / "code.json"
        known = read_json(path, list) if path.exists() else []
        if code() not in known:
            write_whole(path, json.dumps([*known, code()], indent=2) + "\n")

    def rounds(self) -> "pd.DataFrame":
        """Return `rounds.csv`, one row per finished round; an empty table if there is none.

        Raises `DataError` if the table is not what the run had saved.
        """
        import pandas as pd

        path = self.path / "rounds.csv"
        if not path.exists() and not self.is_finished:
            return pd.DataFrame()
        text = read_bytes(path)
        with reported(path):
            table = parse_csv(text.decode(), ROUNDS)
            check_rounds(table)
            saved = self._saved_with(len(table))
            if saved and saved.rounds != sha256(text):
                raise ValueError("it is not what the run had saved")
        return table

    def acquisitions(self) -> "pd.DataFrame":
        """Return the rows of `acquisitions.csv` that the finished rounds had saved; an empty table if there are none.

        Raises `DataError` if they are not what the run had saved.
        """
        rounds, path = self.rounds(), self.path / "acquisitions.csv"
        if rounds.empty:
            return rounds
        saved = self._saved_with(len(rounds))
        with reported(path):
            table = _parse_saved(path, ACQUISITIONS, (saved.acquired, saved.acquisitions) if saved else None)
            check_acquisitions(table)
        return table

    def clips(self) -> "pd.DataFrame":
        """Return the rows of `clips.csv` of the finished rounds, one per round and clip of the test set.

        The table is empty for digits, and for runs of which an earlier version that did not count clips has done some
        rounds. Raises `DataError` if the rows are not what the run had saved.
        """
        import pandas as pd

        done, path = len(self.rounds()), self.path / "clips.csv"
        saved = self._saved_with(done) if done else None
        if saved is None or saved.counted == 0:
            return pd.DataFrame()
        with reported(path):
            table = _parse_saved(path, CLIPS, (saved.counted, saved.clips))
        return table if table["round"].nunique() == done else pd.DataFrame()

    def scores(self) -> "np.ndarray":
        """Return the scores of each round in which the pool was scored, (rounds, P) float32; empty if there are none.

        Raises `DataError` if they are not what the run had saved.
        """
        import numpy as np

        done, path = len(self.rounds()), self.path / "scores.npy"
        saved = self._saved_with(done) if done else None
        if not path.exists() and not (saved and saved.scored):
            return np.empty((0, 0), np.float32)
        with reported(path):
            scores = np.load(io.BytesIO(read_bytes(path)))
            if scores.ndim < 2 or scores.dtype != np.float32:
                raise ValueError(f"it holds {scores.dtype} of shape {scores.shape}; allowed: float32, (rounds, P, ...)")
            scores = scores[: saved.scored] if saved else scores
            if saved and saved.scores != sha256(scores.tobytes()):
                raise ValueError("it is not what the run had saved")
        return scores

    def _checksums(self) -> Checksums | None:
        """Return the checksums of what is finished; `None` if nothing is, or if an earlier version finished the run."""
        path = self.path / "checksums.json"
        if path.exists():
            return Checksums.model_validate(read_json(path, model=Checksums))
        found = self._provenance().get("checksums") if self.is_finished else None
        return Checksums.model_validate(found) if found else None

    def _saved_with(self, rounds: int) -> Saved | None:
        """Return the checksums of what a run of so many rounds had saved; `None` for one of an earlier version."""
        known = self._checksums()
        if known is None and not self.is_finished:
            raise damaged(self.path / "checksums.json", "it is missing")
        if known is None:
            return None
        allowed = {saved.done: saved for saved in (known.saved[-1:] if self.is_finished else known.saved)}
        if rounds not in allowed:
            raise ValueError(f"it has {rounds} rounds; allowed: {', '.join(map(str, allowed))}")
        return allowed[rounds]

    @property
    def is_finished(self) -> bool:
        """Tell whether the run is done."""
        return (self.path / "provenance.json").exists()

    def provenance(self) -> dict[str, Any]:
        """Return what `provenance.json` of a finished run says, but for the checksums; `DataError` if it is damaged."""
        return {name: said for name, said in self._provenance().items() if name != "checksums"}

    def _provenance(self) -> dict[str, Any]:
        return read_json(self.path / "provenance.json", model=Provenance)

    def last_row(self) -> dict[str, str]:
        """Return the last row of `rounds.csv` as text, without loading pandas; an empty dict if there is none."""
        try:
            with open_regular(self.path / "rounds.csv") as file:
                rows = csv.DictReader(io.TextIOWrapper(file, newline=""))
                return {name: value for row in rows for name, value in row.items()}
        except (OSError, ValueError, csv.Error):
            return {}

    def save_rounds(
        self,
        rounds: "pd.DataFrame",
        acquired: "pd.DataFrame",
        scores: "np.ndarray | None" = None,
        clips: "pd.DataFrame | None" = None,
    ) -> None:
        """Replace the tables and, if there are some, the scores (rounds, P) float32.

        Their checksums are written before `rounds.csv`, which comes last: a round counts once it stands there.
        """
        import numpy as np

        text, acquired_text = rounds.to_csv(index=False), acquired.to_csv(index=False)
        clips_text = "" if clips is None or clips.empty else clips.to_csv(index=False)
        scores = np.empty((0, 0), np.float32) if scores is None else scores
        known = self._checksums()
        earlier = [saved for saved in known.saved if saved.done < len(rounds)] if known else []
        now = Saved(
            done=len(rounds),
            rounds=sha256(text.encode()),
            acquired=len(acquired),
            acquisitions=sha256(acquired_text.encode()),
            scored=len(scores),
            scores=sha256(scores.tobytes()),
            counted=0 if clips is None else len(clips),
            clips=sha256(clips_text.encode()),
        )
        checksums = Checksums(config=sha256(read_bytes(self.path / "config.json")), saved=[*earlier, now])
        write_whole(self.path / "acquisitions.csv", acquired_text)
        if len(scores):
            buffer = io.BytesIO()
            np.save(buffer, scores)
            write_whole(self.path / "scores.npy", buffer.getbuffer())
        if clips_text:
            write_whole(self.path / "clips.csv", clips_text)
        write_whole(self.path / "checksums.json", checksums.model_dump_json(indent=1) + "\n")
        write_whole(self.path / "rounds.csv", text)

    def write_arrays(self, name: str, arrays: "Mapping[str, np.ndarray]") -> None:
        """Replace `name`.npz, compressed."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(self.path / f"{name}.npz", buffer.getbuffer())

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Replace `name`.pt."""
        write_whole(self.path / f"{name}.pt", packed(state))

    def load_state(self, name: str) -> dict[str, Any] | None:
        """Return what `save_state` saved, with tensors on the CPU; `None` if there is none.

        The file cannot run code when it is loaded. Raises `DataError` if it is damaged.
        """
        path = self.path / f"{name}.pt"
        if not path.exists():
            return None
        with reported(path):
            content = read_bytes(path)
            is_of_earlier_version = self.is_finished and not self._checksums()
            if not is_sealed(content) and not is_of_earlier_version:
                raise ValueError("it is not what the run had saved")
            return unpacked(content)

    def checkpoint_file(self, member: int) -> Path:
        """Return the path of the checkpoint of an ensemble's network, or of the only network, which is member 0."""
        return self.path / f"checkpoint{member or ''}.pt"

    def save_checkpoint(self, member: int, state: dict[str, Any]) -> None:
        """Replace the checkpoint of a network."""
        self.save_state(self.checkpoint_file(member).stem, state)

    def load_checkpoint(self, member: int) -> dict[str, Any] | None:
        """Return what `save_checkpoint` saved, or `None`."""
        return self.load_state(self.checkpoint_file(member).stem)

    def finish(self, device: "torch.device") -> None:
        """Write `provenance.json` if it is missing, and remove checkpoints: the run is done."""
        if not self.is_finished:
            seconds, config = self.rounds()[["seconds_train", "seconds_query"]].sum().sum(), self.config()
            data = {name: config[name] for name in ("train_data", "test_data") if name in config}
            made = {"code": read_json(self.path / "code.json", list), "data": data, "seconds": round(float(seconds), 3)}
            made |= provenance(device) | {"checksums": read_json(self.path / "checksums.json")}
            write_whole(self.path / "provenance.json", json.dumps(made, indent=2) + "\n")
        left = [*self.path.glob("checkpoint*.pt"), *self.path.glob(".checkpoint*.part")]
        for path in [*left, self.path / "code.json", self.path / "checksums.json"]:
            path.unlink(missing_ok=True)

    # What a grid needs to know of a run; none of it reads a whole table.

    @property
    def notebook(self) -> Path:
        """Return the path of the executed notebook."""
        return self.path / "notebook.ipynb"

    @property
    def failed_notebook(self) -> Path:
        """Return the path of the notebook whose last execution failed."""
        return self.path / "notebook.failed.ipynb"

    @property
    def status_file(self) -> Path:
        """Return the path of the file in which a running job says how far it is; outside the folder, like locks."""
        return self.path.parent / ".status" / f"{self.path.name}.json"

    def done_file(self, key: str) -> Path:
        """Return the path of the file that marks the job with the checksum `key` as done."""
        return self.path / done_name(key)

    def any_done_file(self) -> Path | None:
        """Return the file that some job, of these or other parameters, left when it had run."""
        return next(self.path.glob(done_name("*")), None)

    def forget_done(self) -> None:
        """Remove the files that say that a job has run."""
        for path in self.path.glob(done_name("*")):
            path.unlink()

    def finished_ns(self) -> int | None:
        """Return when the training was finished, in nanoseconds since 1970; `None` if it was not."""
        return (self.path / "provenance.json").stat().st_mtime_ns if self.is_finished else None


def _parse_saved(path: Path, columns: Collection[str], saved: tuple[int, str] | None) -> "pd.DataFrame":
    """Return the table in a file up to what was saved; rows of a round that was not finished may follow.

    saved : the number of rows and the SHA-256 of their text; `None` if they are not known
    """
    text = read_bytes(path).decode()
    if saved:
        text = "".join(f"{line}\n" for line in text.split("\n")[: 1 + saved[0]])
        if saved[1] != sha256(text.encode()):
            raise ValueError("it is not what the run had saved")
    return parse_csv(text, columns)


def done_name(key: str) -> str:
    """Return the name, in a run's folder, of the file that says that the job with the checksum `key` has run."""
    return f"done-{key}"


def begun_runs(experiment: str) -> list[RunFolder]:
    """Return the runs of an experiment that have a config, finished or not, by name."""
    check_name(experiment)
    paths = sorted((results_dir() / experiment).glob("*/config.json"))
    return [RunFolder(experiment, path.parent.name) for path in paths]


def finished_experiments() -> set[str]:
    """Return the names of the experiments that have a finished run."""
    return {path.parents[1].name for path in results_dir().glob("*/*/provenance.json")}


def finished_runs(experiment: str) -> list[RunFolder]:
    """Return the finished runs of an experiment, by name."""
    check_name(experiment)
    paths = sorted((results_dir() / experiment).glob("*/provenance.json"))
    return [RunFolder(experiment, path.parent.name) for path in paths]


def packed(state: dict[str, Any]) -> memoryview:
    """Return networks' and optimizers' states as a sealed file for `unpacked`. They may fill much of the memory."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    seal(buffer)
    return buffer.getbuffer()


def unpacked(content: bytes) -> dict[str, Any]:
    """Return what `packed` made a file of, with tensors on the CPU. The content cannot run code when it is loaded.

    Raises `ValueError` if it holds no dict, and whatever torch raises if it is damaged; see `is_sealed`.
    """
    import torch

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__} instead of a dict")
    return state


def seal(archive: io.BytesIO) -> None:
    """Give a zip archive the SHA-256 of what it holds as its comment, in place of its last two bytes.

    These say how long the comment is.
    """
    digest = sha256(archive.getbuffer()[:-2])
    archive.seek(-2, io.SEEK_END)
    archive.write(SEAL.to_bytes(2, "little") + digest.encode())


def is_sealed(content: bytes) -> bool:
    """Tell whether a file's content ends as `seal` lets it."""
    held, end = memoryview(content)[: -SEAL - 2], content[-SEAL - 2 :]
    return end == SEAL.to_bytes(2, "little") + sha256(held).encode()


def sha256(content: bytes | memoryview) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ between two mappings, names that only one of them has included."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
