"""What the files of a run hold, checked whenever they are read."""

import csv
import io
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alutils.errors import DataError, unreadable
from alutils.files import open_regular, validated

if TYPE_CHECKING:  # they take a while to load, and a process that only starts runs does not need them
    import numpy as np
    import pandas as pd

    from alutils import datasets


@dataclass(frozen=True)
class Numbers:
    """What a column holds: numbers from `low` to `high`, perhaps whole, perhaps with gaps."""

    low: float = -1e300
    high: float = 1e300
    is_whole: bool = False
    has_gaps: bool = False

    def __str__(self) -> str:
        """Return the rule in words."""
        kind = "whole numbers" if self.is_whole else "numbers"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def wrong(self, values: "pd.Series") -> "np.ndarray":
        """Return for each value whether it breaks the rule."""
        import numpy as np
        import pandas as pd

        numbers = pd.to_numeric(values, errors="coerce").to_numpy()  # a Series is slow where there are few rows
        is_right = (self.low <= numbers) & (numbers <= self.high)
        if self.is_whole:
            is_right &= numbers == np.floor(numbers)
        return ~(is_right | values.isna().to_numpy()) if self.has_gaps else ~is_right


MOST = 2**53  # whole numbers up to here are exact as floats, too
COUNT, SHARE = Numbers(0, MOST, is_whole=True), Numbers(0, 1, has_gaps=True)
COLUMNS = {  # what they hold, in whichever table
    "round": COUNT,
    "clip": COUNT,
    "images": COUNT,
    "rank": COUNT,
    "index": COUNT,
    "score": Numbers(has_gaps=True),
    "region": Numbers(-1, MOST, is_whole=True),
    "pixels": COUNT,
    "clicks": Numbers(0, MOST, is_whole=True, has_gaps=True),  # none of digits, in a table of several experiments
    "labelled": Numbers(1, MOST, is_whole=True),
    "labelled_percent": Numbers(0, 100),
    "labelled_pixels": Numbers(0, MOST, is_whole=True, has_gaps=True),
    "miou": SHARE,
    "accuracy": SHARE,
    "seconds_train": Numbers(0),
    "seconds_query": Numbers(0),
    "seed": COUNT,
    "order_seed": Numbers(0, MOST, is_whole=True, has_gaps=True),
    "steps": Numbers(1, MOST, is_whole=True, has_gaps=True),
    "skip": Numbers(0, 99, has_gaps=True),
    "mean": Numbers(),
    "sd": Numbers(0, has_gaps=True),
    "n": Numbers(1, MOST, is_whole=True),
}
PIXELS = Numbers(0, MOST, is_whole=True, has_gaps=True)  # none of a class that another data set has
CLASS_COLUMNS = {"iou_": SHARE, "category_iou_": SHARE, "intersection_": PIXELS, "union_": PIXELS}  # by how they begin
ROUNDS = {"round", "labelled", "labelled_percent", "seconds_train", "seconds_query"}
ACQUISITIONS = {"round", "rank", "index", "item", "score"}
CLIPS = {"round", "clip", "sequence", "images"}


class SavedConfig(BaseModel):
    """What every `config.json` says; the other parameters differ from version to version."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: Literal["rounds", "bulk"]
    dataset: str
    model: str
    query: str
    seed: int = Field(ge=0)
    regime: str | None = None
    order_model: str | None = None
    order_regime: str | None = None
    share: float | None = None
    skip: float | None = None


class Saved(BaseModel):
    """What a run had saved when it had finished `done` rounds.

    rounds : the SHA-256 of the text of `rounds.csv`, in hexadecimal like the others
    acquired, acquisitions : the number of rows of `acquisitions.csv`, and the SHA-256 of its text
    scored, scores : the number of rounds in which the pool was scored, and the SHA-256 of these scores
    counted, clips : the number of rows of `clips.csv`, and the SHA-256 of its text; earlier versions wrote none
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    done: int = Field(ge=1)
    rounds: str
    acquired: int = Field(ge=0)
    acquisitions: str
    scored: int = Field(ge=0)
    scores: str
    counted: int = Field(0, ge=0)
    clips: str = ""


class Checksums(BaseModel):
    """The SHA-256 of `config.json`, and what was saved after each round."""

    model_config = ConfigDict(extra="forbid", strict=True)

    config: str
    saved: list[Saved]


class Provenance(BaseModel):
    """What every `provenance.json` says, whatever else it says. Runs of earlier versions have no checksums."""

    model_config = ConfigDict(extra="allow", strict=True)

    versions: dict[str, str]
    device: str
    checksums: Checksums | None = None


class PublishedProvenance(BaseModel):
    """What a published run's provenance says; its versions are a position in the list of all versions."""

    model_config = ConfigDict(extra="allow", strict=True)

    versions: int = Field(ge=0)
    device: str


class PublishedRun(BaseModel):
    """What is published of a run beside its rows. Experiments that were published early have no start set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    config: SavedConfig
    provenance: PublishedProvenance
    start_set: str | None = None


class PublishedRuns(BaseModel):
    """What a published experiment's JSON file says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    experiment: str
    versions: list[dict[str, str]]
    runs: dict[str, PublishedRun]


