"""A page to send: what an experiment found and what its queries chose, in one HTML file."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alutils.errors import DataError, ParameterError
from alutils.explorer.opened import OpenedRun, opened_runs
from alutils.explorer.pictures import View, jpeg, parts_of
from alutils.explorer.words import about_image, about_round, colours_of
from alutils.files import write_whole
from alutils.paths import results_dir
from alutils.progress import bar, duration
from alutils.results.acquired import of_setting
from alutils.results.analysis import settings
from alutils.results.comparison import Comparison, all_comparisons
from alutils.results.comparison_text import label_table, read_gains, read_labels, read_near_duplicates, score_table
from alutils.results.figures.comparison import acquired_classes, costs, gains, query_curves
from alutils.results.figures.curves import learning_curves
from alutils.results.figures.style import png, words
from alutils.results.tables import Experiment
from alutils.runs.config import setting_of
from alutils.web_page import document, legend, picture

VIEWS = 9_500_000  # bytes of all views; the text of a page takes a third more, and a page at most 15 million
WIDTH = 1600  # pixels of all parts of a view
RANKS = 5  # images of a round at most
STYLE = """
body { max-width: 84rem }
.controls { position: sticky; top: 0; background: #fff; padding: .5rem 0 }
.controls label { display: inline-block; margin-right: 1rem } .controls select { max-width: 90vw }
.controls input { vertical-align: middle; width: 12rem }
.values td { text-align: left; overflow-wrap: anywhere } .values th { font-weight: normal; vertical-align: top }
.parts { display: flex; gap: 4px; align-items: flex-start } .parts img { min-width: 0 }
@media (max-width: 50rem) {
  .parts { display: block } .parts img { width: 100% }
  .wide::before { content: "wider than the screen: swipe"; font-size: .75rem; color: #777 }
}
"""
SCRIPT = """
const views = [...document.querySelectorAll(".view")]
const [query, round, rank] = ["query", "round", "rank"].map(name => document.getElementById(name))
function show() {
  const ofQuery = views.filter(view => view.dataset.query == query.value)
  round.max = Math.max(...ofQuery.map(view => +view.dataset.round))
  const ofRound = ofQuery.filter(view => view.dataset.round == round.value)
  rank.max = Math.max(...ofRound.map(view => +view.dataset.rank))
  for (const view of views) view.hidden = !(ofRound.includes(view) && view.dataset.rank == rank.value)
  const place = `round ${round.value}, choice ${+rank.value + 1} of the ${+rank.max + 1} shown`
  document.getElementById("where").textContent = place
}
for (const control of [query, round, rank]) control.addEventListener("input", show)
document.querySelector(".controls").hidden = false
show()
"""
CHOSEN = """<h2>What was chosen</h2>
<p>Each view shows an image that the networks of a round chose to be labelled next: the photo, its label, the
prediction without dropout, and the score of each pixel (its name stands above), brightest where it is most. One seed of
each query is shown, and as many choices of each round as fit on the page. The sliders obey the arrow keys.</p>
"""
CONTROLS = """<div class="controls" hidden>
<label>run <select id="query">{options}</select></label>
<label>round <input type="range" id="round" min="0" value="0"></label>
<label>choice <input type="range" id="rank" min="0" value="0"></label>
<output id="where" for="query round rank"></output>
</div>"""


def write_page(name: str) -> Path:
    """Write the page of an experiment to `results/<name>/page.html` and return its path.

    Raises `DataError` if the experiment has neither finished runs nor a published table.
    """
    experiment = Experiment.find(name)
    parts = [*_found(experiment), *_chosen(experiment), *_made(experiment)]
    path = results_dir() / name / "page.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, document(f"{name}: what was found, and what was chosen", "\n".join(parts), STYLE))
    return path


def _found(experiment: Experiment) -> Iterator[str]:
    """Yield curves, verdicts and what was acquired; of an experiment without several queries, curves."""
    yield "<h2>What was found</h2>"
    rounds = experiment.table[experiment.table["kind"] == "rounds"]
    if rounds["query"].nunique() < 2:
        for name, rows in settings(experiment.table):
            yield _figure(learning_curves(rows), f"Learning curves of {name}")
        return
    acquired, notes = experiment.acquired
    for comparison in all_comparisons(experiment):
        yield from _compared(comparison)
        chosen = of_setting(acquired, comparison.rows)
        if len(chosen):
            yield _figure(acquired_classes(chosen, comparison.name), "Shares of the classes among what was acquired")
            yield f"<p>{escape(read_near_duplicates(chosen))}</p>"
    yield from (f"<p>{escape(note)}</p>" for note in notes)


def _compared(comparison: Comparison) -> Iterator[str]:
    """Yield what a comparison says, in figures, tables and words."""
    name, baseline = comparison.name, words(comparison.baseline)
    yield f"<h3>{escape(name)}, compared with {escape(baseline)}</h3>"
    yield from (f"<p>{escape(note)}</p>" for note in comparison.notes)
    yield _figure(query_curves(comparison), f"Learning curves of {name}: one panel a query, beside {baseline}")
    yield f"{_table(score_table(comparison))}<p>{escape(read_gains(comparison))}</p>"
    if comparison.by_query["gain"].notna().any():
        yield _figure(
            gains([comparison]), f"Gains over {baseline} with their intervals; the table above has the numbers"
        )
    yield f"{_table(label_table(comparison))}<p>{escape(read_labels(comparison))}</p>"
    if "clicks" in comparison.by_query:
        yield _figure(costs(comparison), "Score against the pixels and the clicks that were spent")


def _chosen(experiment: Experiment) -> Iterator[str]:
    """Yield the explorer's views of what each query chose, or a line that says why there are none."""
    try:
        if not experiment.runs:
            raise DataError(f"only the published table is here; `alutils grid {experiment.name}` makes the runs")
        runs = [*_first_seeds(opened_runs(experiment.name)).values()]
        views = [*_views(runs)]
    except (DataError, ParameterError) as error:
        yield f"<h2>What was chosen</h2><p>There are no views: {escape(str(error))}.</p>"
        return
    options = [f'<option value="{number}">{escape(run.name)}</option>' for number, run in enumerate(runs)]
    yield CHOSEN + CONTROLS.format(options="".join(options))
    yield f"<p>{legend(colours_of(runs[0].train_set))}</p>"
    yield from views
    yield f"<script>{SCRIPT}</script>"


def _first_seeds(runs: Mapping[str, OpenedRun]) -> dict[Any, OpenedRun]:
    """Return the run with the lowest seed of each setting and query, those that ask a committee first."""
    later_seeds_first = sorted(runs.values(), key=lambda run: (not run.query.asks_committee, -run.config.seed))
    return {(setting_of(run.run.config()), run.config.query): run for run in later_seeds_first}


def _views(runs: list[OpenedRun]) -> Iterator[str]:
    """Yield views until the page is full: the first choice of each round of each run, then the second ones ..."""
    left, rounds, score = VIEWS, max(run.last_round for run in runs), next(iter(runs[0].scores))  # one for all
    progress = bar(RANKS * rounds * len(runs), "views")
    for rank, number, which in product(range(RANKS), range(rounds), range(len(runs))):
        progress.update()
        chosen = runs[which].chosen(number)
        if rank >= len(chosen):
            continue
        own = score if score in runs[which].scores else next(iter(runs[which].scores))
        view = View(number, "train", chosen[rank], own)
        contents = _jpegs(parts_of(runs[which], view))
        left -= sum(map(len, contents.values()))
        if left < 0:
            break
        image = escape(runs[which].train_set.item_names[chosen[rank]])
        said = f"{about_round(runs[which], number)}<br>choice {rank + 1}: {image}: {about_image(runs[which], view)}"
        shown = [picture(content, f"Choice {rank + 1} of round {number}: {name}") for name, content in contents.items()]
        place = f'data-query="{which}" data-round="{number}" data-rank="{rank}"'
        figure = f'<figcaption>{said}</figcaption><div class="parts">{"".join(shown)}</div>'
        yield f'<figure class="view" {place}>{figure}</figure>'
    progress.close()


def _jpegs(parts: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Return the parts of a view as JPEGs, all shrunk alike so that they fit side by side."""
    zoom = min(1, WIDTH / sum(part.shape[1] for part in parts.values()))
    return {name: jpeg(part, round(part.shape[1] * zoom)) for name, part in parts.items()}


def _made(experiment: Experiment) -> Iterator[str]:
    """Yield how the experiment was made: recipes that are alike in all runs, code, device, versions."""
    records = [*experiment.records.values()]
    configs, provenances = ([record[what] for record in records] for what in ("config", "provenance"))
    given = {name: value for name, value in configs[0].items() if value is not None}
    alike = {name: value for name, value in given.items() if all(one.get(name) == value for one in configs)}
    if "steps" in given:
        alike.pop("epochs", None)  # steps replace them
    commits = sorted({one["commit"] for made in provenances for one in made.get("code", [])})
    told = {
        "runs": len(records),
        "devices": ", ".join(sorted({made["device"] for made in provenances})),
        "commits of the code": ", ".join(commit[:12] for commit in commits) or "not recorded",
        "time in training and queries": duration(sum(made.get("seconds", 0) for made in provenances)),
    }
    yield "<h2>How it was made</h2>"
    yield _rows(told)
    yield "<p>What is the same in all runs:</p>"
    yield _rows({name: json.dumps(value) for name, value in alike.items()})
    yield f"<p>This page: <code>alutils page {escape(experiment.name)}</code></p>"


def _figure(figure: Figure, description: str) -> str:
    return f'<figure class="wide">{picture(png(figure), description, "png")}</figure>'


def _table(table: pd.DataFrame) -> str:
    """Return a table of text as HTML, which a narrow screen can scroll."""
    return f'<div class="wide">{table.to_html(border=0)}</div>'


def _rows(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}<td>{escape(str(value))}" for name, value in values.items())
    return f'<table class="values">{rows}</table>'
