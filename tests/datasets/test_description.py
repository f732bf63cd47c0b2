"""The page on data says what the code allows."""

import re

import pytest
import yaml

from alutils.datasets import DATASETS
from alutils.datasets.description import Description, Split
from alutils.paths import ROOT

PAGE = (ROOT / "docs" / "data-and-models.md").read_text()


@pytest.mark.parametrize("name", DATASETS)
def test_the_page_has_a_row_for_each_data_set(name: str) -> None:
    assert f"\n| `{name}` | " in PAGE


@pytest.mark.parametrize("key", Description.model_fields)
def test_the_page_has_a_row_for_each_key(key: str) -> None:
    needed = "yes" if Description.model_fields[key].is_required() else "no, "
    assert f"\n| `{key}` | {needed}" in PAGE


def test_the_page_has_no_row_for_another_key() -> None:
    (table,) = re.findall(r"\| key \| needed .*\n\|.*\n((?:\|.*\n)+)", PAGE)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [*Description.model_fields]
    assert all(f"`{key}`" in PAGE for key in Split.model_fields)


def test_the_example_of_the_page_is_allowed_and_shows_every_key() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    description = Description.model_validate(yaml.safe_load(example))
    assert description.model_fields_set == Description.model_fields.keys()
    same = Description(name="mine", classes=description.classes, splits=description.splits)
    assert (description.ignore, description.mean, description.std) == (same.ignore, same.mean, same.std)


def test_camvid_is_such_a_file() -> None:
    path = ROOT / "alutils" / "datasets" / "camvid.yaml"
    assert Description.model_validate(yaml.safe_load(path.read_text())).name == "camvid"
