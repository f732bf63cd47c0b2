"""What an experiment gave, as text: printed, and as tables in README and docs/."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from alutils.paths import ROOT, published_dir
from alutils.queries.query import modifiers_table, queries_table
from alutils.results.acquired import of_setting
from alutils.results.analysis import (
    MEASURES,
    gains_by_seed,
    measure_of,
    over_seeds,
    paired_gains,
    pivot,
    point_texts,
    scatter,
    settings,
    summarise,
)
from alutils.results.clips import with_sequences
from alutils.results.comparison import (
    Comparison,
    all_comparisons,
    area_gains,
    areas,
    comparisons_of,
    published_comparisons,
    smallest_gains,
)
from alutils.results.comparison_text import (
    INTERVAL,
    gain_text,
    label_table,
    read_gains,
    read_labels,
    read_near_duplicates,
    score_table,
    sequence_table,
)
from alutils.results.significance import with_interval
from alutils.results.tables import Experiment
from alutils.results.thesis import (
    THESIS_FIGURES,
    bulk_points,
    committee_gain,
    committee_gain_intervals,
    our_bulk,
    random_slopes,
    thesis_points,
)

HEADS = ("camvid_heads", "camvid_heads_all")  # experiments with few labels, drawn at random, and with all labels
NOISE = "camvid_noise"  # the experiment in which the same labels are trained several times
REFERENCE = "camvid_images"  # the one whose training on all labels has ever more steps
LATER = 32  # labelled images of that experiment from which on committees were expected to pay
ALL_LABELS = ("camvid_heads_all", "camvid_small")  # experiments whose networks the page of models compares
WINDOWS = "camvid_regions"  # the experiment whose best queries are asked with further modifiers, too
BEST = ("bald+windows8x8", "vote_entropy+windows8x8")
DROPOUT = "camvid_dropout"  # the experiment whose committees are asked with more and with less dropout
BASES = ("consensus_entropy+dropout0.5", "vote_entropy+dropout0.5")
ENSEMBLE = "camvid_ensemble"  # the experiment whose committee is several networks, beside one network with dropout
RECIPES = {  # experiments that differ in the recipe alone, and what this is
    "camvid_images": "800 steps, class weights",
    "camvid_weights": "800 steps, no class weights",
    "camvid_epochs": "100 epochs, class weights",
}

# What may stand after a published experiment's name in a page's marker: its verdicts, or all that its comparison says.
VERDICTS, COMPARISON = "_verdicts", "_comparison"


def all_pages() -> list[Path]:
    """Return the pages that tables are written into: README and `docs/*.md`."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def write_pages() -> None:
    """Write the published tables into all pages, between their markers."""
    for page in all_pages():
        page.write_text(fill_tables(page.read_text()))


def compare(name: str) -> str:
    """Return what the comparisons of an experiment say: tables of scores and labels, and sentences that read them."""
    experiment = Experiment.find(name)
    comparisons = all_comparisons(experiment)  # first, as this may refuse, and what was acquired takes long to read
    acquired, notes = experiment.acquired
    return "\n\n".join([_said(comparisons, acquired, pd.DataFrame.to_string), *notes])


def _said(
    comparisons: list[Comparison],
    acquired: pd.DataFrame,
    show: Callable[[pd.DataFrame], str],
    *,
    only_verdicts: bool = False,
) -> str:
    """Return what comparisons say, and what their queries acquired; `show` writes the tables."""
    parts = []
    for comparison in comparisons:
        chosen = of_setting(acquired, comparison.rows)
        parts += _verdicts(comparison, chosen, show)
        parts += [] if only_verdicts else _reasons(comparison, show)
    return "\n\n".join(parts)


def _verdicts(comparison: Comparison, acquired: pd.DataFrame, show: Callable[[pd.DataFrame], str]) -> list[str]:
    title = f"{comparison.name}: area under the curve of {MEASURES[comparison.measure]}"
    repeated = [read_near_duplicates(acquired)] if (acquired["what"] == "near_duplicates").any() else []
    return [f"{title}, gain over {comparison.baseline} paired by seed", show(score_table(comparison)), *repeated]


