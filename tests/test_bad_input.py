"""What people get wrong, a line each: one clear line, a non-zero exit code, nothing overwritten."""

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alutils.__main__ import main
from alutils.grid.parameters import check_parameters, find_notebook
from alutils.runs.config import RoundsConfig
from alutils.runs.data import load_split
from alutils.runs.rounds import run_rounds

ROUNDS = "03_active_learning_rounds"
BULK = "04_bulk_training"
DIGITS_01 = "01_mnist_sanity_checks"
SMALL = {"height": 32, "width": 64, "rounds": 2, "steps": 2, "batch_size": 2, "committee_members": 2}
DIGITS = {"dataset": "digits", "model": "mnist_cnn", "height": 28, "width": 28, "augmentation": "none"}
NAME = "streets_tiny-unet_small-vote_entropy-seed0"


def p(**values: object) -> list[str]:
    return [word for name, value in values.items() for word in ("-p", name, str(value))]


def preset(text: str, name: str = "wrong.yaml") -> Callable[[Path], None]:
    """Return a function that writes a preset into the folder that a case is run in."""
    return lambda folder: write(folder / name, text)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def nothing(folder: Path) -> None:
    """Prepare nothing."""


MANY = [*range(99)]

# What presets must not be.
PRESETS = {
    "1: 2": "wrong.yaml is wrong in line 1: the key 1 is no text",
    "runs: null\nruns: []": "line 2: the key runs is there twice",
    "runs: [null]": "runs.0 is None; allowed: a list of runs",
    "runs: [[]]": "runs.0 is []; allowed: a list of runs",
    "runs: {a: 1}": "runs is {'a': 1}; allowed: a list of runs",
    "runs: [[[[1]]]]": "runs.0 is [[[1]]]; allowed: a list of runs",
    "runs: [" + "1," * 90_000 + "]": "runs.0 is 1; allowed: a list of runs",
    "runs: [{notebook: null}]": "runs.0.notebook is None; allowed: the name or the path",
    "runs: [{notebook: [06_figures]}]": "runs.0.notebook is ['06_figures']",
    "runs: [{notebook: 'a\\0b'}]": "is no notebook",
    'runs: [{notebook: "a\\0b"}]': "wrong in line 1: a character that no name of a file can hold",
    "runs: [{}]": "runs.0.notebook is missing; allowed: the name or the path of a notebook",
    "runs: [{notebook: 06_figures, grid: []}]": "runs.0.grid is []",
    "runs: [{notebook: 06_figures, grid: {x: null}}]": "runs.0.grid.x is None",
    "runs: [{notebook: 06_figures, parameters: {1: 2}}]": "line 1: the key 1 is no text",
    "runs: [{notebook: 06_figures, cell_timeout: [1]}]": "runs.0.cell_timeout is [1]; allowed: seconds",
    f"runs: [{{notebook: {ROUNDS}, parameters: {{query: [[a]]}}}}]": "query is [['a']]; allowed: str",
    f"runs: [{{notebook: {ROUNDS}, parameters: {{query: null}}}}]": "query is None; allowed: str",
    f"runs: [{{notebook: {ROUNDS}, parameters: {{dataset: 5}}}}]": "dataset is 5; allowed: str",
    f"runs: [{{notebook: {ROUNDS}, parameters: {{rounds: 1{'0' * 90}}}}}]": "allowed: 1 to 10000",
    f"runs: [{{notebook: {ROUNDS}, grid: {{seed: [[0]]}}}}]": "seed is [0]; allowed: int",
    f"runs: [{{notebook: {DIGITS_01}, parameters: {{queries: [[a]]}}}}]": "queries holds ['a']",
    f"runs: [{{notebook: {DIGITS_01}, parameters: {{seeds: [null]}}}}]": "seeds holds None",
    f"runs: [{{notebook: {DIGITS_01}, parameters: {{seeds: [2001-01-01]}}}}]": "line 1: a timestamp",
    f"runs: [{{notebook: {ROUNDS}, grid: {{a: {MANY}, b: {MANY}, c: {MANY}}}}}]": "is 970299; allowed: 0 to 100000",
    f"a: &a [{'1, ' * 9}]\nb: &b [{'*a, ' * 9}]\nruns: [{{notebook: &c [{'*b, ' * 9}]}}]": "a is unknown",
}