def damaged(path: Path, reason: object) -> DataError:
    """Return the error for a file of a run, or a published file, that cannot be used."""
    reason, is_of_run = " ".join(str(reason).split())[:150], (path.parent / "config.json").exists()
    return DataError(f"{path}: damaged ({reason}); put a copy back{', or remove its folder' * is_of_run}")


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into the `DataError` that says so."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raise `DataError` if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def read_json(path: Path, kind: type = dict, model: type[BaseModel] | None = None) -> Any:
    """Return what a JSON file holds, a dict or another `kind`; raise `DataError` if it is damaged or no `model`."""
    with reported(path):
        content = json.loads(read_bytes(path))
        if not isinstance(content, kind):
            raise ValueError(f"it holds a {type(content).__name__} instead of a {kind.__name__}")
        if model:
            validated(model, content, "its content")
    return content


def read_csv(path: Path, columns: Collection[str] = ()) -> "pd.DataFrame":
    """Return the table in a file, checked as `parse_csv` does; raise `DataError` if it is damaged."""
    try:
        return parse_csv(read_bytes(path).decode(), columns)
    except ValueError as error:
        raise damaged(path, error) from error


def parse_csv(text: str, columns: Collection[str] = ()) -> "pd.DataFrame":
    """Return a table, which written again gives the same text; items and names such as 0012 or NA stay as they are.

    Raises `ValueError` if it is cut off, if one of `columns` is missing, or if a value breaks the rule of its column.
    """
    import pandas as pd

    names = next(csv.reader(io.StringIO(text)), [])
    if not text.endswith("\n"):
        raise ValueError("its last line is cut off")
    wrong = [name for name in sorted({*names, *columns}) if names.count(name) > 1 or name not in names]
    if wrong:
        raise ValueError(f"it has {names.count(wrong[0])} columns {wrong[0]}; allowed: one")
    as_text = {"item": str, "name": str, "sequence": str}
    options = {"float_precision": "round_trip", "dtype": as_text, "keep_default_na": False, "na_values": [""]}
    table = pd.read_csv(io.StringIO(text), **options)  # type: ignore[call-overload]
    if list(table) != names or not isinstance(table.index, pd.RangeIndex):
        raise ValueError("a row has more values than there are columns")
    for name, values in table.items():
        _check_column(str(name), values)
    return table


def _check_column(name: str, values: "pd.Series") -> None:
    """Raise `ValueError` for a value that the column `name` must not hold."""
    if name == "item" and values.isna().any():
        raise ValueError(f"{name} of row {values.isna().argmax() + 1} is missing")
    rule = next((rule for start, rule in CLASS_COLUMNS.items() if name.startswith(start)), COLUMNS.get(name))
    if rule is None or values.empty:
        return
    wrong = rule.wrong(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{name} of row {row + 1} is {str(values[row])[:40]}; allowed: {rule}")
    if rule.is_whole and not rule.has_gaps and values.dtype.kind != "i":
        raise ValueError(f"{name} is written as {values.dtype}; allowed: {rule}")


def check_rounds(table: "pd.DataFrame", runs: Collection[str] = ()) -> None:
    """Raise `ValueError` unless each run's rounds are 0, 1, 2 ... with ever more labels.

    runs : the columns that tell the runs of several experiments apart; none if the table is of one run
    """
    for _, rows in table.groupby([*runs], dropna=False, sort=False) if runs else [((), table)]:
        rounds, labelled = rows["round"].tolist(), rows["labelled"].tolist()
        if rounds != list(range(len(rows))) or labelled != sorted(set(labelled)):
            raise ValueError(
                f"its rounds are {rounds[:9]} with {labelled[:9]} labels; allowed: 0, 1 ... with ever more"
            )


def check_acquisitions(table: "pd.DataFrame") -> None:
    """Raise `ValueError` unless rounds come in order, ranks in each are 0, 1, 2 ... and nothing is acquired twice."""
    if not table["round"].is_monotonic_increasing:
        raise ValueError("its rounds are not in order")
    ranks = table.groupby("round").cumcount()
    if (table["rank"] != ranks).any():
        raise ValueError(f"rank of row {int((table['rank'] != ranks).argmax()) + 1} is out of order")
    twice = table.duplicated([name for name in ("index", "region") if name in table])
    if twice.any():
        raise ValueError(f"row {int(twice.argmax()) + 1} acquires something again")


def check_items(table: "pd.DataFrame", dataset: "datasets.ImageDataset") -> None:
    """Raise `DataError` if rows of `acquisitions.csv` name other images than the data set has at their indices."""
    names = dict(enumerate(dataset.item_names))
    for index, item in zip(table["index"], table["item"], strict=True):
        if names.get(index) != item:
            there = names.get(index, f"nothing, with {len(names)} images")
            raise DataError(f"acquisitions name {item} at index {index}; {dataset.name} {dataset.split} has {there}")
