"""The files that are damaged, and for each the function that a run uses to read it."""

import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torn_runs import BULK, COMMON, ROUNDS, write_data

from alutils.datasets import ImageDataset, label_counts, load_dataset
from alutils.datasets.folder import read_description, scene_files
from alutils.files import try_lock, write_whole
from alutils.grid.parameters import checksums
from alutils.grid.preset import Job, load_jobs
from alutils.grid.state import states_of
from alutils.queries.parts import Superpixels
from alutils.queries.regions import Pieces
from alutils.results.publish import publish
from alutils.results.tables import Experiment
from alutils.runs import rounds
from alutils.runs.bulk import image_order, load_bulk_model, run_bulk
from alutils.runs.config import BulkConfig, RoundsConfig
from alutils.runs.folder import RunFolder
from alutils.training.loop import Tested

SIDE = 16
DATA = "data/tiny.yaml"
FORMATS = {  # of image files, with the suffix that is given to them
    **{"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif"},
    **dict.fromkeys(("WEBP", "EPS", "GIF", "DDS", "AVIF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000"), "png"),
    **dict.fromkeys(("ICNS", "MPO", "IM", "PDF", "QOI"), "png"),
}
PRESET = """
recipe: &recipe {steps: 12, batch_size: 2}
runs:
  - notebook: 03_active_learning_rounds
    parameters: {<<: *recipe, rounds: 3, committee_members: 2}
    grid: {query: [random, vote_entropy], seed: [0, 1]}
  - notebook: 04_bulk_training
    parameters: {<<: *recipe, share: 20, query: vote_entropy}
    cell_timeout: 60
  - notebook: 06_figures
"""
FAILED = {"cells": [{"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "x"}]}, {"outputs": []}]}
STATUS = {"round": 1, "rounds": 3, "epoch": 2, "epochs": 5, "miou": 0.25, "seconds_left": 12.5}
MADE = {"versions": {"python": "3"}, "device": "CPU", "threads": 1, "peak_memory": 1, "peak_gpu_memory": 0}


@dataclass(frozen=True)
class Target:
    """A file that is damaged.

    template : a folder that is copied for each damage
    file : the path of the file in it
    read : reads the copy; returns what was read, so that it can be compared
    is_compared : whether a damaged file that is accepted must mean the same as before
    weight : how often it is damaged, relative to others
    is_foreign : whether even the undamaged file may be refused
    """

    name: str
    template: Path
    file: str
    read: Callable[[Path], Any]
    is_compared: bool = False
    weight: float = 1.0
    is_foreign: bool = False


def environment(home: Path) -> dict[str, str]:
    """Return the environment in which results, caches and published tables lie in `home`."""
    folders = {"RESULTS": "results", "CACHE": "cache", "PUBLISHED": "published"}
    return {f"ALUTILS_{name}": str(home / folder) for name, folder in folders.items()} | {"ALUTILS_PROGRESS": "0"}


def all_targets(base: Path) -> list[Target]:
    """Write the templates into `base`; return what is damaged."""
    with patch("time.perf_counter", lambda: 0.0), patch("alutils.runs.folder.provenance", lambda _: dict(MADE)):
        return [
            *(target for format_name in FORMATS for target in image_targets(base, format_name)),
            *label_targets(base),
            *run_targets(base),
            *cache_targets(base),
            *grid_targets(base),
        ]


# Images, labels, and the description of their folder


def image_targets(base: Path, format_name: str) -> list[Target]:
    """Return an image of a format, unless this installation cannot write it; a foreign one is called .png."""
    template, suffix = base / f"image-{format_name}", FORMATS[format_name]
    one_scene(template)
    content, path = io.BytesIO(), template / "data/train/images/0.png"
    try:
        with Image.open(path) as image:
            image.save(content, format_name)
    except (OSError, KeyError, ValueError):  # such as a codec that is not there
        return []
    path.unlink()
    file = f"data/train/images/0.{suffix}"
    (template / file).write_bytes(content.getvalue())
    weight = 3.0 if format_name == "PNG" else 1.5
    is_foreign = suffix == "png" and format_name != "PNG"
    return [Target(f"image {format_name}", template, file, read_scene, weight=weight, is_foreign=is_foreign)]


def label_targets(base: Path) -> list[Target]:
    """Return labels of both modes, and the description."""
    one_scene(base / "label-L")
    one_scene(base / "label-P")
    path = base / "label-P/data/train/labels/0.png"
    with Image.open(path) as image:
        label = Image.frombytes("P", image.size, image.tobytes())
    label.save(path)
    file = "data/train/labels/0.png"
    return [
        Target("label L", base / "label-L", file, read_scene, weight=3),
        Target("label P", base / "label-P", file, read_scene, weight=3),
        Target("description", base / "label-L", DATA, read_listing, weight=3),
    ]


def one_scene(template: Path) -> None:
    """Write a data set of one scene."""
    write_data(template / "data", scenes=1, side=SIDE)


def read_scene(home: Path) -> None:
    """Decode the scene into the cache, as the first run does."""
    dataset = load_dataset(str(home / DATA), "train")
    label_counts(dataset, np.arange(len(dataset)))


def read_listing(home: Path) -> None:
    """Read the description and list the files of each split."""
    description = read_description(home / DATA)
    for split in description.splits:
        scene_files(description, home / "data", split)


# Runs


def config_of(template: Path) -> RoundsConfig:
    """Return the config of the rounds in a template; the data lie there, and not in its copies."""
    return RoundsConfig(**(COMMON | ROUNDS | {"dataset": str(template / DATA), "query": "vote_entropy"}))


def bulk_config_of(template: Path) -> BulkConfig:
    """Return the config of a bulk training on the order of these rounds."""
    return BulkConfig(**(COMMON | BULK | {"dataset": str(template / DATA)}))


def run_targets(base: Path) -> list[Target]:
    """Return the files of a run that is begun, of finished ones, and of what is published of these."""
    begun, trained, finished, published = run_templates(base)
    run = f"results/e/{config_of(finished).run_name}"
    go_on, table, train = (
        partial(restored, trained, begun),
        partial(read_finished, finished),
        partial(trained_on, trained),
    )
    tables = ("rounds.csv", "acquisitions.csv", "clips.csv", "scores.npy")
    model = f"results/e/{bulk_config_of(finished).run_name}/model.pt"
    return [
        *(Target(f"begun {name}", begun, f"{run}/{name}", go_on, is_compared=True, weight=4) for name in tables),
        Target("begun config.json", begun, f"{run}/config.json", go_on, is_compared=True, weight=2),
        Target("begun checksums.json", begun, f"{run}/checksums.json", go_on, is_compared=True, weight=2),
        Target("begun code.json", begun, f"{run}/code.json", go_on, weight=1),
        Target("checkpoint.pt", trained, f"{run}/checkpoint.pt", train, is_compared=True, weight=4),
        *(Target(f"finished {name}", finished, f"{run}/{name}", table, is_compared=True, weight=4) for name in tables),
        Target("finished config.json", finished, f"{run}/config.json", table, is_compared=True, weight=3),
        Target("provenance.json", finished, f"{run}/provenance.json", table, weight=3),
        Target("model.pt", finished, model, partial(read_model, finished), is_compared=True, weight=4),
        Target("published table", published, "published/e.csv", read_published, weight=3),
        Target("published records", published, "published/e.json", read_published, weight=3),
        Target("published clips", published, "published/e-clips.csv.gz", read_published, weight=2),
        Target("published acquired", published, "published/e-acquired.csv", read_published, weight=2),
    ]


def run_templates(base: Path) -> list[Path]:
    """Write what a run leaves that is begun, without and with its checkpoint, what finished ones do, and tables."""
    begun, trained, finished, published = found = [
        base / name for name in ("begun", "trained", "finished", "published")
    ]
    for template, work in ((trained, begin), (finished, finish)):
        write_data(template / "data", scenes=8, side=SIDE)
        process = multiprocessing.get_context("fork").Process(target=work, args=(template,))
        process.start()  # a process that has trained must not fork
        process.join()
        assert process.exitcode == 0
    shutil.copytree(trained, begun, ignore=shutil.ignore_patterns("checkpoint.pt"))  # so that it is quickly copied
    shutil.copytree(finished, published, ignore=shutil.ignore_patterns("results"))
    with patch.dict(os.environ, environment(begun)):
        assert len(restored_run(trained).rows) == 2, "the run goes on after two rounds"
    return found


class Stopped(Exception):
    """A run is left as a kill would leave it."""


def begin(template: Path) -> None:
    """Write what a run leaves that is killed in its last round, when it has trained but not tested."""
    calls, measure = [], rounds.measure_on_test_set

    def measure_or_stop(*arguments: Any) -> Tested:
        calls.append(arguments)
        if len(calls) == 3:
            raise Stopped
        return measure(*arguments)

    with (
        patch.dict(os.environ, environment(template)),
        patch.object(rounds, "measure_on_test_set", measure_or_stop),
        suppress(Stopped),
    ):
        rounds.run_rounds(config_of(template))


def finish(template: Path) -> None:
    """Write what finished rounds and a bulk training of their order leave, and publish it."""
    with patch.dict(os.environ, environment(template)):
        rounds.run_rounds(config_of(template))
        run_bulk(bulk_config_of(template))
        publish("e")


def restored(template: Path, begun: Path, _: Path) -> Any:
    """Go on with a run up to where it would train; an earlier round is as good, as all ends with the same tables."""
    found, whole = tables_of(restored_run(template)), undamaged(template, begun)
    return whole if all(part == of_all[: len(part)] for part, of_all in zip(found, whole, strict=True)) else found


@cache
def undamaged(template: Path, begun: Path) -> list[list[Any]]:
    """Return the tables of the run in the folder `begun`."""
    with patch.dict(os.environ, environment(begun)):
        return tables_of(restored_run(template))


def tables_of(learning: rounds.ActiveLearning) -> list[list[Any]]:
    """Return the rows of the tables and the scores."""
    return [plain(found) for found in (learning.rows, learning.acquired.rows, learning.clips, learning.scores)]


def restored_run(template: Path) -> rounds.ActiveLearning:
    """Return the run with its data in a template and its folder in the copy, as far as it was."""
    learning = rounds.ActiveLearning(config_of(template))
    with learning.run.opened(learning.config.as_dict(learning.pieces.dataset, learning.test_set)):
        learning.restore()
    return learning


def trained_on(template: Path, _: Path) -> Any:
    """Train the network of the last round from its checkpoint on: nothing is left to do."""
    return restored_run(template).train(2)[0].state_dict()


def read_finished(template: Path, _: Path) -> Any:
    """Read all tables of an experiment, as what compares queries does, and the order for a bulk training."""
    experiment = Experiment.of_runs("e")
    config = bulk_config_of(template)
    records, order = experiment.records, image_order(config, load_dataset(config.dataset, "train"))
    scores = experiment.scores(["vote_entropy"])
    configs = {run.path.name: run.config() for run in experiment.runs}
    starts = {name: record.get("start_set") for name, record in records.items()}
    return [experiment.table, experiment.clips, starts, order, [array for _, array in scores], configs]


def read_model(template: Path, _: Path) -> Any:
    """Load the network that a run kept."""
    config = bulk_config_of(template)
    return load_bulk_model(config, load_dataset(config.dataset, "train")).state_dict()


def read_published(_: Path) -> Any:
    """Read all that was published of an experiment."""
    experiment = Experiment.published("e")
    records = [(record["config"], record["provenance"]) for record in experiment.records.values()]
    return [experiment.table, records, experiment.clips, *experiment.acquired]


# Caches


def cache_targets(base: Path) -> list[Target]:
    """Return the arrays that scenes are decoded into, and superpixels."""
    template = base / "cache"
    write_data(template / "data", scenes=4, side=SIDE)
    with patch.dict(os.environ, environment(template)):
        read_cache(template, template)
    files = sorted((template / "cache").glob("*/*.[jn]*"))
    read = partial(read_cache, template)
    return [
        Target(f"cached {path.name}", template, str(path.relative_to(template)), read, is_compared=True, weight=2)
        for path in files
    ]


def read_cache(template: Path, _: Path) -> Any:
    """Read all of a cached data set, and its superpixels."""
    dataset: ImageDataset = load_dataset(str(template / DATA), "train")
    items = [dataset[index] for index in range(len(dataset))]
    pieces = Pieces(replace(dataset, fingerprint="f" * 64), Superpixels(4))
    return [items, label_counts(*pieces.labelled_only(np.arange(3)))]


# Grids


def grid_targets(base: Path) -> list[Target]:
    """Return a preset, and the files by which a grid knows how far its jobs are."""
    template = base / "grid"
    template.mkdir()
    (template / "grid.yaml").write_text(PRESET)
    with patch.dict(os.environ, environment(template)):
        jobs = load_jobs(template / "grid.yaml")
        files = job_files(*list(jobs.values())[:4])
        running = next(name for name in jobs if RunFolder("grid", name).status_file.exists())
    read = partial(read_states, jobs, running)
    states = [Target(name, template, str(path.relative_to(template)), read) for name, path in files.items()]
    return [Target("preset", template, "grid.yaml", read_preset, weight=4), *states]


def job_files(done: Job, failed: Job, running: Job, begun: Job) -> dict[str, Path]:
    """Write what four jobs leave, one in each state; return the paths, each with what it is."""
    runs = [RunFolder("grid", job.name) for job in (done, failed, running, begun)]
    files = {
        "done file": runs[0].done_file(done.key),
        "failed notebook": runs[1].failed_notebook,
        "status file": runs[2].status_file,
        "config.json of a job": runs[3].path / "config.json",
    }
    contents = [{"at": "2026-01-01 00:00:00", "files": checksums(done.files)}, FAILED, STATUS, begun.config]
    for path, content in zip(files.values(), contents, strict=True):
        write_whole(path, json.dumps(content))
    os.utime(files["done file"], (0, 0))  # so that inputs are newer, and their checksums are compared
    for run in runs[2:]:
        write_whole(run.path / "rounds.csv", "round,labelled,miou\n0,4,0.5\n")
    tables = {"rounds.csv of a running job": runs[2].path, "rounds.csv of a job": runs[3].path}
    return files | {name: path / "rounds.csv" for name, path in tables.items()}


def read_preset(home: Path) -> None:
    """List the jobs of the preset."""
    load_jobs(home / "grid.yaml")


def read_states(jobs: Mapping[str, Any], running: str, _: Path) -> list[str]:
    """Say how far each job is; one is running."""
    lock = try_lock(RunFolder("grid", running).lock("job"))
    assert lock
    with lock:
        return [str(state) for state in states_of("grid", dict(jobs)).values()]


def plain(content: Any) -> Any:
    """Return what was read as something that can be compared with ==."""
    if isinstance(content, pd.DataFrame):
        return [list(map(str, content)), list(map(str, content.dtypes)), content.to_csv()]
    if isinstance(content, torch.Tensor):
        return plain(content.cpu().numpy())
    if isinstance(content, np.ndarray):
        return [str(content.dtype), content.shape, content.tobytes()]
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        return [plain(value) for value in content]
    return repr(content)
