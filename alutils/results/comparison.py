"""Queries compared: from the rounds of one setting to areas, gains with intervals, labels saved and penalties."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alutils.errors import DataError, check_choice
from alutils.queries.parts import words_of
from alutils.results.analysis import (
    SETTING,
    STARTING_ANEW,
    best_trained,
    gains_by_seed,
    measure_of,
    over_seeds,
    settings,
    summarise,
)
from alutils.results.clips import clip_intervals, keys_of, with_sequences
from alutils.results.significance import (
    area_under_curve,
    holm,
    labels_needed,
    labels_saved,
    paired_p,
    penalty_matrix,
    sign_flip_p,
    smallest_gain,
    verdict,
    with_interval,
)
from alutils.results.tables import Experiment, check_agreement
from alutils.runs.config import recipe_of, setting_of
from alutils.runs.folder import differences

BASELINE = "random"  # if no other is asked for
SHARES = (90, 95)  # percent of the full-data result; labels are counted until a curve reaches it
EARLY = 30  # percent of the labels; the thesis and others report the score there


@dataclass(frozen=True)
class Comparison:
    """The rounds of one setting (data set, model, regime), which differ in query and seed only.

    rows : one row per query, seed and round, with the columns of `Experiment.table`
    full : scores of training on all labels with the same recipe, by seed; empty if there are none
    notes : one sentence for each thing that is missing
    clips : the rows of `Experiment.clips`; empty if the clips of the test set were not counted
    """

    name: str
    rows: pd.DataFrame
    full: pd.Series
    baseline: str = BASELINE
    notes: list[str] = field(default_factory=list)
    clips: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def measure(self) -> str:
        """Return the name of the column that holds the score."""
        return measure_of(self.rows)

    @cached_property
    def queries(self) -> list[str]:
        """Return the queries' names in alphabetical order, but the baseline first."""
        return sorted(self.rows["query"].unique(), key=lambda query: (query != self.baseline, query))

    def curves(self, query: str) -> pd.DataFrame:
        """Return a query's scores, one row per seed and one column per percent of labels."""
        rows = self.rows[self.rows["query"] == query]
        return rows.pivot(index="seed", columns="labelled_percent", values=self.measure)

    def clicks(self, query: str) -> pd.Series:
        """Return a query's mean clicks up to each budget, by percent of labels; NaN where they were not counted."""
        rows = self.rows[self.rows["query"] == query]
        counted = rows["clicks"] if "clicks" in rows else pd.Series(np.nan, rows.index)
        return counted.groupby(rows["labelled_percent"]).mean()

    @cached_property
    def by_query(self) -> pd.DataFrame:
        """Return one row per query, the largest area first, NaN where something is missing.

        seeds, area : how many seeds there are, and the mean area under their curves
        gain, gain_low, gain_high, gain_n, p, p_holm, verdict : `area_gains` over the baseline
        percent_of_full_30, percent_of_full_last : the score in percent of the full-data result, at 30 % of the labels
            and in the last round
        needed_90, saved_90, saved_90_low, saved_90_high, and the same with 95 : labels needed for 90 % of the full-data
            result, and labels saved with their interval, all in percent of the pool
        clicks_90, clicks_95 : clicks needed for it, where they were counted
        seconds_query, seconds_train : mean seconds per round
        clicks : up to the last round, where they were counted
        """
        own = over_seeds(areas(self.rows, self.measure), ["query"], "area").set_index("query")
        gains = area_gains(self.rows, self.baseline).set_index("query").drop(columns="sd")
        parts = [
            own[["n", "mean"]].set_axis(["seeds", "area"], axis=1),
            gains.rename(columns={"mean": "gain", "low": "gain_low", "high": "gain_high", "n": "gain_n"}),
            pd.DataFrame({query: _against_full(self, query) for query in self.queries}).T,
            _costs(self.rows),
        ]
        return pd.concat(parts, axis=1).sort_values("area", ascending=False, kind="stable").rename_axis("query")

    @cached_property
    def clip_intervals(self) -> pd.DataFrame:
        """Return `clips.clip_intervals` over the baseline; no rows if clips were not counted."""
        return clip_intervals(self.clips, self.baseline) if len(self.clips) else pd.DataFrame()

    @cached_property
    def sequence_gains(self) -> pd.DataFrame:
        """Return `area_gains` on each sequence of the test set, one row per column of `with_sequences` and query.

        There are no rows if there are fewer than two sequences.
        """
        if not len(self.clips) or self.clips["sequence"].nunique() < 2:
            return pd.DataFrame()
        rows, names = with_sequences(self.rows, self.clips)
        return pd.concat([area_gains(rows, self.baseline, name).assign(sequence=name) for name in names])

    @cached_property
    def penalties(self) -> pd.DataFrame:
        """Return `penalty_matrix` over all budgets but the first, by which no query has chosen anything."""
        return penalty_matrix({query: self.curves(query).iloc[:, 1:] for query in self.queries})

    @cached_property
    def class_gains(self) -> pd.DataFrame:
        """Return `area_gains` of each class's IoU, one row per class (`label`) and query; no rows for digits.

        A seed counts for a class only if both of its curves have a value in every round after the first.
        """
        columns = [name for name in map(str, self.rows) if name.startswith("iou_") and self.rows[name].notna().any()]
        of_classes = {name.removeprefix("iou_"): area_gains(self.rows, self.baseline, name) for name in columns}
        tables = [gains.assign(label=label) for label, gains in of_classes.items()]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["label", "low", "high"])