def _reasons(comparison: Comparison, show: Callable[[pd.DataFrame], str]) -> list[str]:
    return [
        read_gains(comparison),
        f"{comparison.name}: labels in percent of the training set, as far as the budget reaches; seconds a round",
        show(label_table(comparison)),
        read_labels(comparison),
        *_on_test_set(comparison, show),
        *comparison.notes,
    ]


def _on_test_set(comparison: Comparison, show: Callable[[pd.DataFrame], str]) -> list[str]:
    table = sequence_table(comparison)
    title = f"{comparison.name}: gain over {comparison.baseline} by area, over seeds and over clips of the test set"
    return [title, show(table)] if len(table) else []


def markdown(name: str) -> str:
    """Return the text that a page shows between the markers called `name`.

    That is the thesis's figure beside ours, the comparison of a published experiment or its verdicts alone, or the
    scores and gains of a published experiment.
    """
    if name in THESIS_FIGURES:
        return against_thesis(name)
    if name in WRITTEN:
        return WRITTEN[name]()
    experiment = Experiment.published(name.removesuffix(VERDICTS).removesuffix(COMPARISON))
    if experiment.name != name:
        acquired, _ = experiment.acquired
        only_verdicts = name.endswith(VERDICTS)
        return _said(published_comparisons(experiment.name), acquired, _markdown_table, only_verdicts=only_verdicts)
    parts = []
    for setting, rows in settings(experiment.table):
        parts += [f"{setting}: {measure_of(rows)}, mean ± standard deviation (seeds)", _by_labels(summarise(rows))]
        gains = paired_gains(rows)
        if not gains.empty:
            parts += ["Gain over random, paired by seed:", _by_labels(gains)]
    return "\n\n".join(parts)


def networks_table() -> str:
    """Return what networks reach with all labels of CamVid, and how long a training and its test take, as Markdown."""
    rows = []
    for experiment in map(Experiment.published, ALL_LABELS):
        table = experiment.table[experiment.table["query"] == "all"]
        summary, seconds = over_seeds(table, ["model"], "miou"), table.groupby("model")["seconds_train"].median()
        configs = [record["config"] for record in experiment.records.values()]
        for model, scores in zip(summary["model"], point_texts(summary), strict=True):
            config = next(c for c in configs if (c["model"], c["query"]) == (model, "all"))
            rows.append(
                {
                    "model": model,
                    "images": f"{config['height']}x{config['width']}",
                    "steps": config["steps"],
                    "seconds": f"{seconds[model]:.0f}",
                    "mean IoU (seeds)": scores,
                }
            )
    return _markdown_table(pd.DataFrame(rows).set_index("model"))


def heads_table() -> str:
    """Return what networks on frozen maps reach with random labels of CamVid, by number of labels, as Markdown."""
    summary = over_seeds(pd.concat([Experiment.published(name).table for name in HEADS]), ["labelled", "model"], "miou")
    texts = summary.assign(text=point_texts(summary)).pivot(index="labelled", columns="model", values="text")
    return _markdown_table(texts.fillna(""))


def power_table() -> str:
    """Return the smallest gain that each published comparison can see, as Markdown."""
    rows = []
    for name in sorted(path.stem for path in published_dir().glob("*.json")):
        experiment = Experiment.published(name)
        if (experiment.table["kind"] == "rounds").sum() == 0:
            continue
        for comparison in published_comparisons(name):
            if area_gains(comparison.rows, comparison.baseline)["low"].notna().any():
                seen = smallest_gains(comparison)
                numbers = {"seeds": f"{seen['seeds']}", "queries": f"{seen['queries']}"}
                numbers |= {"sd of a gain": f"{seen['sd']:.4f}", "smallest gain": f"{seen['smallest']:.4f}"}
                rows.append(
                    {"experiment": f"`{name}`", "setting": comparison.name, "over": comparison.baseline} | numbers
                )
    return _markdown_table(pd.DataFrame(rows).set_index("experiment"))


