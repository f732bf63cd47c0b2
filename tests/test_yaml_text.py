"""YAML is read within limits: whatever a file holds, the answer is quick, and a refusal is one short line."""

import re
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alutils.errors import ParameterError
from alutils.yaml_text import DEEPEST, LARGEST, MOST, parsed


def chain(last: str, link: str, length: int) -> str:
    """Return a mapping whose entries each stand for more than the one before, by the anchor *a."""
    lines = [f"a0: &a0 {last}"] + [f"a{n}: &a{n} {link.replace('*a', f'*a{n - 1}')}" for n in range(1, length)]
    return "\n".join(lines)


BOMBS = {
    "aliases of aliases": chain("[1, 2]", "[*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]", 10),
    "merged keys of merged keys": chain("{x: 1}", "{<<: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]}", 10),
    "many lists": "[" * 5000,
    "many lists by aliases": chain("[1]", "[[[[[[[[[[*a]]]]]]]]]]", 9),
    "many mappings": "{a: " * 5000,
    "many entries": "- " * 5000,
    "an alias in itself": "a: &a [*a]",
    "a merge of itself": "a: &a {<<: *a}",
    "many values": "[" + "1," * (MOST + 1) + "]",
    "a large file": "a: " + "x" * LARGEST,
}
WRONG = {
    "a long number": "a: 1" + "0" * 5000,
    "a long hexadecimal number, which cannot be printed": "a: 0x1" + "0" * 5000,
    "a long number in base 60": "a: 1" + ":1" * 100_000,
    "no date": "a: 2001-99-99",
    "a date": "a: 2001-09-09",
    "bytes": "a: !!binary eA==",
    "a set": "a: !!set {x}",
    "pairs": "a: !!pairs [x: 1]",
    "no truth value": "a: !!bool x",
    "no number": "a: !!int ''",
    "no float": "a: !!float x",
    "a program": "a: !!python/object/apply:os.system [true]",
    "a key that is a number": "1: a",
    "a key that is a truth value": "yes: a",
    "a key that is nothing": "~: a",
    "a key that is a list": "? [1]\n: a",
    "a key that is a mapping": "? {a: 1}\n: a",
    "keys there twice": "b: 1\nc: {a: 1,\n a: 2}",
    "keys there twice, one in quotes": "a: 1\n'a': 2",
    "merged twice": "a: &a {x: 1}\nb: {<<: *a, <<: *a}",
    "an unknown anchor": "a: *b",
    "several documents": "a: 1\n---\nb: 1",
    "a character that no file holds": "a: \0",
    "a character that no name can hold": 'a: "\\0"',
    "half of a pair": 'a: "\\ud800"',
}


@pytest.mark.parametrize("text", (BOMBS | WRONG).values(), ids=(BOMBS | WRONG).keys())
def test_what_is_refused_is_refused_at_once_in_one_short_line(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ParameterError) as caught:
        parsed(text)
    assert time.process_time() - started < 10
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_a_refusal_names_key_and_line() -> None:
    with pytest.raises(ParameterError, match=r"^is wrong in line 3: the key a is there twice; allowed: once$"):
        parsed(WRONG["keys there twice"])
    with pytest.raises(ParameterError, match=r"^is wrong in line 1: the key yes is no text; put it into quotes$"):
        parsed(WRONG["a key that is a truth value"])


def test_what_a_preset_does_with_anchors_is_allowed() -> None:
    text = """
    recipe: &recipe {rate: 0.5, steps: 2}
    other: &other {steps: 7, seeds: &seeds [0, 1]}
    runs:
      - <<: *recipe
        steps: 3
      - {<<: [*recipe, *other], more: *seeds}
      - *recipe
    """
    assert parsed(text)["runs"] == [
        {"rate": 0.5, "steps": 3},
        {"rate": 0.5, "steps": 2, "seeds": [0, 1], "more": [0, 1]},
        {"rate": 0.5, "steps": 2},
    ]


def test_what_is_no_yaml_is_said_with_its_line() -> None:
    with pytest.raises(ParameterError, match=r"^is not YAML \(line 3: expected ',' or ']', but got ':'\)$"):
        parsed("a: 1\nb: [1, 2\nc: 3")


def test_what_is_just_within_the_limits_is_read() -> None:
    deep = parsed("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    for _ in range(DEEPEST - 2):
        (deep,) = deep
    assert deep == []
    assert parsed(f"a: &a [{'1, ' * 10000}]\nb: [{'*a, ' * 8}]")["b"][7] == [1] * 10000


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs", "Cc"]))


LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(texts(), inner), max_leaves=20)


@settings(deadline=None)
@given(VALUES)
def test_whatever_json_can_hold_is_read_as_it_was_written(value: Any) -> None:
    assert parsed(yaml.safe_dump(value, allow_unicode=True)) == value


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text("[]{}:,-?&*!|>'\"%@`#~<=a1. \n", max_size=40))
def test_whatever_a_file_holds_is_read_or_refused(content: bytes | str) -> None:
    message = ""
    try:
        parsed(content)
    except ParameterError as error:
        message = str(error)
    assert re.match("$|has more than |is not YAML |is wrong in line ", message)
    assert len(message.splitlines()) <= 1
