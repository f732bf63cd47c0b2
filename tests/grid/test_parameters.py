"""A notebook's parameters: read as the type declared, refused in one line, and what a run is called."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from alutils.errors import ParameterError
from alutils.grid.parameters import check_parameters, done_key, find_notebook, run_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"count": 3, "rate": 0.5, "size": None}),
        ({"count": "7", "rate": "1e-3", "name": "12", "on": "true"}, {"count": 7, "rate": 0.001, "name": "12"}),
        ({"items": "[a, b]", "size": "64"}, {"items": ["a", "b"], "size": 64}),
        ({"rate": "1.5e3"}, {"rate": 1500.0}),
        ({"rate": 1, "size": "None"}, {"rate": 1.0, "size": None}),
    ],
)
def test_parameters_are_read_as_the_type_declared(notebook: Path, given: Any, expected: dict[str, Any]):
    values = check_parameters(notebook, given)
    assert {name: values[name] for name in expected} == expected
    assert all(type(values[name]) is type(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cuont": 3}, "cuont is no parameter of small; did you mean count? known: experiment, count, rate"),
        ({"count": 3.5}, "count is 3.5; allowed: int"),
        ({"count": "many"}, "count is 'many'; allowed: int"),
        ({"count": True}, "count is True; allowed: int"),
        ({"count": None}, "count is None; allowed: int"),
        ({"on": 1}, "on is 1; allowed: bool"),
        ({"name": 5}, "name is 5; allowed: str"),
        ({"items": "a"}, "items is 'a'; allowed: list"),
        ({"size": "big"}, "size is 'big'; allowed: int or None"),
        ({"rate": "2020-13-45"}, "rate is '2020-13-45'; allowed: float"),
        ({"rate": ": ["}, "rate is ': ['; allowed: float"),
    ],
)
def test_wrong_parameters_are_one_line(notebook: Path, given: dict[str, Any], message: str):
    with pytest.raises(ParameterError) as caught:
        check_parameters(notebook, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_notebook_that_cannot_be_checked_is_refused(tmp_path: Path):
    for source, message in [("n = 1  # x", "n has no type"), ("n: int = 1  # x", "has no parameter experiment")]:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "other.ipynb")
        with pytest.raises(ParameterError, match=message):
            check_parameters(tmp_path / "other.ipynb", {})


def test_a_notebook_is_found_by_name_and_by_path(notebook: Path):
    assert find_notebook(str(notebook)) == notebook
    assert find_notebook("03_active_learning_rounds").name == "03_active_learning_rounds.ipynb"
    with pytest.raises(ParameterError, match="nothing is no notebook; known: 01_mnist_sanity_checks, 02_"):
        find_notebook("nothing")


def test_a_runs_name_says_what_it_is():
    defaults = check_parameters(find_notebook("03_active_learning_rounds"), {"seed": 3, "dataset": "a/my.yaml"})
    assert run_name("03_active_learning_rounds", defaults) == "my-unet_small-vote_entropy-seed3"
    assert run_name("06_figures", {}) == "06_figures"
    assert run_name("02_street_scenes", {"dataset": "a/my.yaml"}) == "02_street_scenes-my"


def test_a_change_of_any_parameter_is_another_job(notebook: Path):
    values = check_parameters(notebook, {"count": "7"})
    assert done_key("small", values) == done_key("small", check_parameters(notebook, {"count": 7}))
    others = {done_key("small", check_parameters(notebook, {"count": 7, **other})) for other in ({}, {"on": True})}
    assert len(others) == 2
    assert done_key("other", values) not in others
