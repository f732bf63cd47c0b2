"""What a data set's YAML file may say; the page on data says what the code allows."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from alutils.datasets import DATASETS
from alutils.datasets.description import Description, Split
from alutils.datasets.folder import read_description
from alutils.errors import DataError, ParameterError
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


@pytest.mark.parametrize("name", ["camvid", "nuclei"])
def test_such_a_file_describes_what_is_read_from_the_data_folder(name: str) -> None:
    description = read_description(ROOT / "alutils" / "datasets" / f"{name}.yaml")
    assert (description.name, description.root) == (name, name)
    assert name in DATASETS


# Right; each case changes something.
WHOLE = """name: mine
classes: {road: [1, 2, 3], car: [4, 5, 6]}
splits: {train: {images: images, labels: labels}}
"""
CLASSES, SPLITS = "{road: [1, 2, 3], car: [4, 5, 6]}", "{train: {images: images, labels: labels}}"


@pytest.mark.parametrize("sequences", [[""], ["a", "a"], ["a", "ab"], ["ab", "b", "a"]])
def test_sequences_that_names_do_not_tell_apart_are_refused(sequences: list[str]) -> None:
    content = yaml.safe_load(WHOLE) | {"sequences": sequences}
    with pytest.raises(ValidationError, match="is empty or begins like another one; allowed: texts that do not"):
        Description.model_validate(content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # classes
        (CLASSES, "{road: [1, 2, 3], road: [4, 5, 6]}", "line 2: the key road is there twice"),
        (CLASSES, "{1: [1, 2, 3], '1': [4, 5, 6]}", "line 2: the key 1 is no text"),
        (CLASSES, "{no: [1, 2, 3]}", "line 2: the key no is no text"),
        (CLASSES, "{[a]: [1, 2, 3]}", "line 2: the key that is a list or a mapping is no text"),
        (CLASSES, "{road: [1, 2, 3], car: [1, 2, 3]}", "road and car have one colour"),
        (CLASSES, '{"road\\n": [1, 2, 3]}', "the name 'road\\n' is not allowed"),
        (CLASSES, '{"a\\e[31m": [1, 2, 3]}', "the name 'a\\x1b[31m' is not allowed"),
        (CLASSES, "{' road': [1, 2, 3]}", "the name ' road' is not allowed"),
        (CLASSES, "{'': [1, 2, 3]}", "the name '' is not allowed"),
        (CLASSES, "{" + "x" * 100 + ": [1, 2, 3]}", "is not allowed: 1 to 60 printable characters"),
        (CLASSES, "[road, car]", "classes is ['road', 'car']; allowed: for each label value"),
        (CLASSES, "null", "classes is None"),
        (CLASSES, "{road: [true, 2, 3]}", "classes.road.0 is True"),
        (CLASSES, "{road: [1, 2, .inf]}", "classes.road.2 is inf"),
        # what is void
        (WHOLE, WHOLE + "ignore: [255, 1]", "ignore holds 1, the value of car"),
        (WHOLE, WHOLE + "ignore: 255", "ignore is 255"),
        (WHOLE, WHOLE + "ignore: null", "ignore is None"),
        # what nobody drew
        (WHOLE, WHOLE + "rest: cars", "rest is 'cars'; did you mean car? allowed: a class: road, car"),
        (WHOLE, WHOLE + "rest: [car]", "rest is ['car']; allowed: the name of a class"),
        # other keys
        (WHOLE, WHOLE + "mean: [.nan, 0, 0]", "mean.0 is nan"),
        (WHOLE, WHOLE + "std: [.inf, 1, 1]", "std.0 is inf"),
        (WHOLE, WHOLE + "root: ~", "root is None"),
        (WHOLE, WHOLE + "1: 2", "line 4: the key 1 is no text"),
        (WHOLE, WHOLE + "name: other", "line 4: the key name is there twice"),
        ("name: mine", "name: [mine]", "name is ['mine']"),
        ("name: mine", "name: 'mi\\nne'", "name is 'mi"),
        ("name: mine", "name: 2001-01-01", "line 1: a timestamp"),
        ("name: mine", "name: " + "x" * 300, "allowed: one word of at most 60"),
        # splits
        (SPLITS, "{1: {images: images, labels: labels}}", "line 3: the key 1 is no text"),
        (SPLITS, "{../../x: {images: images, labels: labels}}", "the name '../../x' is not allowed"),
        (SPLITS, "{train: {images: 5, labels: labels}}", "splits.train.images is 5; allowed: a folder of images"),
        (SPLITS, "{train: {images: null, labels: labels}}", "splits.train.images is None"),
        (SPLITS, "{train: {images: [a], labels: labels}}", "splits.train.images is ['a']"),
        (SPLITS, "{train: {images: true, labels: labels}}", "splits.train.images is True"),
        (SPLITS, "{train: [images, labels]}", "splits.train is ['images', 'labels']"),
        (SPLITS, "{train: null}", "splits.train is None"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE.replace(old, new))
    with pytest.raises((DataError, ParameterError)) as caught:
        read_description(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_names_may_differ_in_case_only_and_hold_commas(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE.replace("car", '"Road, wet"'))
    assert list(read_description(path).classes) == ["road", "Road, wet"]
