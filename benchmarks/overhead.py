"""What a grid costs beside its training, and what of it grows: 10,000 runs, or a pool of a million images.

What is too long to be done here is measured on a part and multiplied; then its name says so.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure import Result, run
from parallel_kernels import run_one, write_notebook
from PIL import Image

from alutils.datasets import ImageDataset
from alutils.datasets.folder import folder as load_folder
from alutils.grid.parameters import check_parameters, find_notebook
from alutils.models import build_model
from alutils.paths import ROOT
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.queries.selections import top_k
from alutils.results.tables import Experiment
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder, sha256

ROUNDS = "03_active_learning_rounds"
SMALL = {"experiment": "grid", "rounds": 4, "steps": 4, "committee_members": 2, "query": "vote_entropy"}
SIZE = (256, 512)  # pixels of an image of the pool
MEMBERS = 10


def measure(is_quick: bool) -> Result:
    """Measure all parts; details are in the units that their names say."""
    jobs, runs, pool, images = (2, 20, 1000, 4) if is_quick else (40, 10_000, 1_000_000, 24)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        base = Path(folder)
        os.environ |= {"ALUTILS_RESULTS": str(base / "results"), "ALUTILS_CACHE": str(base / "cache")}
        details = run_costs(base, jobs)
        details |= grid_costs(base, runs, details["a run: start, imports, reading, drawing, s"])
        details |= pool_costs(base, pool, images)
    return Result(
        "overhead of grids and large pools", details["a run: start, imports, reading, drawing, s"], details=details
    )


def run_costs(base: Path, jobs: int) -> dict[str, float]:
    """Return what a run costs that has nothing left to train, and a job in a grid and without one."""
    command = [
        *("alutils", "run"),
        ROUNDS,
        *(word for name, value in SMALL.items() for word in ("-p", name, str(value))),
    ]
    call(command)
    seconds, memory = call(command)
    finished = RunFolder("grid", config_of(0).run_name).path
    disk = sum(path.stat().st_size for path in finished.iterdir())
    notebook = write_notebook(base / "short.ipynb")
    alone = timed(lambda: list(ThreadPoolExecutor(2).map(lambda number: run_one(notebook, number), range(jobs))))
    names = [str(jobs + number) for number in range(jobs)]
    preset = base / "short.yaml"
    preset.write_text(f"runs: [{{notebook: {notebook}, grid: {{dataset: {names}}}}}]")
    empty = base / "empty.yaml"
    empty.write_text("runs: []")
    nothing, _ = call(["alutils", "grid", str(empty), "--cores", "2"])
    in_grid, _ = call(["alutils", "grid", str(preset), "--cores", "2"])
    return {
        "a run: start, imports, reading, drawing, s": seconds,
        "... peak memory of the process that starts it, MB": memory,
        "... disk, notebook included, kB": disk / 1e3,
        "a grid: start and end, s": nothing,
        "... beside that, a job of next to nothing, two at a time, s": (in_grid - nothing) / jobs,
        "... the same job without a grid, two at a time, s": alone / jobs,
    }


def grid_costs(base: Path, runs: int, seconds_a_run: float) -> dict[str, float]:
    """Return what a grid of many `runs` costs: to plan, to look at, to make tables of."""
    preset = base / "grid.yaml"
    given = {name: value for name, value in SMALL.items() if name != "experiment"}
    preset.write_text(f"runs: [{{notebook: {ROUNDS}, parameters: {given}, grid: {{seed: {list(range(runs))}}}}}]")
    snakemake = ["snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--config", f"preset={preset}", "--nolock"]
    options = ["--cores", "2", "--dry-run", "--quiet", "all"]
    planning, memory = call([*snakemake, *options])
    first = config_of(0).run_name
    (done,) = (base / "results" / "grid" / first).glob("done-*")
    single, _ = call(["snakemake", f"{first}/{done.name}", *snakemake[1:], *options])
    for seed in range(1, runs):
        copy_run(base / "results" / "grid" / first, seed)
    looking, _ = call(["alutils", "status", str(preset)])
    table_s = timed(lambda: Experiment.of_runs("grid").table)
    disk = sum(path.stat().st_size for path in (base / "results" / "grid" / first).iterdir())
    return {
        f"{runs} runs: planning them, s": planning,
        "... memory of Snakemake, MB": memory,
        "... planning one of them on a cluster's node, s": single,
        "... `make status`, s": looking,
        "... one table of all rounds, s": table_s,
        "... starting them all, core hours (multiplied)": runs * seconds_a_run / 3600,
        "... disk, GB (multiplied)": runs * disk / 1e9,
    }


def config_of(seed: int) -> RoundsConfig:
    """Return the config of the grid's run with `seed`."""
    return RoundsConfig.from_names(check_parameters(find_notebook(ROUNDS), SMALL | {"seed": seed}))


