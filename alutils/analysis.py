"""From tables of runs to numbers: means over seeds, and gains over random choice, paired by seed."""

import pandas as pd

SETTING = ["kind", "dataset", "model"]  # what one figure or one comparison holds fixed
POINT = ["query", "order_model", "skip", "labelled", "labelled_percent"]


def measure_of(table: pd.DataFrame) -> str:
    """Return the name of the score: `miou` for scenes, `accuracy` for digits."""
    return "miou" if "miou" in table and table["miou"].notna().any() else "accuracy"


def settings(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return each setting of a table, as "dataset model kind" and its rows.

    The rows of active-learning rounds are followed by those of training on all labels, their reference.
    """
    groups = {(kind, dataset, model): rows for (kind, dataset, model), rows in table.groupby(SETTING, sort=True)}
    found = []
    for (kind, dataset, model), rows in groups.items():
        bulk = groups.get(("bulk", dataset, model), table.iloc[:0])
        reference = bulk[bulk["query"] == "all"]
        if kind == "rounds" and len(reference):
            rows = pd.concat([rows, reference])
        if len(reference) < len(rows):
            found.append((f"{dataset} {model} {kind}", rows))
    return found


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean, sd (standard deviation, n - 1) and n over the seeds of one setting, a row a point."""
    score = rows.groupby(POINT, dropna=False, sort=True)[measure_of(rows)]
    return score.agg(["mean", "std", "count"]).reset_index().rename(columns={"std": "sd", "count": "n"})


def paired_gains(rows: pd.DataFrame, baseline: str = "random") -> pd.DataFrame:
    """Return each query's gain over `baseline` at equal labels and seed: mean, sd and n, a row a point."""
    measure = measure_of(rows)
    keys = ["labelled", "labelled_percent", "skip", "seed"]
    base = rows.loc[rows["query"] == baseline, [*keys, measure]]
    others = rows.loc[~rows["query"].isin([baseline, "all"]), ["query", "order_model", *keys, measure]]
    both = others.merge(base, on=keys, suffixes=("", "_baseline"))
    both["gain"] = both[measure] - both[f"{measure}_baseline"]
    gains = both.groupby(POINT, dropna=False)["gain"].agg(["mean", "std", "count"]).reset_index()
    return gains.rename(columns={"std": "sd", "count": "n"})


def pivot(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary as text "mean ± sd (n)", a row a share of labels, a column a query."""
    text = summary.assign(
        text=[
            f"{mean:.4f}" + (f" ± {sd:.4f}" if n > 1 else "") + f" ({n})"
            for mean, sd, n in zip(summary["mean"], summary["sd"], summary["n"], strict=True)
        ],
        curve=curve_names(summary),
    )
    table = text.pivot_table(
        index=["labelled", "labelled_percent"], columns="curve", values="text", aggfunc="first", sort=False
    )
    return table.sort_index().fillna("")


def curve_names(summary: pd.DataFrame) -> list[str]:
    """Return each row's query and, where a table holds orders of several networks or starts, which."""
    several = {column: summary[column].nunique() > 1 for column in ("order_model", "skip")}
    names = []
    for query, model, skip in zip(summary["query"], summary["order_model"], summary["skip"], strict=True):
        by = f" by {model}" if several["order_model"] and pd.notna(model) else ""
        names.append(query + by + (f" without first {skip:g} %" if several["skip"] and skip else ""))
    return names
