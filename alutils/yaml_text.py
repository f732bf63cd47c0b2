"""YAML that people write, read as names with texts, numbers and lists of these, within limits.

A short text can otherwise stand for millions of values, through aliases, or nest deeper than Python can go.
"""

import re
from typing import Any, NoReturn

import yaml

from alutils.errors import ParameterError, shortened

LARGEST = 2**20  # bytes of a file
DEEPEST = 50  # lists and mappings in each other
MOST = 100_000  # values; an alias counts as what it stands for
LONGEST_NUMBER = 100  # characters

OF_YAML = "tag:yaml.org,2002:"
KINDS = {"null", "bool", "int", "float", "str", "seq", "map", "merge"}  # those of JSON, and the key <<


def parsed(content: bytes | str) -> Any:
    """Return what a YAML text holds.

    Raises `ParameterError` for what is no YAML or breaks a limit, for a key that is no text or is there twice, and for
    a value that JSON does not have, such as a date. The message goes on behind the name of a file.
    """
    if len(content) > LARGEST:
        raise ParameterError(f"has more than {LARGEST} bytes")
    try:
        return yaml.load(content if isinstance(content, str) else content.decode(), _Loader)
    except ParameterError:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ParameterError(f"is not YAML (line {line}: {error.problem or error.context})") from error
    except Exception as error:  # what turns text into values may raise anything
        raise ParameterError(f"is not YAML ({error})") from error


class _Loader(yaml.SafeLoader):
    """Checks each node before values are made of it; what breaks a rule is refused as soon as it is read."""

    def __init__(self, text: str):
        super().__init__(text)
        self.values, self.depth = 0, 0
        self.extents: dict[int, tuple[int, int]] = {}  # of each whole node: how many values, how deep

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Return the next node, or the one that an alias stands for."""
        event, before = self.peek_event(), self.values
        self.depth += 1
        self._count(event, 1, 0)
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self.extents:
                _refuse(event, f"*{event.anchor} stands for something that it is in")
            self._count(event, *self.extents[id(node)])
        else:
            _check(node)
            depth = max((self.extents[id(part)][1] + 1 for part in _parts(node)), default=0)
            self.extents[id(node)] = self.values - before, depth
        self.depth -= 1
        return node

    def _count(self, event: Any, values: int, depth: int) -> None:
        self.values += values
        if self.values > MOST:
            _refuse(event, f"more than {MOST} values")
        if self.depth + depth > DEEPEST:
            _refuse(event, f"more than {DEEPEST} lists and mappings in each other")


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check(node: yaml.Node) -> None:
    kind = node.tag.removeprefix(OF_YAML)
    if node.tag in yaml.SafeLoader.yaml_constructors and kind not in KINDS:
        _refuse(node, f"a {kind}; allowed: texts, numbers, lists and mappings, so put it into quotes")
    if isinstance(node, yaml.ScalarNode) and re.search(r"[\x00\ud800-\udfff]", node.value):
        _refuse(node, "a character that no name of a file can hold")
    if kind in ("int", "float") and len(node.value) > LONGEST_NUMBER:
        _refuse(node, f"a number of more than {LONGEST_NUMBER} characters")
    if isinstance(node, yaml.MappingNode):
        _check_keys([key for key, _ in node.value])


def _check_keys(keys: list[yaml.Node]) -> None:
    known = set()
    for key in keys:
        name = shortened(str(key.value), 60) if isinstance(key, yaml.ScalarNode) else "that is a list or a mapping"
        if key.tag.removeprefix(OF_YAML) not in ("str", "merge"):
            _refuse(key, f"the key {name} is no text; put it into quotes")
        if key.value in known:
            _refuse(key, f"the key {name} is there twice; allowed: once")
        known.add(key.value)


def _refuse(where: Any, what: str) -> NoReturn:
    """Raise `ParameterError` for something at a node or an event."""
    raise ParameterError(f"is wrong in line {where.start_mark.line + 1}: {what}")
