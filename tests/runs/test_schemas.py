"""Each column of a table holds what it may hold, up to the limits of its rule."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from alutils.runs.schemas import (
    ACQUISITIONS,
    COLUMNS,
    ROUNDS,
    Provenance,
    PublishedProvenance,
    Saved,
    SavedConfig,
    damaged,
    parse_csv,
)

LARGE = 2**53
RULES: dict[str, tuple[list[object], list[object]]] = {  # column: what it may hold, and what it may not
    **dict.fromkeys(
        ["round", "rank", "index", "pixels", "seed", "clip", "images"],
        ([0, LARGE], [-1, LARGE + 2, 0.5, ""]),
    ),
    **dict.fromkeys(["labelled", "n"], ([1, LARGE], [0, LARGE + 2, 1.5, ""])),
    **dict.fromkeys(["clicks", "labelled_pixels"], ([0, LARGE, ""], [-1, LARGE + 2, 0.5])),
    **dict.fromkeys(["intersection_car", "union_car"], ([0, LARGE, ""], [-1, LARGE + 2, 0.5])),
    **dict.fromkeys(["miou", "accuracy", "iou_car", "category_iou_sky"], ([0, 0.25, 1, ""], [-0.01, 1.01])),
    **dict.fromkeys(["seconds_train", "seconds_query"], ([0, 0.5, 1e300], [-0.5, "inf", ""])),
    "order_seed": ([0, LARGE, ""], [-1, LARGE + 2, 0.5]),
    "steps": ([1, LARGE, ""], [0, LARGE + 2, 0.5]),
    "region": ([-1, 0, LARGE], [-2, LARGE + 2, 0.5, ""]),
    "score": ([-1e300, 0.5, 1e300, ""], ["inf", "-inf", "high"]),
    "labelled_percent": ([0, 12.5, 100], [-0.5, 100.5, ""]),
    "skip": ([0, 12.5, 99, ""], [-0.5, 99.5]),
    "mean": ([-1e300, 0.5, 1e300], ["inf", "-inf", ""]),
    "sd": ([0, 0.5, 1e300, ""], [-0.5, "inf"]),
}


def test_each_column_with_a_rule_is_here():
    assert {*COLUMNS} <= {*RULES}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, (may, _) in RULES.items() for value in may])
def test_what_a_column_may_hold_is_read(column: str, value: object):
    assert list(parse_csv(f"{column},item\n{value},a\n")) == [column, "item"]


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, (_, not_) in RULES.items() for value in not_])
def test_what_a_column_may_not_hold_is_refused(column: str, value: object):
    with pytest.raises(ValueError, match=rf"^{column} (of row 2 )?is "):
        parse_csv(f"{column},item\n1,a\n{value},b\n")


@pytest.mark.parametrize("columns", [ROUNDS, ACQUISITIONS])
def test_each_column_that_a_table_needs_is_asked_for(columns: set[str]):
    for missing in columns:
        given = sorted(columns - {missing})
        with pytest.raises(ValueError, match=f"^it has 0 columns {missing}; allowed: one$"):
            parse_csv(f"{','.join(given)}\n{','.join('1' for _ in given)}\n", columns)


SAVED = {"done": 1, "rounds": "a", "acquired": 0, "acquisitions": "b", "scored": 0, "scores": "c"}
CONFIG = {"kind": "rounds", "dataset": "d", "model": "m", "query": "q", "seed": 0}


@pytest.mark.parametrize(
    ("model", "least"),
    [
        (Saved, SAVED),
        (SavedConfig, CONFIG | {"another": 1}),
        (Provenance, {"versions": {}, "device": "cpu", "another": 1}),
        (PublishedProvenance, {"versions": 0, "device": "cpu", "another": 1}),
    ],
)
def test_the_least_of_each_number_is_read_and_less_is_refused(model: type[BaseModel], least: dict[str, object]):
    model.model_validate(least)
    for name in ("done", "acquired", "scored", "seed", "versions"):
        if isinstance(least.get(name), int):
            with pytest.raises(ValidationError):
                model.model_validate(least | {name: least[name] - 1})  # type: ignore[operator]


def test_a_long_reason_is_cut_so_that_the_advice_is_seen(tmp_path: Path):
    error = damaged(tmp_path / "rounds.csv", "word " * 100)
    assert str(error).count("word") == 30
    assert str(error).endswith("; put a copy back")
