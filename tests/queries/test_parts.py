"""Each part of a query checks its values, and the table of modifiers fits the parts."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from alutils.errors import ParameterError
from alutils.queries.parts import (
    MODIFIERS,
    Diverse,
    Ensemble,
    Interior,
    Mixture,
    Power,
    Superpixels,
    Top,
    Windows,
    read_part,
    text_of,
)

BAD: list[tuple[type, tuple[Any, ...], str]] = [
    (Top, (0,), "share of top is 0; allowed: 1e-06 to 1"),
    (Top, (1.5,), "share of top is 1.5; allowed: 1e-06 to 1"),
    (Top, (float("nan"),), "share of top is nan; allowed: 1e-06 to 1"),
    (Top, ("0.1",), "share of top is '0.1'; allowed: a number from 1e-06 to 1"),
    (Interior, (0,), "width of interior is 0; allowed: 1 to 1000"),
    (Interior, (1.5,), "width of interior is 1.5; allowed: a whole number from 1 to 1000"),
    (Ensemble, (1,), "networks of ensemble is 1; allowed: 2 to 1000"),
    (Ensemble, (True,), "networks of ensemble is True; allowed: a whole number from 2 to 1000"),
    (Mixture, (0.5, 0.1, 0.1), "shares of mixture sum to 0.7; allowed: 1"),
    (Mixture, (1.5, -0.5, 0), "by_cluster of mixture is 1.5; allowed: 0 to 1"),
    (Power, (0,), "beta of power is 0; allowed: 1e-06 to 1000"),
    (Diverse, (0.5,), "factor of diverse is 0.5; allowed: 1 to 1000000"),
    (Windows, (0, 4), "rows of windows is 0; allowed: 1 to 65536"),
    (Windows, (300, 300), "number of windows is 90000; allowed: 1 to 65536"),
    (Superpixels, (1,), "count of superpixels is 1; allowed: 2 to 65536"),
]


@pytest.mark.parametrize(("part", "values", "message"), BAD)
def test_an_impossible_value_is_one_line(part: type, values: tuple[Any, ...], message: str):
    with pytest.raises(ParameterError) as caught:
        part(*values)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", MODIFIERS)
def test_a_modifiers_example_is_read_as_it_is_written(word: str):
    modifier = MODIFIERS[word]
    text = text_of(modifier.example)
    assert text.startswith(word)
    assert read_part(text) == (modifier.field, modifier.example)
    if modifier.example is not True:
        assert [f"{{{field.name}}}" in modifier.numbers for field in fields(modifier.example)] == [True] * len(
            fields(modifier.example)
        )


def test_no_word_starts_with_another():
    assert [(one, other) for one in MODIFIERS for other in MODIFIERS if one != other and other.startswith(one)] == []


def test_numbers_of_numpy_are_numbers():
    assert text_of(Windows(np.int64(2), np.int64(3))) == "windows2x3"  # type: ignore[arg-type]
    assert text_of(Top(np.float64(0.10))) == "top0.1"