def comparisons_of(experiment: Experiment, baseline: str = BASELINE) -> list[Comparison]:
    """Return each setting of an experiment's rounds as a comparison.

    If `baseline` labels regions, only queries of the same regions are compared with it.

    Raises `DataError` if there are no finished rounds, or if runs that are compared differ in their recipe, data,
    device or, for the same seed, start set; `ParameterError` if `baseline` is not random and no run is of it.
    """
    where, table, records = experiment.where, experiment.table, experiment.records
    check_conditions(where, records)
    rounds = table[table["kind"] == "rounds"]
    if rounds.empty:
        raise DataError(f"{where}: no finished rounds; runs of 03_active_learning_rounds are what is compared")
    found, regions = [], regions_of(baseline)
    if regions:
        rounds = rounds[rounds["query"].map(regions_of) == regions]
    for name, rows in settings(rounds):
        full, notes = _full_data(table, rows, records)
        clips = experiment.clips
        clips = clips[keys_of(clips).isin(keys_of(rows))] if len(clips) else clips
        notes += _other_precision(rows, records)
        comparison = Comparison(name.removesuffix(" rounds"), rows, full, baseline, notes, clips)
        comparison.notes.extend(_missing(comparison))
        found.append(comparison)
    if baseline != BASELINE:  # if random is missing, a note says so; another baseline was asked for by name
        check_choice("baseline", baseline, sorted(table.loc[table["kind"] == "rounds", "query"].unique()))
    return found


def all_comparisons(experiment: Experiment) -> list[Comparison]:
    """Return the comparisons of an experiment with random images and, where regions are labelled, random regions."""
    return [one for baseline in baselines(experiment) for one in comparisons_of(experiment, baseline)]


def published_comparisons(name: str) -> list[Comparison]:
    """Return the comparisons of a published experiment; while its table stays as it is, they are made once."""
    path = Experiment.published(name).where
    return _made_once(name, path, path.stat().st_mtime_ns)


@cache
def _made_once(name: str, path: Path, changed: int) -> list[Comparison]:
    return all_comparisons(Experiment(name, path))


def baselines(experiment: Experiment) -> list[str]:
    """Return the random queries of an experiment's rounds: that of images first, then those of regions."""
    rounds = experiment.table[experiment.table["kind"] == "rounds"]
    of_regions = [query for query in rounds["query"].unique() if query == f"{BASELINE}+{regions_of(query)}"]
    return [BASELINE, *sorted(of_regions)]


def regions_of(query: str) -> str:
    """Return the modifier that says which regions a query labels; "" for whole images."""
    return next((word for word in query.split("+")[1:] if word.startswith(tuple(words_of("regions")))), "")