def noise_table() -> str:
    """Return how much of the scatter of scores is the training's own, as Markdown."""
    table = scatter(Experiment.published(NOISE).table)
    text = {
        "orders x trainings": [f"{row.orders} x {row.seeds}" for row in table.itertuples()],
        "sd over trainings": table["sd_training"].map("{:.4f}".format).tolist(),
        "sd over labels": table["sd_labels"].map("{:.4f}".format).tolist(),
        "training's part of the variance": table["percent_training"].map("{:.0f} %".format).tolist(),
    }
    return _markdown_table(pd.DataFrame(text, index=table["labelled"]))


def reference_table() -> str:
    """Return what training on all labels reaches by its number of steps, as Markdown."""
    table = Experiment.published(REFERENCE).table
    summary = over_seeds(table[table["query"] == "all"], ["steps"], "miou")
    texts = pd.DataFrame({"mean IoU (seeds)": point_texts(summary)}, index=summary["steps"].map("{:,.0f}".format))
    return _markdown_table(texts)


def later_table() -> str:
    """Return the verdicts by area from `LATER` images on, as Markdown."""
    (comparison,) = published_comparisons(REFERENCE)
    labelled = comparison.rows["labelled"]
    last_before = labelled[labelled < LATER].max()  # areas leave out the first budget that they are given
    return _markdown_table(score_table(replace(comparison, rows=comparison.rows[labelled >= last_before])))


def variants_table(name: str, queries: Sequence[str]) -> str:
    """Return the verdicts by area of each query's variants over the query itself, as Markdown.

    Variants have the same score, and other modifiers.
    """
    experiment, tables = Experiment.published(name), []
    for query in queries:
        (comparison,) = comparisons_of(experiment, query)
        is_variant = comparison.rows["query"].str.partition("+")[0] == query.partition("+")[0]
        tables.append(score_table(replace(comparison, rows=comparison.rows[is_variant])))
    return "\n\n".join(map(_markdown_table, tables))


def recipes_table(recipes: Mapping[str, str]) -> str:
    """Return the verdicts by area under several recipes, of the queries and seeds that all have, as Markdown.

    The last column says how much larger a gain is than with the first recipe, paired by seed.

    recipes : by published experiment, the name of its recipe
    """
    comparisons = [published_comparisons(name)[0] for name in recipes]
    runs_of = [one.rows.set_index(["query", "seed"]).index for one in comparisons]
    shared, tables, by_recipe = set.intersection(*map(set, runs_of)), [], []
    for recipe, one, runs in zip(recipes.values(), comparisons, runs_of, strict=True):
        chosen = replace(one, rows=one.rows[runs.isin(shared)])
        gains = areas(gains_by_seed(chosen.rows, one.baseline), "gain").set_index(["query", "seed"])
        by_recipe.append(gains)
        table = score_table(chosen)
        if len(by_recipe) > 1:
            more = over_seeds((gains - by_recipe[0]).reset_index(), ["query"], "area").set_index("query")
            table[f"gains more by {INTERVAL}"] = _gain_texts(with_interval(more))
        tables.append(table.assign(recipe=recipe))
    return _markdown_table(pd.concat(tables).fillna("").reset_index().set_index("recipe"))


WRITTEN: dict[str, Callable[[], str]] = {
    "queries": queries_table,
    "modifiers": modifiers_table,
    "networks": networks_table,
    "heads": heads_table,
    "power": power_table,
    "noise": noise_table,
    "reference": reference_table,
    "later": later_table,
    "windows_variants": partial(variants_table, WINDOWS, BEST),
    "dropout_variants": partial(variants_table, DROPOUT, BASES),
    "ensemble_variants": partial(variants_table, ENSEMBLE, ("vote_entropy",)),
    "recipes": partial(recipes_table, RECIPES),
}


