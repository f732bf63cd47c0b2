"""From a preset to jobs: every combination, in an order that respects who needs whom, all checked."""

import json
import shlex
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from alutils.errors import ParameterError
from alutils.grid.parameters import check_parameters
from alutils.grid.preset import Job, find_preset, load_jobs
from alutils.paths import PARAMS
from alutils.runs.bulk import run_bulk
from alutils.runs.config import BulkConfig, RoundsConfig
from alutils.runs.rounds import run_rounds

GRID = """
recipe: &recipe {dataset: streets_tiny, steps: 3}
runs:
  - notebook: 03_active_learning_rounds
    parameters: {<<: *recipe, rounds: 2}
    grid: {query: [random, vote_entropy], seed: [0, 1]}
  - notebook: 04_bulk_training
    parameters: *recipe
    grid: {query: [random, vote_entropy], share: [20], seed: [0]}
  - notebook: 06_figures
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_and_bulk_training_waits_for_its_order(tmp_path: Path):
    jobs = load_jobs(write(tmp_path, GRID))
    rounds = [f"streets_tiny-unet_small-{q}-seed{s}" for q in ("random", "vote_entropy") for s in (0, 1)]
    bulk = "streets_tiny-unet_small-bulk-{}-share20-seed0"
    random, vote = bulk.format("random"), bulk.format("vote_entropy_by_unet_small")
    assert list(jobs) == [*rounds, random, vote, "06_figures"]
    assert jobs[vote].needs == ["streets_tiny-unet_small-vote_entropy-seed0"]
    assert jobs[random].needs == []
    assert jobs["06_figures"].needs == [*rounds, random, vote]
    assert jobs[rounds[1]].given == {
        **{"experiment": "mine", "dataset": "streets_tiny", "steps": 3, "rounds": 2},
        **{"query": "random", "seed": 1},
    }


@pytest.mark.parametrize("preset", sorted(PARAMS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_of_the_project_is_valid(preset: Path):
    assert load_jobs(preset)


@pytest.mark.slow
def test_the_cityscapes_preset_runs_on_drawn_scenes():
    """One of each kind of its trainings, with the real networks, two steps each, in two rounds instead of seven."""
    small = {"dataset": "streets_tiny", "height": 64, "width": 64, "weights": None, "steps": 2, "committee_members": 2}
    small |= {"rounds": 2, "step": 60.0}
    kinds: dict[tuple[object, ...], Job] = {}
    for job in load_jobs(find_preset("cityscapes")).values():
        if job.config and job.config["query"] in ("vote_entropy", "all") and job.config.get("share") in (None, 20, 100):
            kinds.setdefault((job.config["model"], job.config.get("share")), job)
    assert sorted(kinds, key=str) == [
        ("deeplabv3_resnet101", 100.0), ("deeplabv3_resnet101", 20.0), ("deeplabv3_resnet101", None),
        ("vgg19_unet", 100.0), ("vgg19_unet", 20.0),
    ]  # fmt: skip
    for (_, share), job in kinds.items():
        names = check_parameters(job.notebook, job.given)
        names |= {name: value for name, value in small.items() if name in names}
        table = run_bulk(BulkConfig.from_names(names)) if share else run_rounds(RoundsConfig.from_names(names))
        assert table["miou"].between(0, 1).all()
        assert len(table) == (1 if share else 2)
        assert table["labelled_percent"].iloc[-1] == pytest.approx(share or 70, abs=1)
        assert table["category_iou_flat"].notna().all()


@pytest.mark.parametrize("preset", ["mnist", "mnist_small"])
def test_the_notebook_on_digits_asks_for_the_very_runs_that_were_made_before_it(preset: str):
    """It would otherwise run them again, for hours."""
    jobs = load_jobs(find_preset(preset))
    for name in (name for name in jobs if name.startswith("01_")):
        shows = jobs[name]
        imports = nbformat.read(shows.notebook, 4).cells[2].source
        names = check_parameters(shows.notebook, shows.given)
        exec(imports, names)
        assert len(shows.needs) >= 45
        for run in shows.needs:
            made = jobs[run].config
            config = RoundsConfig.from_names(
                names | names["fixed"] | {field: made[field] for field in ("regime", "seed", "query")}
            )
            assert config.parameters == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: [{notebook: nothing}]", "nothing is no notebook; known: 01_"),
        (
            "runs: [{notebok: 06_figures}]",
            "runs.0.notebok is unknown; did you mean notebook? allowed: notebook, parameters, grid",
        ),
        (
            "runs: [{notebook: 06_figures, params: {}}]",
            "runs.0.params is unknown; did you mean parameters? allowed: notebook, parameters, grid, cell_timeout",
        ),
        ("rums: []", "rums is unknown; did you mean runs? allowed: recipe, runs"),
        (
            "runs: [{notebook: 03_active_learning_rounds, grid: {seed: 3}}]",
            "runs.0.grid.seed is 3; allowed: a list of values for each name, such as [0, 1]",
        ),
        ("runs: [{notebook: 03_active_learning_rounds, grid: {sede: [3]}}]", "sede is no parameter"),
        ("runs: [{notebook: 03_active_learning_rounds, parameters: {seed: x}}]", "seed is 'x'; allowed: int"),
        ("runs: [{notebook: 03_active_learning_rounds, grid: {steps: [1, 2]}}]", "two runs would be called"),
        ("runs: [{notebook: 03_active_learning_rounds, parameters: {start: 120}}]", "140 percent; allowed: 0 to 100"),
        ("runs: [{notebook: 06_figures, parameters: [1]}]", "parameters is [1]; allowed: names with values"),
        (
            "runs: [{notebook: 06_figures, parameters: {experiment: x}}]",
            "allowed: all names but experiment, which is the preset's",
        ),
        ("runs: 3", "runs is 3; allowed: a list of runs"),
        ("runs: [{notebook: 06_figures, cell_timeout: 0}]", "cell_timeout is 0; allowed: seconds, a whole number"),
        ("runs: [", "is not YAML"),
        ("- 1", "holds a list; allowed: names with values"),
        ("runs: !!python/object/apply:os.system [true]", "is not YAML"),
    ],
)
def test_a_wrong_preset_is_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(ParameterError) as caught:
        load_jobs(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_job_is_called_with_arguments_that_mean_the_same_again(tmp_path: Path, notebook: Path):
    """Also where they look like code of a shell, of Snakemake or of YAML: all of it stays data."""
    name = "$(touch x); `touch y` {input} 'it''s' \\ [1]"
    text = json.dumps(name)
    grid = f"runs: [{{notebook: {notebook}, parameters: {{items: [{text}, random], name: {text}}}}}]"
    (job,) = load_jobs(write(tmp_path, grid)).values()
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {shlex.join(job.arguments)}"], capture_output=True, text=True)
    words = done.stdout.split("\0")
    pairs = dict(zip(words[2::3], words[3::3], strict=False))
    assert check_parameters(job.notebook, pairs) == check_parameters(job.notebook, job.given)
    assert pairs["name"] == name
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_grid_of_thousands_is_read_in_seconds(tmp_path: Path):
    preset = write(tmp_path, GRID.replace("seed: [0, 1]", f"seed: {list(range(2500))}"))
    started = time.monotonic()
    assert len(load_jobs(preset)) == 5003
    assert time.monotonic() - started < 20


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ParameterError, match=r"nothing is no preset; allowed: the name of a file .* such as demo"):
        find_preset("nothing")


def test_a_job_depends_on_the_file_of_its_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alutils.grid.preset.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("my_scores.py").write_text("def mine(vote_share):\n    return vote_share.amax(dim=1)\n")
    (tmp_path / "elsewhere").mkdir()
    text = "runs: [{notebook: 03_active_learning_rounds, grid: {query: [random, my_scores.py:mine+top0.10]}}]"
    random, mine = load_jobs(write(tmp_path, text)).values()
    assert mine.name == "streets_tiny-unet_small-my_scores.mine+top0.1-seed0"
    assert set(mine.files) - set(random.files) == {tmp_path / "my_scores.py"}
    monkeypatch.setattr("alutils.grid.preset.ROOT", tmp_path / "elsewhere")
    with pytest.raises(ParameterError, match=r"query is in .*/elsewhere/my_scores.py; there is no such file"):
        load_jobs(write(tmp_path, text))
