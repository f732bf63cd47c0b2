"""What an experiment gave, and its way into the repository."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from alutils.files import write_whole
from alutils.paths import ROOT, published_dir, results_dir
from alutils.queries.query import modifiers_table, queries_table
from alutils.results.acquired import acquired_table, load_acquired, load_published_acquired, of_setting
from alutils.results.analysis import (
    ENTROPIES,
    MEASURES,
    THESIS_FIGURES,
    bulk_points,
    committee_gain,
    least_and_most_sure,
    measure_of,
    our_bulk,
    paired_gains,
    pivot,
    point_texts,
    random_slopes,
    score_histograms,
    settings,
    summarise,
    thesis_points,
)
from alutils.results.comparison import Comparison, load_comparisons, load_published_comparisons
from alutils.results.comparison_text import (
    label_table,
    read_class_factors,
    read_classes,
    read_gains,
    read_labels,
    read_near_duplicates,
    read_overlaps,
    read_penalties,
    score_table,
)
from alutils.results.tables import load_experiment, load_published, load_scores, publish
from alutils.runs.folder import finished_runs

README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "results.md", ROOT / "docs" / "queries.md")
# After a published table's name, in a page: verdicts on its queries, or all that their comparison says.
VERDICTS, COMPARED = "_verdicts", "_comparison"


def report(experiment: str) -> str:
    """Return a text: for each setting scores and gains over random, then where everything lies."""
    lines = []
    for name, rows in settings(load_experiment(experiment)):
        lines += [f"\n{name}: {measure_of(rows)}, mean ± standard deviation (seeds)"]
        lines += [pivot(summarise(rows)).to_string()]
        gains = paired_gains(rows)
        if not gains.empty:
            lines += ["gain over random, paired by seed", pivot(gains).to_string()]
    folder = results_dir() / experiment
    lines += ["", f"executed notebooks  {folder}/*/notebook.ipynb"]
    lines += [f"tables              {folder}/*/rounds.csv, acquisitions.csv"]
    lines += [f"figures             {path}/" for path in sorted({file.parent for file in folder.glob("*/*.png")})]
    return "\n".join(lines)


def compare(experiment: str) -> str:
    """Return a text: of each setting tables of scores and labels, and sentences that read them."""
    comparisons = load_comparisons(experiment)  # refused, if so, before pixels are read
    acquired, notes = load_acquired(experiment)
    return "\n\n".join([_said(comparisons, acquired, pd.DataFrame.to_string), *notes])


def _said(
    comparisons: list[Comparison],
    acquired: pd.DataFrame,
    show: Callable[[pd.DataFrame], str],
    *,
    only_verdicts: bool = False,
) -> str:
    """Return what comparisons, and what their queries acquired, say; tables as `show` writes them."""
    parts = []
    for comparison in comparisons:
        chosen = of_setting(acquired, comparison.rows)
        parts += _verdicts(comparison, chosen, show)
        parts += [] if only_verdicts else _reasons(comparison, chosen, show)
    return "\n\n".join(parts)


def _verdicts(comparison: Comparison, acquired: pd.DataFrame, show: Callable[[pd.DataFrame], str]) -> list[str]:
    title = f"{comparison.name}: area under the curve of {MEASURES[comparison.measure]}"
    repeated = [read_near_duplicates(acquired)] if (acquired["what"] == "near_duplicates").any() else []
    return [f"{title}, gain over {comparison.baseline} paired by seed", show(score_table(comparison)), *repeated]


def _reasons(comparison: Comparison, acquired: pd.DataFrame, show: Callable[[pd.DataFrame], str]) -> list[str]:
    reads = [read_class_factors, read_overlaps] if len(acquired) else []
    return [
        read_gains(comparison),
        f"{comparison.name}: labels in percent of the training set, as far as the budget reaches; seconds a round",
        show(label_table(comparison)),
        read_labels(comparison),
        read_penalties(comparison),
        read_classes(comparison),
        *[read(acquired) for read in reads],
        *comparison.notes,
    ]


def markdown(name: str) -> str:
    """Return text for a page: a published table's scores and gains, its comparison, or a thesis's figure and ours."""
    if name in THESIS_FIGURES:
        return against_thesis(name)
    if name in ("queries", "modifiers"):
        return {"queries": queries_table, "modifiers": modifiers_table}[name]()
    experiment = name.removesuffix(VERDICTS).removesuffix(COMPARED)
    if experiment != name:
        acquired, _ = load_published_acquired(experiment)
        only_verdicts = name.endswith(VERDICTS)
        return _said(load_published_comparisons(experiment), acquired, _markdown_frame, only_verdicts=only_verdicts)
    parts = []
    for setting, rows in settings(load_published(name)):
        parts += [f"{setting}: {measure_of(rows)}, mean ± standard deviation (seeds)", _markdown_table(summarise(rows))]
        gains = paired_gains(rows)
        if not gains.empty:
            parts += ["Gain over random, paired by seed:", _markdown_table(gains)]
    return "\n\n".join(parts)


def _markdown_table(summary: pd.DataFrame) -> str:
    table = pivot(summary)
    lines = [["labelled", "%", *table.columns], ["---"] * (2 + len(table.columns))]
    lines += [
        [f"{n}", f"{round(percent, 0 if percent >= 10 else 2):g}", *cells]
        for (n, percent), *cells in table.itertuples()
    ]
    return _markdown_lines(lines)


def _markdown_frame(table: pd.DataFrame) -> str:
    rows = table.reset_index()
    return _markdown_lines([[*rows.columns], ["---"] * rows.shape[1], *rows.astype(str).to_numpy().tolist()])


def _markdown_lines(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish_all(experiment: str) -> list[Path]:
    """Write to `results/published/` what README is made of; return the paths.

    The table and its provenance; what was acquired; of `ENTROPIES`, histograms of all scores, and the images of which
    the first seed's committees were least and most sure; the maps of `05_committee_maps`, if their scenes are drawn
    ones, which may be passed on.
    """
    paths = [publish(experiment)]
    acquired, notes = acquired_table(experiment)
    for note in notes:
        print(note, file=sys.stderr)  # noqa: T201
    if len(acquired):
        paths.append(published_dir() / f"{experiment}-acquired.csv")
        write_whole(paths[-1], acquired.to_csv(index=False))
    scored = load_scores(run for run in finished_runs(experiment) if run.config()["query"] in ENTROPIES)
    if scored:
        histograms, sure = published_dir() / f"{experiment}-histograms.csv", published_dir() / f"{experiment}-sure.csv"
        write_whole(histograms, score_histograms(scored).to_csv(index=False))
        seed = min(config["seed"] for config, _ in scored)
        first = [least_and_most_sure(config, scores) for config, scores in scored if config["seed"] == seed]
        write_whole(sure, pd.concat(first).round({"score": 6}).to_csv(index=False))
        paths += [histograms, sure]
    for maps in sorted((results_dir() / experiment).glob("05_committee_maps-streets*/maps.npz")):
        paths.append(published_dir() / f"{experiment}-maps.npz")
        write_whole(paths[-1], maps.read_bytes())
    return paths


def against_thesis(figure: str) -> str:
    """Return text for a page: the thesis's points in `bulk_all` or `bulk_mini_all` beside ours."""
    experiment, model, order_model = our_bulk(figure)
    rows = load_published(experiment)
    ours = f"ours on {rows['dataset'].iloc[0]}"
    sides = {"thesis": thesis_points(figure), ours: bulk_points(rows, model, order_model)}
    tables = [_beside(points).add_prefix(f"{side}: ") for side, points in sides.items()]
    table = pd.concat(tables, axis=1).fillna("").rename_axis("%")
    slopes = [f"{side}, {_slopes(points)}" for side, points in sides.items()]
    return f"{_markdown_frame(table)}\n\nWhat one percent more random labels brings: {'; '.join(slopes)}."


def _slopes(points: pd.DataFrame) -> str:
    return ", ".join(f"{slope:.5f} from {low} to {high} %" for (low, high), slope in random_slopes(points).items())


def _beside(points: pd.DataFrame) -> pd.DataFrame:
    """Return text by percent of the labels, a column a query, and the committees' mean gain over random."""
    text = points.assign(text=point_texts(points), query=points["query"].replace({"all": "random"}))
    table = text.pivot(index="percent", columns="query", values="text")
    return table.assign(gain=committee_gain(points).map("{:+.4f}".format)).rename_axis(columns=None)


def fill_tables(text: str, command: str = "make figures", write: Callable[[str], str] = markdown) -> str:
    """Return a page's text with `write(NAME)` between each ``<!-- NAME: written by `command` -->`` and its end."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{write(match[2])}\n{match[3]}"

    marker = rf"(<!-- (\w+): written by `{command}` -->)\n.*?(<!-- end -->)"
    return re.sub(marker, fill, text, flags=re.DOTALL)


def fill_pages() -> None:
    """Write the published tables into README and the pages in `docs/`."""
    for page in PAGES:
        page.write_text(fill_tables(page.read_text()))