def _by_labels(summary: pd.DataFrame) -> str:
    """Return a summary as a Markdown table, one row per number of labels."""
    table = pivot(summary)
    percents = [f"{round(percent, 0 if percent >= 10 else 2):g}" for percent in table.index.get_level_values(1)]
    table.insert(0, "%", percents)
    return _markdown_table(table.droplevel("labelled_percent"))


def _markdown_table(table: pd.DataFrame) -> str:
    """Return a table as Markdown, its text unchanged: numbers are not parsed, cells are not padded."""
    return table.to_markdown(tablefmt="github", disable_numparse=True, stralign=None)


def against_thesis(figure: str) -> str:
    """Return the points of the thesis's figure `bulk_all` or `bulk_mini_all`, and ours beside them, as Markdown."""
    experiment, model, order_model = our_bulk(figure)
    rows = Experiment.published(experiment).table
    ours = f"ours on {rows['dataset'].iloc[0]}"
    sides = {"thesis": thesis_points(figure), ours: bulk_points(rows, model, order_model)}
    tables = [_beside(points).add_prefix(f"{side}: ") for side, points in sides.items()]
    table = pd.concat(tables, axis=1).fillna("").rename_axis("%")
    slopes = [f"{side}, {slope}" for side, points in sides.items() if (slope := _slopes(points))]
    brings = f"What one percent more random labels brings: {'; '.join(slopes)}."
    answer = _is_thesis_within(
        committee_gain(thesis_points(figure)), committee_gain_intervals(rows, model, order_model)
    )
    clips = Experiment.published(experiment).clips
    scored, sequences = with_sequences(rows, clips) if len(clips) else (rows, [])
    for name in sequences:
        gains = committee_gain_intervals(scored, model, order_model, name)
        answer[f"ours {name}"] = _gain_texts(gains)[answer.index]
    said = "The committees' mean gain, and the interval of ours:"
    return "\n\n".join([_markdown_table(table), brings, said, _markdown_table(answer)])


def _is_thesis_within(thesis: pd.Series, ours: pd.DataFrame) -> pd.DataFrame:
    """Return, by percent of labels, both gains as text, and whether the thesis's lies in the interval of ours."""
    both = ours.join(thesis.rename("thesis"), how="inner")
    is_within = (both["low"] <= both["thesis"]) & (both["thesis"] <= both["high"])
    answers = is_within.map({True: "within", False: "excluded"}).where(both["low"].notna(), "not known")
    text = {
        "thesis": both["thesis"].map("{:+.4f}".format),
        f"ours {INTERVAL}": _gain_texts(both),
        "seeds": both["n"].astype(str),
        "the thesis's gain is": answers,
    }
    return pd.DataFrame(text).rename_axis("%")


def _gain_texts(gains: pd.DataFrame) -> pd.Series:
    return pd.Series([gain_text(*row) for row in gains[["mean", "low", "high"]].itertuples(index=False)], gains.index)


def _slopes(points: pd.DataFrame) -> str:
    return ", ".join(f"{slope:.5f} from {low} to {high} %" for (low, high), slope in random_slopes(points).items())


def _beside(points: pd.DataFrame) -> pd.DataFrame:
    """Return points as text, one row per percent of labels, one column per query and one for the committees' gain."""
    text = points.assign(text=point_texts(points), query=points["query"].replace({"all": "random"}))
    table = text.pivot(index="percent", columns="query", values="text")
    return table.assign(gain=committee_gain(points).map("{:+.4f}".format)).rename_axis(columns=None)


def fill_tables(text: str, command: str = "make figures", write: Callable[[str], str] = markdown) -> str:
    """Return a page's text with `write(NAME)` between each pair of markers.

    The first marker is ``<!-- NAME: written by `command` -->``, the second ``<!-- end -->``.
    """

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{write(match[2])}\n{match[3]}"

    marker = rf"(<!-- (\w+): written by `{command}` -->)\n.*?(<!-- end -->)"
    return re.sub(marker, fill, text, flags=re.DOTALL)