def check_conditions(where: object, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `DataError` if rounds that are compared differ in more than query and seed; see `Experiment.records`."""
    rounds = {run: record for run, record in records.items() if record["config"]["kind"] == "rounds"}
    groups = {run: setting_of(record["config"]) for run, record in rounds.items()}
    same = {run: recipe_of(record["config"]) | _device(record) for run, record in rounds.items()}
    check_agreement(where, {run: (groups[run], same[run]) for run in rounds})
    start_queries = {run: record["config"].get("start_query", "random") for run, record in rounds.items()}
    pieces = {run: (groups[run], regions_of(record["config"]["query"])) for run, record in rounds.items()}
    check_agreement(where, {run: (pieces[run], {"start_query": start_queries[run]}) for run in rounds})
    starts = {run: {"start set": record["start_set"]} for run, record in rounds.items() if "start_set" in record}
    check_agreement(where, {run: ((pieces[run], rounds[run]["config"]["seed"]), starts[run]) for run in starts})


def _device(record: Mapping[str, Any]) -> dict[str, str]:
    return {"device": record["provenance"]["device"]}


def _full_data(
    table: pd.DataFrame, rows: pd.DataFrame, records: Mapping[str, Mapping[str, Any]]
) -> tuple[pd.Series, list[str]]:
    """Return the scores of training on all labels with the rounds' recipe, by seed; if there are none, a note why.

    It may have more steps than a round. Of several numbers of steps the one with the highest mean counts, which is the
    hardest to reach; a note says which it is.
    """
    first, none = rows.iloc[0], pd.Series(dtype=float)
    if first["regime"] not in STARTING_ANEW:
        return none, [f"No full-data result: {first['regime']} rounds do not train as one training on all labels does."]
    is_here = (table["dataset"] == first["dataset"]) & (table["model"] == first["model"])
    full = table[is_here & (table["kind"] == "bulk") & (table["query"] == "all")]
    if full.empty:
        return none, ["No full-data result: no finished training on all labels."]
    ours = _conditions(records, first)
    full = best_trained(full)
    for _, run in full.iterrows():
        others = _conditions(records, run)
        has_more = (others.get("steps") or 0) > (ours.get("steps") or math.inf)
        differ = [name for name in differences(ours, others) if name in ours and name in others]
        differ = [name for name in differ if not (has_more and name in ("steps", "epochs"))]
        if differ:
            return none, [f"No full-data result: a training on all labels had another {', '.join(differ)}."]
    steps = f"{others.get('steps')} steps and {len(full)} seeds; a round has {ours.get('steps')} steps"
    return full.set_index("seed")[measure_of(rows)], [f"The full-data result is of {steps}."] * has_more


def _conditions(records: Mapping[str, Mapping[str, Any]], row: pd.Series) -> dict[str, Any]:
    """Return the recipe, data and device of the run that a table's row belongs to."""
    wanted = row[["kind", "dataset", "model", "regime", "query", "seed", "steps"]].dropna().to_dict()
    record = next((record for record in records.values() if wanted.items() <= record["config"].items()), None)
    if record is None:
        raise DataError(f"the table has a run that the records lack: {', '.join(map(str, wanted.values()))}")
    recipe = {name: value for name, value in recipe_of(record["config"]).items() if name != "kind"}
    return recipe | _device(record)


def _other_precision(rows: pd.DataFrame, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a note if runs of the setting of `rows` asked for bfloat16 on a processor that has none."""
    setting = tuple(rows.iloc[0][SETTING])
    ours = [record for record in records.values() if setting_of(record["config"]) == setting]
    asked = [record["provenance"] for record in ours if record["config"].get("precision") == "bfloat16"]
    without = sum(not provenance.get("bfloat16", True) for provenance in asked)  # earlier records do not say
    note = f"{without} of {len(asked)} runs were computed in float32: their processor has no bfloat16."
    return [note] if without else []


def _missing(comparison: Comparison) -> list[str]:
    """Return notes on what is missing: the baseline, a second query, or seeds that a query and the baseline share."""
    seeds = {query: set(comparison.curves(query).index) for query in comparison.queries}
    if comparison.baseline not in seeds:
        return [f"No gains: no finished rounds of {comparison.baseline}, only of {', '.join(seeds)}."]
    if len(seeds) == 1:
        return [f"No gains: {comparison.baseline} is the only query."]
    base = seeds.pop(comparison.baseline)
    shared = {query: len(own & base) for query, own in seeds.items()}
    if not any(shared.values()):
        raise DataError(
            f"{comparison.name}: {comparison.baseline} has seeds {_listed(base)}, {', '.join(seeds)} have"
            f" {_listed(set().union(*seeds.values()))}; queries that are compared must share some"
        )
    notes = [
        f"{query} shares {shared[query]} of {len(own | base)} seeds with {comparison.baseline}."
        for query, own in seeds.items()
        if own != base
    ]
    alone = "No intervals, no tests: no query shares two seeds with the baseline, so nothing can be told from chance."
    return notes if max(shared.values()) > 1 else [*notes, alone]


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def smallest_gains(comparison: Comparison) -> dict[str, float]:
    """Return what a comparison can see: seeds, queries, the gains' standard deviation over seeds, and `smallest_gain`.

    Seeds are those of the query with the fewest; the standard deviation is the root of the mean variance.
    """
    gains = area_gains(comparison.rows, comparison.baseline)
    seeds, sd = int(gains["n"].min()), float((gains["sd"] ** 2).mean() ** 0.5)
    smallest = smallest_gain(sd, seeds, len(gains))
    return {"seeds": seeds, "queries": len(gains), "sd": sd, "smallest": smallest}


def curve_table(comparison: Comparison) -> pd.DataFrame:
    """Return the learning curves: mean, sd, n and interval, one row per query and number of labels."""
    return with_interval(summarise(comparison.rows)).drop(columns=["order_model", "skip"])


def areas(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the `area` under the curve of a column, one row per query and seed.

    The first budget is left out: no query has chosen anything by then. Of one budget alone its score is taken.
    """
    found = []
    for (query, seed), curve in points.sort_values("labelled").groupby(["query", "seed"]):
        chosen = curve[1:] if len(curve) > 1 else curve
        area = float(area_under_curve(chosen["labelled_percent"], chosen[column]))
        found.append({"query": query, "seed": seed, "area": area})
    return pd.DataFrame(found, columns=["query", "seed", "area"])


def area_gains(rows: pd.DataFrame, baseline: str, measure: str | None = None) -> pd.DataFrame:
    """Return each query's area minus that of `baseline` with the same seed, averaged over seeds.

    One row per query: mean, sd, n, the interval's ends low and high, p of the sign-flip test, p of the t test corrected
    after Holm over the queries, and the verdict.
    """
    by_seed = areas(gains_by_seed(rows, baseline, measure), "gain")
    gains = with_interval(over_seeds(by_seed, ["query"], "area"))
    samples = [by_seed.loc[by_seed["query"] == query, "area"].dropna() for query in gains["query"]]
    gains = gains.assign(p=[*map(sign_flip_p, samples)], p_holm=holm([*map(paired_p, samples)]))
    found = zip(gains["low"], gains["high"], gains["p_holm"], strict=True)
    return gains.assign(verdict=[verdict(low, high, p, baseline) for low, high, p in found])


def _against_full(comparison: Comparison, query: str) -> dict[str, float]:
    """Return a query's score in percent of the full-data result, and the labels it needs and saves for `SHARES`."""
    full, curves = comparison.full, comparison.curves(query)
    if full.empty:
        return {}
    budgets, means = curves.columns.to_numpy(), curves.mean().to_numpy()
    reached, early = 100 * means / full.mean(), np.abs(budgets - EARLY).argmin()
    is_early = round(budgets[early]) == EARLY
    found = {f"percent_of_full_{EARLY}": reached[early] if is_early else np.nan, "percent_of_full_last": reached[-1]}
    base, own = comparison.curves(comparison.baseline).align(curves, join="inner", axis=0)
    of_seeds = full.reindex(own.index)  # with the same seeds, the bootstrap resamples these scores too
    of_seeds = of_seeds if of_seeds.notna().all() else pd.Series(full.mean(), own.index)
    scores = (base.to_numpy(), own.to_numpy(), of_seeds.to_numpy())
    clicks = comparison.clicks(query)
    for share in SHARES:
        found[f"needed_{share}"] = float(labels_needed(budgets, means, share / 100 * full.mean()))
        if clicks.notna().all():
            found[f"clicks_{share}"] = float(labels_needed(clicks, means, share / 100 * full.mean()))
        if query != comparison.baseline and len(own):
            saved = labels_saved(budgets, *scores, share / 100)
            found |= dict(zip((f"saved_{share}{end}" for end in ("", "_low", "_high")), saved, strict=True))
    return found


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each query's mean seconds per query and per training, and the clicks up to the last round."""
    is_last = rows["round"] == rows["round"].max()
    queried = rows["round"] == 0 if (rows["regime"] == "one_shot").all() else ~is_last
    costs = {"seconds_query": rows[queried].groupby("query")["seconds_query"].mean()}
    costs["seconds_train"] = rows.groupby("query")["seconds_train"].mean()
    if "clicks" in rows and rows["clicks"].notna().any():
        costs["clicks"] = rows[is_last].groupby("query")["clicks"].mean()
    return pd.DataFrame(costs)