# arguments, what is prepared in the folder that they are called in, a part of the line that is printed
QUICK = [
    (["run", "no_such_notebook"], nothing, "no_such_notebook is no notebook; known: 01_mnist"),
    (["run", "07_compare_queries", *p(experiment="nowhere")], nothing, "'nowhere' has no finished run in "),
    (["run", "09_explore", *p(experiment="mnist_small")], nothing, "run there; `make grid PRESET=mnist_small` makes"),
    (
        ["run", ROUNDS, *p(querry="random")],
        nothing,
        "querry is no parameter of 03_active_learning_rounds; did you mean query? known: exp",
    ),
    (["run", ROUNDS, *p(rounds="many")], nothing, "rounds is 'many'; allowed: int"),
    (["run", ROUNDS, *p(rounds=2.5)], nothing, "rounds is 2.5; allowed: int"),
    (["run", ROUNDS, *p(rounds=0)], nothing, "rounds is 0; allowed: 1 to 10000"),
    (["run", ROUNDS, *p(start=100, rounds=3)], nothing, "start 100 + 2 x step 10 is 120 percent; allowed: 0 to 100"),
    (["run", ROUNDS, *p(start=-1)], nothing, "start is -1, step is 10; allowed: more than 0"),
    (["run", ROUNDS, *p(batch_size=1)], nothing, "batch_size is 1; allowed: 2 to inf"),
    (["run", ROUNDS, *p(learning_rate=0)], nothing, "learning_rate is 0; allowed: 1e-12 to 10"),
    (["run", ROUNDS, *p(learning_rate=".nan")], nothing, "learning_rate is nan; allowed: 1e-12 to 10"),
    (["run", ROUNDS, *p(seed=-1)], nothing, "seed is -1; allowed: 0 to 2147483648"),
    (["run", ROUNDS, *p(committee_dropout=1)], nothing, "committee_dropout is 1; allowed: 0 to 0.99"),
    (["run", ROUNDS, *p(committee_members=0)], nothing, "committee_members is 0; allowed: 1 to 1000"),
    (
        ["run", ROUNDS, *p(precision="float16")],
        nothing,
        "precision is 'float16'; did you mean bfloat16? allowed: auto, float32, bfloat16",
    ),
    (["run", ROUNDS, *p(augmentation="flip+turn")], nothing, "augmentation is 'turn'; allowed: flip, scale, colour"),
    (
        ["run", ROUNDS, *p(dataset="streets_big")],
        nothing,
        "is 'streets_big'; did you mean streets_tiny? allowed: digits",
    ),
    (
        ["run", ROUNDS, *p(dataset="no.yaml")],
        nothing,
        "dataset is no.yaml; there is no such file; allowed: the path of an existing YAML",
    ),
    (
        ["run", ROUNDS, *p(dataset="mien.yaml")],
        preset("", "mine.yaml"),
        "no such file; did you mean mine.yaml? allowed",
    ),
    (["run", ROUNDS, *p(model="unet")], nothing, "model is 'unet'; allowed: mnist_cnn, unet_small"),
    (["run", ROUNDS, *p(model="unetsmall")], nothing, "did you mean unet_small? allowed: mnist_cnn"),
    (["run", BULK, *p(order_model="x")], nothing, "order_model is 'x'; allowed: mnist_cnn, unet_small"),
    (["run", DIGITS_01, *p(queries="[entropie]")], nothing, "query is 'entropie'; did you mean entropy? allowed"),
    (["run", DIGITS_01, *p(regimes="[x]")], nothing, "regime is 'x'; allowed: from_scratch, incremental"),
    (["run", DIGITS_01, *p(seeds="[a]")], nothing, "seeds holds 'a'; allowed: a list of whole numbers"),
    (["run", DIGITS_01, *p(seeds="[-1]")], nothing, "seed is -1; allowed: 0 to 2147483648"),
    (["run", ROUNDS, *p(regime="x")], nothing, "regime is 'x'; allowed: from_scratch, incremental"),
    (["run", ROUNDS, *p(last_epochs=0)], nothing, "last_epochs is 0; allowed: 1 to inf"),
    (
        ["run", ROUNDS, *p(query="entropie")],
        nothing,
        "query is 'entropie'; did you mean entropy? allowed: random, strided",
    ),
    (["run", ROUNDS, *p(query="bald+top2")], nothing, "query is 'bald+top2'; share of top is 2; allowed: 1e-06 to 1"),
    (
        ["run", ROUNDS, *p(query="my_scores.py:mine")],
        nothing,
        "my_scores.py: No such file or directory; allowed: FILE.py",
    ),
    (
        ["run", ROUNDS, *p(start_query="bald")],
        nothing,
        "start_query is 'bald', which asks a committee; allowed: random, strided_random",
    ),
    (["run", BULK, *p(query="best")], nothing, "query is 'best'; allowed: all, random"),
    (["run", ROUNDS, *p(test_resolution="x")], nothing, "test_resolution is 'x'; allowed: training, native"),
    (["run", BULK, *p(order_regime="x")], nothing, "order_regime is 'x'; allowed: from_scratch, incremental"),
    (["run", ROUNDS, *p(unit="pixels")], nothing, "unit is 'pixels'; allowed: percent, images"),
    (["run", BULK, *p(share=0)], nothing, "share is 0 percent; allowed: 0.01 to 100"),
    (
        ["run", ROUNDS, *p(experiment="../x")],
        nothing,
        "'../x' is no name for an experiment or a run; allowed: one folder",
    ),
    (["run", ROUNDS, *p(experiment="/tmp/x")], nothing, "'/tmp/x' is no name for an experiment or a run"),
    (["run", ROUNDS, *p(experiment="")], nothing, "'' is no name for an experiment or a run"),
    (["run", ROUNDS, *p(model="../../x")], nothing, "model is '../../x'; allowed: mnist_cnn, unet_small"),
    (["run", ROUNDS, "-f", "nowhere.yaml"], nothing, "nowhere.yaml cannot be read (No such file or directory)"),
    (["run", ROUNDS, "-f", "x.yaml"], preset("a: [", "x.yaml"), "x.yaml is not YAML"),
    (["run", ROUNDS, "-f", "x.yaml"], preset("- 1", "x.yaml"), "x.yaml holds a list; allowed: names with values"),
    (["run", ROUNDS, "-f", "x.yaml"], preset("", "x.yaml"), "x.yaml is empty; allowed: names with values"),
    (["run", ROUNDS, "--cell-timeout", "0"], nothing, "cell_timeout is 0 seconds; allowed: 1 to inf seconds"),
    (["run", "x" * 300], nothing, "x is no notebook; known: 01_mnist"),
    (["run", ROUNDS, *p(dataset="x" * 300 + ".yaml")], nothing, ".yaml; there is no such file; allowed: the path of"),
    (["grid", "x" * 300], nothing, "x is no preset; allowed: the name of a file in params/, such as demo"),
    (["grid", "nothing"], nothing, "nothing is no preset; allowed: the name of a file in params/, such as demo"),
    (["grid", "."], nothing, ". is no preset; allowed: the name of a file in params/, such as demo"),
    (["status", "nothing.yaml"], nothing, "nothing.yaml is no preset; allowed: the name of a file"),
    (["grid", "wrong.yaml"], preset("rums: []"), "rums is unknown; did you mean runs? allowed: recipe, runs"),
    (["grid", "wrong.yaml"], preset("runs: [{notebook: x}]"), "x is no notebook; known: 01_mnist"),
    (
        ["grid", "wrong.yaml"],
        preset(f"runs: [{{notebook: {ROUNDS}, grid: {{seed: 3}}}}]"),
        "grid.seed is 3; allowed: a list of values for each name, such as [0, 1]",
    ),
    (["grid", "wrong.yaml"], preset("runs: !!python/object/apply:os.system [touch x]"), "is not YAML"),
    (["grid", "wrong.yaml"], preset(b"\xff\xfe\x00".decode("latin1")), "is not YAML"),
    (
        ["grid", "wrong.yaml"],
        preset(f"runs: [{{notebook: {ROUNDS}}}, {{notebook: {ROUNDS}}}]"),
        "two runs",
    ),
    (
        ["grid", "wrong.yaml"],
        preset(f"runs: [{{notebook: {ROUNDS}, parameters: {{dataset: no/mine.yaml}}}}]"),
        "no/mine.yaml; there is no such file",
    ),
    (["grid", "a{b}.yaml"], preset("runs: []", "a{b}.yaml"), "'a{b}' is no name for an experiment or a run"),
    (["grid", "demo", "--cores", "0"], nothing, "cores is 0; allowed: 1 to 100000"),
    (["grid", "demo", "--profile", "pbs"], nothing, "pbs is no profile; known: kubernetes, local, slurm"),
    (
        ["show", "nothing"],
        nothing,
        "'nothing' has no finished run in ",
    ),
    (["show", "demo"], nothing, "and no published table; `make grid PRESET=demo` makes some; known: "),
    (["figures", "bulk"], nothing, "figure is 'bulk'; did you mean bulk_all? allowed: bulk_all"),
    (["grid"], nothing, "no preset is given; allowed: the name of a file in params/"),
    (["status"], nothing, "no preset is given; allowed: the name of a file in params/"),
    (["grid", "dmo"], nothing, "dmo is no preset; did you mean demo? allowed: the name"),
    (["show", "../x"], nothing, "'../x' is no name for an experiment or a run"),
    (["run", ROUNDS, *p(rounds="9" * 4000)], nothing, "rounds is '999"),
    (["run", ROUNDS, *p(rounds="0x" + "9" * 4000)], nothing, "rounds is '0x9"),
    (["run", ROUNDS, *p(rounds="[" * 5000)], nothing, "rounds is '[["),
    (["run", ROUNDS, *p(rounds="2001-99-99")], nothing, "rounds is '2001-99-99'; allowed: int"),
    (["run", ROUNDS, *p(query="x" * 5000)], nothing, "query is 'xxx"),
    (["run", ROUNDS, *p(query="\x1b[31m\nred")], nothing, "query is "),
    (["run", ROUNDS, *p(model="\x1b[31m\nred")], nothing, "model is '\\x1b[31m\\nred'"),
    (["run", ROUNDS, *p(dataset="x" * 5000 + ".yaml")], nothing, "there is no such file"),
    (["run", ROUNDS, *p(dataset="\x1b.yaml")], nothing, "there is no such file"),
    (["run", ROUNDS, "-p", "\x1b\n" * 500, "1"], nothing, "is no parameter of 03_active_learning_rounds"),
    (["run", ROUNDS, "-f", "x.yaml"], preset("seed: 1\nseed: 2", "x.yaml"), "x.yaml is wrong in line 2: the key seed"),
    (["run", ROUNDS, "-f", "x.yaml"], preset("1: 2", "x.yaml"), "x.yaml is wrong in line 1: the key 1 is no text"),
    (["run", ROUNDS, "-f", "pipe"], lambda folder: os.mkfifo(folder / "pipe"), "pipe cannot be read (not a regular"),
    (["run", ROUNDS, "-f", "."], nothing, ". cannot be read (not a regular file)"),
    (["run", "pipe.ipynb"], lambda folder: os.mkfifo(folder / "pipe.ipynb"), "pipe.ipynb is no notebook"),
    (["run", "x" * 5000], nothing, "is no notebook"),
    (["grid", "demo", "--cores", "1" * 1000], nothing, "cores is 111"),
    *((["grid", "wrong.yaml"], preset(text), message) for text, message in PRESETS.items()),
]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("arguments", "prepare", "message"), QUICK)
def test_what_is_wrong_from_the_start_is_one_line(
    arguments: list[str],
    prepare: Callable[[Path], None],
    message: str,
    tmp_path: Path,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    before = contents(tmp_path)
    assert main(arguments) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "error: " in line
    assert message in line
    assert len(line) <= 300
    assert line.isprintable()
    assert contents(tmp_path) == before
    assert not results.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [[*p(query="entropie")], [*p(model="unet")], [*p(dataset="street")], [*p(dataset="no.yaml")], [*p(querry="bald")]],
)
def test_a_misspelt_name_is_said_within_a_second_and_a_half_and_leaves_no_folder(arguments: list[str], results: Path):
    """Seconds of a processor, for other work may delay this one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "alutils", "run", ROUNDS, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("error: ")
    assert not results.exists()


def mine(folder: Path, break_it: Callable[[Path], None]) -> list[str]:
    """Make a folder of two images and their labels in `folder`, broken; return the parameter that names it."""
    for split in ("train", "test"):
        for index in range(2):
            path = folder / split / "images" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / split / "labels").mkdir(exist_ok=True)
            Image.fromarray(np.full((32, 64, 3), 100 * index, np.uint8)).save(path)
            Image.fromarray(np.full((32, 64), index, np.uint8)).save(folder / split / "labels" / path.name)
    splits = ", ".join(f"{s}: {{images: {s}/images, labels: {s}/labels}}" for s in ("train", "test"))
    write(folder / "mine.yaml", f"name: mine\nclasses: {{a: [0, 0, 0], b: [9, 9, 9]}}\nsplits: {{{splits}}}\n")
    break_it(folder / "train" / "labels" / "1.png")
    return p(dataset=folder / "mine.yaml", unit="images", start=1, step=1)


def no_label(label: Path) -> None:
    """Remove a label and all beside it."""
    for path in label.parent.iterdir():
        path.unlink()


def damaged_cache(folder: Path) -> list[str]:
    """Run once into a cache of its own, and break that cache."""
    os.environ["ALUTILS_CACHE"] = str(folder / "cache")
    config = check_parameters(find_notebook(ROUNDS), SMALL)
    load_split(RoundsConfig.from_names(config), "train")
    (images,) = (folder / "cache").glob("streets_tiny-train-32x64-*/images.npy")
    content = images.read_bytes()
    images.unlink()  # it is read-only
    images.write_bytes(content[:1000])
    return []


def half_written(name: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        run_rounds(RoundsConfig.from_names(check_parameters(find_notebook(ROUNDS), SMALL)))
        path = folder / "results" / "scratch" / NAME / name
        path.write_bytes(path.read_bytes()[:-9] if path.exists() else b"torn")
        if name == "checkpoint.pt":  # as if killed in the first round
            for left in ("rounds.csv", "clips.csv", "provenance.json"):
                (path.parent / left).unlink()
        return []

    return prepare


IN_KERNEL = [
    (ROUNDS, lambda folder: p(**DIGITS, query="bald+windows2x2"), "digits has one label per image; allowed: queries"),
    (ROUNDS, lambda folder: p(height=0), "height is 0, width is 64; allowed: two numbers from 1 on, or neither"),
    (ROUNDS, lambda folder: mine(folder, no_label), "mine train: none of its 2 images has a label"),
    (ROUNDS, lambda folder: mine(folder, lambda label: write(label, "no image")), "1.png: cannot be decoded"),
    (ROUNDS, lambda folder: mine(folder, all_of(7)), "1.png: label value 7 is neither a class nor ignored"),
    (ROUNDS, lambda folder: mine(folder, void_everywhere), "mine train: the labels of all 1 images are void"),
    (BULK, lambda folder: p(query="vote_entropy"), "is no finished run; run 03_active_learning_rounds for it first"),
    (ROUNDS, damaged_cache, "damaged cache; remove this folder and start again"),
    (ROUNDS, half_written("rounds.csv"), "rounds.csv: damaged (its last line is cut off)"),
    (ROUNDS, half_written("checkpoint.pt"), "checkpoint.pt: damaged ("),
]


@pytest.mark.slow
def test_a_damaged_config_is_one_line_before_a_kernel_starts(
    tmp_path: Path, results: Path, capfd: pytest.CaptureFixture[str]
):
    half_written("config.json")(tmp_path)
    before = contents(results)
    capfd.readouterr()
    assert main(["run", ROUNDS, *p(**SMALL)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "config.json: damaged (it is not the config of what the run finished); put a copy back" in line
    after = contents(results)
    assert {path: after[path] for path in before} == before
    assert not [path for path in after if path.name.startswith("notebook")]


def all_of(value: int) -> Callable[[Path], None]:
    return lambda label: Image.fromarray(np.full((32, 64), value, np.uint8)).save(label)


def void_everywhere(label: Path) -> None:
    for path in label.parent.iterdir():
        all_of(255)(path)


@pytest.mark.slow
@pytest.mark.parametrize(("notebook", "prepare", "message"), IN_KERNEL)
def test_what_turns_out_wrong_in_a_run_is_one_line(
    notebook: str,
    prepare: Callable[[Path], list[str]],
    message: str,
    tmp_path: Path,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("ALUTILS_CACHE", os.environ["ALUTILS_CACHE"])  # set back after the test
    small = {name: value for name, value in SMALL.items() if notebook == ROUNDS or "round" not in name}
    arguments = [notebook, *p(**{n: v for n, v in small.items() if notebook == ROUNDS or "committee" not in n})]
    arguments += prepare(tmp_path)
    before = contents(results)
    capfd.readouterr()
    assert main(["run", *arguments]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].endswith(": started")
    assert re.search(rf"error: .*{re.escape(message)}.* \(see .*notebook.failed.ipynb\)$", lines[1])
    after = contents(results)
    assert {path: after[path] for path in before} == before


def test_a_results_folder_that_is_a_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    write(tmp_path / "file", "mine")
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "file"))
    for arguments in (["run", ROUNDS], ["grid", "demo"], ["show", "demo"]):
        assert main(arguments) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_a_read_only_results_folder_is_one_line(tmp_path: Path, results: Path):
    """As root, only without root's power over permissions."""
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere; `setpriv` of util-linux is needed to give that up")
    results.mkdir()
    results.chmod(0o555)
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.getuid() == 0 else []
    for words in (["run", ROUNDS], ["grid", "demo"]):
        done = subprocess.run([*powerless, sys.executable, "-m", "alutils", *words], capture_output=True, text=True)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "error: " in line
        assert str(results) in line
        assert "Permission denied" in line
    assert not list(results.iterdir())