def copy_run(finished: Path, seed: int) -> None:
    """Make a finished run with another seed of a finished run."""
    folder = finished.with_name(config_of(seed).run_name)
    folder.mkdir()
    for name in ("rounds.csv", "acquisitions.csv"):
        shutil.copy(finished / name, folder / name)
    config = (finished / "config.json").read_text().replace('"seed": 0', f'"seed": {seed}')
    (folder / "config.json").write_text(config)
    provenance = json.loads((finished / "provenance.json").read_text())
    provenance["checksums"]["config"] = sha256(config.encode())
    (folder / "provenance.json").write_text(json.dumps(provenance))


def pool_costs(base: Path, pool: int, images: int) -> dict[str, float]:
    """Return what a large pool costs: to decode, to score, to choose from, to keep tables of."""
    description = write_images(base / "photos", images)
    os.environ["ALUTILS_PROGRESS"] = "0"
    decoding = timed(lambda: load_folder(description, "train")) / images
    dataset = load_folder(description, "train")
    scoring = timed(lambda: score(dataset)) / images
    scores = np.random.default_rng(0).random(pool)
    choosing = timed(lambda: top_k(scores, pool // 10, np.random.default_rng(0)))
    rows = {
        "round": 0,
        "rank": np.arange(pool),
        "index": np.arange(pool),
        "item": "aachen_000000_000019",
        "score": scores,
    }
    folder, table = RunFolder("pool", "all-labelled"), pd.DataFrame(rows)
    config = {"kind": "rounds", "dataset": "pool", "model": "unet_small", "query": "random", "seed": 0}
    counts = {"round": 0, "labelled": pool, "labelled_percent": 100.0, "seconds_train": 0.0, "seconds_query": 0.0}
    rounds = pd.DataFrame([counts])
    with folder.opened(config):
        pass
    writing, reading = timed(lambda: folder.save_rounds(rounds, table)), timed(folder.acquisitions)
    return {
        f"pool of {pool} images at {SIZE[0]}x{SIZE[1]}: cache, GB (multiplied)": pool * 4 * SIZE[0] * SIZE[1] / 1e9,
        "... decoding it once, core hours (multiplied)": pool * decoding * (os.cpu_count() or 1) / 3600,
        f"... asking {MEMBERS} members, unet_small, core hours (multiplied)": pool
        * scoring
        * torch.get_num_threads()
        / 3600,
        "... choosing a tenth by score, s": choosing,
        "... a table of all of it acquired: writing, s": writing,
        "... reading, s": reading,
        "... size, MB": (folder.path / "acquisitions.csv").stat().st_size / 1e6,
    }


def write_images(folder: Path, count: int) -> Path:
    """Write random images with labels and the YAML file that describes them."""
    generator = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        coarse = generator.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), np.uint8)
        Image.fromarray(coarse).resize(SIZE[::-1]).save(folder / "images" / f"{index}.png")
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / "labels" / f"{index}.png")
    splits = "{train: {images: images, labels: labels}}"
    (folder / "photos.yaml").write_text(f"name: photos\nclasses: {{a: [0, 0, 0], b: [9, 9, 9]}}\nsplits: {splits}\n")
    return folder / "photos.yaml"


def score(dataset: ImageDataset) -> None:
    """Ask a committee about all images."""
    config, indices = config_of(0), np.arange(len(dataset))
    model = build_model(config.model, dataset.num_classes, seed=0).to(memory_format=torch.channels_last)
    score_images(parse_query(config.query), Committee([model], MEMBERS, 0.5), dataset, indices, config)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def call(words: list[str]) -> tuple[float, float]:
    """Run a module of Python; return seconds and its peak memory in MB."""
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.02)
        said.seek(0)
        assert process.returncode == 0, said.read()
    return time.perf_counter() - started, peak / 1e3


def high_water(pid: int) -> int:
    """Return a process's largest resident set so far in kB; the one that it reports itself counts its parent's, too."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


if __name__ == "__main__":
    run(measure, __file__)
