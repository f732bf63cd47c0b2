"""The mutation tester: which bugs it puts into a line, how they go out again, and what catches them."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from alutils.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def mutation() -> Any:
    return import_module("mutation")


@pytest.mark.parametrize(
    ("line", "bugs"),
    [
        ("a < b", {"a <= b"}),
        ("x = a and not b", {"x = a or not b", "x = a and b"}),
        ("y = a[1:k] + 0.5", {"y = a[:k] + 0.5", "y = a[1:] + 0.5", "y = a[2:k] + 0.5", "y = a[0:k] + 0.5",
                              "y = a[1:k] - 0.5", "y = a[1:k] + 1.0"}),
        ("f(a, b, key=c)", {"f(a, b)", "f(b, a, key=c)", "f(a, key=c)", "pass"}),
        ("x = max(x, 0.0) if c else x", {"x = min(x, 0.0) if c else x", "x = max(x) if c else x", "pass",
                                         "x = max(x, 1.0) if c else x", "x = max(x, 0.0) if not c else x"}),
        ("x.total()", {"x", "pass"}),
        ("raise ValueError(f'{1 + 2} is wrong')", {"pass"}),
        ("import numpy", set()),
        ("'a sentence'", set()),
    ],
)  # fmt: skip
def test_bugs_of_a_line(line: str, bugs: set[str], mutation: Any) -> None:
    mutants = mutation.mutants_of("m", ast.parse(line))
    assert {mutant.text.partition(" => ")[2] for mutant in mutants} == bugs


def test_a_bug_goes_out_again_and_is_read_where_it_is(mutation: Any) -> None:
    tree = ast.parse(mutation.path_of("runs.pool").read_text())
    whole = ast.unparse(tree)
    for mutant in mutation.mutants_of("runs.pool", tree):
        mutant.swap()
        assert ast.unparse(tree) != whole, mutant.text
        compile(ast.fix_missing_locations(tree), "pool.py", "exec")
        mutant.swap()
        assert ast.unparse(tree) == whole, mutant.text


def test_mutants_that_do_the_same_have_a_reason(mutation: Any) -> None:
    same = mutation.read_yaml(mutation.SAME)
    assert {*same} <= {*mutation.TESTS}
    for module, reasons in same.items():
        mutants = mutation.mutants_of(module, ast.parse(mutation.path_of(module).read_text()))
        for why, lines in reasons.items():
            assert len(why.split()) > 3
            assert lines
            assert not mutation.not_among(mutants, lines)


@pytest.mark.slow
def test_a_few_mutants_of_the_pool_are_caught() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "mutation.py"), "runs.pool", "--sample", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["details"] == {"mutants, runs.pool": 4, "caught, runs.pool": 4, "survived, runs.pool": []}
    assert done.stderr.count("caught by test_pool.py::") == 4
