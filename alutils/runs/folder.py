"""The run folder. Only this module knows the names of its files, and only it writes and reads them."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alutils.errors import DataError, ParameterError
from alutils.files import locked, write_whole
from alutils.paths import results_dir
from alutils.provenance import code, provenance

if TYPE_CHECKING:  # they take seconds to load, and a process that only starts runs does not need them
    import numpy as np
    import pandas as pd
    import torch


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
            if not (self.path / "config.json").exists():
                write_whole(self.path / "config.json", json.dumps(config, indent=2) + "\n")
            if not (self.path / "provenance.json").exists():
                self._note_code()
            yield self

    def _set_apart(self, config: dict[str, Any]) -> None:
        """Move the run to `superseded/` if it has another config, and print what differs."""
        known = self.config()
        changed = differences(known, config)
        if known and changed:
            what = ", ".join(f"{name} {known.get(name)!r}, now {config.get(name)!r}" for name in changed)
            print(f"{self.path.name} had {what}; the old run is kept as {self.set_apart()}")  # noqa: T201

    def config(self) -> dict[str, Any]:
        """Return what `config.json` holds; an empty dict if there is none."""
        path = self.path / "config.json"
        return read_json(path) if path.exists() else {}

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
        self.path.mkdir(parents=True, exist_ok=True)
        for file in sorted(apart.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(self.path / file.name)
        apart.rmdir()

    def _apart(self, config: dict[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        return self.path.parent / "superseded" / f"{self.path.name}-{digest}"

    def _note_code(self) -> None:
        """Add the present commit to the list of those that worked on the run, which goes into `provenance.json`."""
        path = self.path / "code.json"
        known = read_json(path) if path.exists() else []
        if code() not in known:
            write_whole(path, json.dumps([*known, code()], indent=2) + "\n")

    def read_table(self, name: str) -> "pd.DataFrame":
        """Return the table called `rounds` or `acquisitions`; an empty one if it is not written yet."""
        import pandas as pd

        path = self.path / f"{name}.csv"
        return read_csv(path) if path.exists() else pd.DataFrame()

    def finished_rounds(self) -> "pd.DataFrame":
        """Return `rounds.csv` of a finished run; raise `DataError` if it is missing or damaged."""
        return read_csv(self.path / "rounds.csv")

    def provenance(self) -> dict[str, Any]:
        """Return what `provenance.json` of a finished run holds; raise `DataError` if it is missing or damaged."""
        return read_json(self.path / "provenance.json")

    def last_row(self) -> dict[str, str]:
        """Return the last row of `rounds.csv` as text, without loading pandas; an empty dict if there is none."""
        try:
            with (self.path / "rounds.csv").open(newline="") as file:
                return {name: value for row in csv.DictReader(file) for name, value in row.items()}
        except OSError:
            return {}

    def write_table(self, name: str, table: "pd.DataFrame") -> None:
        """Replace `rounds.csv` or `acquisitions.csv`."""
        write_whole(self.path / f"{name}.csv", table.to_csv(index=False))

    def write_array(self, name: str, array: "np.ndarray") -> None:
        """Replace the array `name`.npy."""
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, array)
        write_whole(self.path / f"{name}.npy", buffer.getbuffer())

    def write_arrays(self, name: str, arrays: "Mapping[str, np.ndarray]") -> None:
        """Replace `name`.npz, compressed."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(self.path / f"{name}.npz", buffer.getbuffer())

    def read_array(self, name: str) -> "np.ndarray":
        """Return the array that `write_array` wrote; an empty one if it is not written yet."""
        import numpy as np

        path = self.path / f"{name}.npy"
        try:
            return np.load(path) if path.exists() else np.empty((0, 0), np.float32)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(_damaged(path, error)) from error

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Replace `name`.pt."""
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.path / f"{name}.pt", buffer.getbuffer())

    def load_state(self, name: str) -> dict[str, Any] | None:
        """Return what `save_state` saved, with tensors on the CPU; `None` if there is none.

        The file cannot run code when it is loaded.
        """
        import torch

        path = self.path / f"{name}.pt"
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file may raise anything
            raise DataError(_damaged(path, error)) from error

    def save_checkpoint(self, member: int, state: dict[str, Any]) -> None:
        """Replace the checkpoint of an ensemble's network, or of the only network, which is member 0."""
        self.save_state(f"checkpoint{member or ''}", state)

    def load_checkpoint(self, member: int) -> dict[str, Any] | None:
        """Return what `save_checkpoint` saved, or `None`."""
        return self.load_state(f"checkpoint{member or ''}")

    def finish(self, device: "torch.device") -> None:
        """Write `provenance.json` if it is missing, and remove checkpoints: the run is done."""
        if not (self.path / "provenance.json").exists():
            rounds = self.read_table("rounds")
            seconds = float(rounds[["seconds_train", "seconds_query"]].sum().sum())
            config = read_json(self.path / "config.json")
            data = {name: config[name] for name in ("train_data", "test_data") if name in config}
            made = {"code": read_json(self.path / "code.json"), "data": data, "seconds": round(seconds, 3)}
            write_whole(self.path / "provenance.json", json.dumps(made | provenance(device), indent=2) + "\n")
        for path in [*self.path.glob("checkpoint*.pt"), *self.path.glob(".checkpoint*.part"), self.path / "code.json"]:
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
        path = self.path / "provenance.json"
        return path.stat().st_mtime_ns if path.exists() else None


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


def read_json(path: Path) -> Any:
    """Return what a JSON file of a run holds; raise `DataError` if it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(_damaged(path, error)) from error


def read_config(run: Path) -> dict[str, Any]:
    """Return the config in the run folder at `run`; raise `DataError` if it is damaged."""
    config = read_json(run / "config.json")
    missing = {"kind", "dataset", "model", "query", "seed"} - set(config)
    if missing:
        raise DataError(_damaged(run / "config.json", f"no {', '.join(sorted(missing))}"))
    return config


def _damaged(path: Path, reason: object) -> str:
    reason = " ".join(str(reason).split())[:200]
    return f"{path}: damaged ({reason}); put a copy back, or remove the folder {path.parent}"


def read_csv(path: Path) -> "pd.DataFrame":
    """Read a table so that writing it again gives the same bytes; items named 0012 or NA keep their names."""
    import pandas as pd

    options = {"float_precision": "round_trip", "dtype": {"item": str}, "keep_default_na": False, "na_values": [""]}
    try:
        text = path.read_text()
        table = pd.read_csv(io.StringIO(text), **options)  # type: ignore[call-overload]
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        table["round"].astype(int)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(_damaged(path, error)) from error
    return table


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ between two mappings, names that only one of them has included."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
