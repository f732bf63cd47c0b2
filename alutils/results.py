"""The run folder and the tables made of run folders, written and read here only."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alutils.errors import DataError, ParameterError
from alutils.paths import PUBLISHED, ROOT, results_dir

if TYPE_CHECKING:  # they take seconds to load, and whoever only starts runs can do without
    import pandas as pd
    import torch

PACKAGES = ("numpy", "pandas", "pillow", "torch", "torchvision")
COMPARED = {"query", "order_model", "share", "skip", "seed", "keep_model"}  # what runs of one setting may differ in
CONFIG_COLUMNS = ("kind", "dataset", "model", "query", "order_model", "skip", "seed")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file `path` by `content`, so that a reader sees the old or the new file, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class RunFolder:
    """`results/<experiment>/<run>/`: config, provenance, rounds, acquisitions, checkpoint, final weights."""

    def __init__(self, experiment: str, run: str):
        for name in (experiment, run):
            if not name or name.startswith(".") or Path(name).name != name:
                raise ParameterError(f"{name!r} is no name for an experiment or a run; allowed: one folder name")
        self.path = results_dir() / experiment / run

    @contextmanager
    def opened(self, config: dict[str, Any]) -> Iterator["RunFolder"]:
        """Claim the folder for this process and this `config`, writing `config.json` if it is new.

        While another process works in it, such as one that outlived the grid that started it, this one waits.
        Raises `ParameterError` if the folder holds a run of another config.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that works on {self.path}", file=sys.stderr)  # noqa: T201
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._check_config(config)
            yield self

    def _check_config(self, config: dict[str, Any]) -> None:
        path = self.path / "config.json"
        if not path.exists():
            write_whole(path, json.dumps(config, indent=2) + "\n")
        known = _read_json(path)
        for name in sorted({*known, *config}):
            if known.get(name) != config.get(name):
                raise ParameterError(
                    f"{self.path} holds a run with {name} {known.get(name)!r}, now asked for is"
                    f" {config.get(name)!r}; use another experiment name, or remove that folder"
                )

    def read_table(self, name: str) -> "pd.DataFrame":
        """Return `rounds` or `acquisitions`, empty if not yet written."""
        import pandas as pd

        path = self.path / f"{name}.csv"
        return _read_csv(path) if path.exists() else pd.DataFrame()

    def write_table(self, name: str, table: "pd.DataFrame") -> None:
        """Replace `rounds.csv` or `acquisitions.csv`."""
        write_whole(self.path / f"{name}.csv", table.to_csv(index=False))

    def save_state(self, name: str, state: dict[str, Any]) -> None:
        """Replace `checkpoint.pt` or `model.pt`."""
        import torch

        beside = self.path / f".{name}.pt"
        torch.save(state, beside)
        beside.replace(self.path / f"{name}.pt")

    def load_state(self, name: str) -> dict[str, Any] | None:
        """Return what `save_state` saved, tensors on the CPU, or `None`."""
        import torch

        path = self.path / f"{name}.pt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def finish(self, device: "torch.device") -> None:
        """Write `provenance.json` and drop the checkpoint, unless that was done before: the run is done."""
        if (self.path / "provenance.json").exists():
            return
        rounds = self.read_table("rounds")
        seconds = float(rounds[["seconds_train", "seconds_query"]].sum().sum())
        content = provenance(device) | {"seconds": round(seconds, 3)}
        (self.path / "checkpoint.pt").unlink(missing_ok=True)
        write_whole(self.path / "provenance.json", json.dumps(content, indent=2) + "\n")


def provenance(device: "torch.device") -> dict[str, Any]:
    """Return what made the numbers: versions, commit, device, number of threads, time."""
    import torch

    return {
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "clean": _git("status", "--porcelain") == "",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device_name(device: "torch.device") -> str:
    """Return the GPU's or the CPU's name."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0]}" if names else "CPU"


def load_experiment(experiment: str) -> "pd.DataFrame":
    """Return one tidy table of all finished runs of an experiment: a row a run and round.

    Columns: kind ("rounds" or "bulk"), dataset, model, query, order_model (of a bulk run on a query's order),
    skip (of bulk runs), seed, round, labelled, labelled_percent, then the measures (miou, accuracy,
    iou_<class>) and seconds.
    """
    import pandas as pd

    folder = results_dir() / experiment
    runs = {path.parent: _read_json(path.with_name("config.json")) for path in sorted(folder.glob("*/provenance.json"))}
    if not runs:
        raise DataError(f"{folder}: no finished run there; `make grid PRESET={experiment}` makes some")
    _check_comparable(runs)
    tables = [_with_config(run, config) for run, config in runs.items()]
    names = list(dict.fromkeys(name for table in tables for name in table))
    filled = [table.dropna(axis="columns", how="all") for table in tables]  # else a column's type is in doubt
    return (
        pd.concat(filled, ignore_index=True)
        .reindex(columns=names)
        .sort_values(
            ["kind", "dataset", "model", "query", "labelled_percent", "seed"], kind="stable", ignore_index=True
        )
    )


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _check_comparable(runs: dict[Path, dict[str, Any]]) -> None:
    """Raise `DataError` if two runs of the same kind, data set and model differ in their recipe or data."""
    first: dict[tuple[str, ...], tuple[Path, dict[str, Any]]] = {}
    for run, config in runs.items():
        other, known = first.setdefault((config["kind"], config["dataset"], config["model"]), (run, config))
        for name in sorted((known.keys() | config.keys()) - COMPARED):
            if known.get(name) != config.get(name):
                raise DataError(
                    f"{run.parent}: {other.name} has {name} {known.get(name)!r}, {run.name} has {config.get(name)!r};"
                    " runs that are compared must agree in it"
                )


def _with_config(run: Path, config: dict[str, Any]) -> "pd.DataFrame":
    if config["query"] in ("all", "random"):
        config = config | {"order_model": None}
    table = _read_csv(run / "rounds.csv")
    for position, name in enumerate(CONFIG_COLUMNS):
        table.insert(position, name, config.get(name))
    return table


def load_published(name: str) -> "pd.DataFrame":
    """Return the table `results/published/<name>.csv`."""
    path = PUBLISHED / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in PUBLISHED.glob("*.csv")))
        raise DataError(f"{path}: no such table; published: {known or 'none'}")
    return _read_csv(path)


def _read_csv(path: Path) -> "pd.DataFrame":
    """Read a table so that writing it again gives the same bytes; an item named 0012 or NA stays that."""
    import pandas as pd

    return pd.read_csv(path, float_precision="round_trip", dtype={"item": str}, keep_default_na=False, na_values=[""])


def publish(experiment: str) -> Path:
    """Write the experiment's table and its provenance to `results/published/`; return the table's path."""
    table = load_experiment(experiment)
    runs = [path.parent for path in sorted((results_dir() / experiment).glob("*/provenance.json"))]
    content = {
        "experiment": experiment,
        "runs": {
            run.name: {
                "config": _read_json(run / "config.json"),
                "provenance": _read_json(run / "provenance.json"),
            }
            for run in runs
        },
    }
    path = PUBLISHED / f"{experiment}.csv"
    write_whole(path, table.round(6).to_csv(index=False))
    write_whole(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    return path
