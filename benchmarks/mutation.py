"""Small bugs put into a module one at a time: how many do its tests notice?

    nice python benchmarks/mutation.py [MODULE ...] [--sample K] [--json]

A mutant is a module with one bug: a comparison turned around, a number off by one, an argument or a statement left out,
`max` for `min`, ... Each one runs in a fork of a process that has loaded the libraries, so it takes seconds. The tests
are drawn alike each time, keep no examples, and stop at the first that fails. Mutants that do the same as the module
are in `mutation_same.yaml`, each with a reason that a person found; they count neither way.
"""

import argparse
import ast
import builtins
import copy
import difflib
import importlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import pytest
from measure import Goal, Result, as_text, machine

from alutils.files import read_yaml
from alutils.paths import ROOT

TESTS = {  # module: its tests and those of its neighbours
    "queries.committee": ["queries/test_committee", "queries/test_scoring"],
    "queries.scores": ["queries/test_scores", "queries/test_scoring"],
    "queries.reductions": ["queries/test_reductions", "queries/test_scoring"],
    "queries.regions": ["queries/test_regions", "queries/test_scoring"],
    "queries.selections": ["queries/test_selections"],
    "runs.pool": ["runs/test_pool"],
    "runs.folder": ["runs/test_run_folder", "grid/test_state", "results/test_tables"],
    "runs.schemas": ["runs/test_schemas", "runs/test_run_folder", "results/test_tables"],
    "datasets.cache": ["datasets/test_cache", "datasets/test_folder", "datasets/test_cityscapes"],
    "datasets.folder": ["datasets/test_folder", "datasets/test_cache", "datasets/test_description"],
    "training.loop": ["training/test_loop", "training/test_predictions", "training/test_metrics"],
    "results.significance": ["results/test_significance", "results/test_comparison"],
    "results.comparison": ["results/test_comparison", "results/test_comparison_text"],
}
SAME = Path(__file__).with_name("mutation_same.yaml")
MOST_SECONDS = 120  # that all these tests may take
LEAST_CAUGHT = 0.95

INSTEAD: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}  # fmt: skip
PAIRS = (
    *(("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("minimum", "maximum"), ("floor", "ceil")),
    *(("any", "all"), ("sum", "mean"), ("zeros_like", "ones_like"), ("zeros", "ones"), ("rint", "floor")),
)
OTHER_NAME = {b: a for a, b in PAIRS} | dict(PAIRS)
CONVERSIONS = {"int", "float", "str", "bool", "len", "tuple", "list", "dict", "set", "range", "iter", "type", "Path"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "promote_types"}
UNSEEN = {"device", "non_blocking", "strict"}  # arguments: where something lies, and guards against slips in the code
PLACES = {
    "to",
    "cpu",
    "contiguous",
    "detach",
    "numpy",
    "item",
    "tolist",
    "to_numpy",
    "close",
    "flush",
}
SPOKEN = {"progress", "bar", "warnings", "print", "TypeVar", "TYPE_CHECKING"}  # what only people see
NOT_RUN = {"annotation", "returns", "decorator_list", "bases"}  # fields of a syntax tree


@dataclass
class Mutant:
    """One bug: `new` stands where `parent` has its child `field` (of a list, the one at `position`)."""

    module: str
    tree: ast.Module
    function: str
    statement: ast.stmt
    parent: ast.AST
    field: str
    position: int | None
    new: ast.AST

    def swap(self) -> None:
        """Put the bug in, or take it out again."""
        place: Any = getattr(self.parent, self.field)
        if self.position is None:
            setattr(self.parent, self.field, self.new)
            self.new = place
        else:
            place[self.position], self.new = self.new, place[self.position]

    @property
    def own_lines(self) -> set[int]:
        """Return the lines of the statement, without those of the statements inside it."""
        inside = [part.lineno for part in ast.walk(self.statement) if isinstance(part, ast.stmt)][1:]
        last = self.statement.end_lineno or self.statement.lineno
        return {*range(self.statement.lineno, min([last + 1, *inside]))} | {self.statement.lineno}

    @property
    def text(self) -> str:
        """Return the function and the lines that differ, without and with the bug."""
        was, new = ast.unparse(self.statement).splitlines(), self.new
        self.swap()
        becomes = ast.unparse(new if self.new is self.statement else self.statement)
        self.swap()
        lines = [line for line in difflib.ndiff(was, becomes.splitlines()) if line[0] in "-+"]
        ends = (" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return f"{self.function}: " + " => ".join(ends)


def mutants_of(module: str, tree: ast.Module) -> list[Mutant]:
    """Return all mutants of a module with this syntax tree."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}

    def inside(node: ast.AST, function: str, statement: ast.stmt) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".strip(".")
        for field, value in ast.iter_fields(node):
            for position, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if field in NOT_RUN or not isinstance(child, ast.AST) or _is_spoken(child):
                    continue
                inner = child if isinstance(child, ast.stmt) else statement
                for new in _bugs(child, imported):
                    yield Mutant(module, tree, function, inner, node, field, position, ast.copy_location(new, child))
                if not isinstance(child, ast.Raise):
                    yield from inside(child, function, inner)

    return list(inside(tree, "", ast.Pass()))


def _is_spoken(node: ast.AST) -> bool:
    """Tell whether a part of a module is text, progress or an import, or nothing that a test can see."""
    if isinstance(node, ast.keyword) and node.arg in UNSEEN:
        return True
    if isinstance(node, ast.Expr | ast.Assign | ast.Attribute):
        return _is_spoken(node.value)
    if isinstance(node, ast.Call | ast.If):
        return _is_spoken(node.func if isinstance(node, ast.Call) else node.test)
    is_text = isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)
    return is_text or (isinstance(node, ast.Constant) and isinstance(node.value, str)) or (
        isinstance(node, ast.Name) and node.id in SPOKEN)  # fmt: skip


def _bugs(node: ast.AST, imported: set[str]) -> Iterator[ast.AST]:
    """Yield what may stand in place of a node."""
    if type(node) in INSTEAD:
        yield INSTEAD[type(node)]()
    match node:
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 2 or 1.0)
        case ast.Name(id=name, ctx=ast.Load()) if name in OTHER_NAME and hasattr(builtins, OTHER_NAME[name]):
            yield ast.Name(OTHER_NAME[name], node.ctx)
        case ast.Attribute(attr=name) if name in OTHER_NAME:
            yield ast.Attribute(node.value, OTHER_NAME[name], node.ctx)
        case ast.Slice(lower, upper, step):
            yield from [ast.Slice(None, upper, step)] if lower else []
            yield from [ast.Slice(lower, None, step)] if upper else []
        case ast.If(test) | ast.IfExp(test) | ast.While(test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[_, *_]):
            yield _with(node, ifs=[])
        case ast.Call():
            yield from _calls(node, imported)
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Assign([ast.Name(id=name)]) if name in _names(node.value):
            yield ast.Pass()


def _calls(call: ast.Call, imported: set[str]) -> Iterator[ast.AST]:
    """Yield calls with an argument less or in another order, and what is called upon without the call."""
    for position, keyword in enumerate(call.keywords):
        if keyword.arg not in UNSEEN:
            yield _with(call, keywords=[*call.keywords[:position], *call.keywords[position + 1 :]])
    match call.func, call.args:
        case ast.Name(id=name) | ast.Attribute(attr=name), [first, second, *others]:
            if name not in SYMMETRIC and ast.dump(first) != ast.dump(second):
                yield _with(call, args=[second, first, *others])
            yield _with(call, args=call.args[:-1])
        case ast.Name(id=name), [ast.AST() as only] if name not in CONVERSIONS and not isinstance(only, ast.Starred):
            yield only
    match call.func:
        case ast.Attribute(value=receiver, attr=name) if name not in PLACES and not _is_module(receiver, imported):
            yield receiver


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    """Return a copy of a node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _is_module(node: ast.AST, imported: set[str]) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in {*imported, "self"}


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


class Mutated(SourceFileLoader):
    """Loads a module from the syntax tree of a mutant."""

    def __init__(self, mutant: Mutant):
        super().__init__(f"alutils.{mutant.module}", str(path_of(mutant.module)))
        self.tree = mutant.tree

    def find_spec(self, name: str, *_: object) -> Any:
        """Find this module, and no other."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> Any:
        """Compile the tree."""
        return compile(ast.fix_missing_locations(self.tree), self.path, "exec")


class Witness:
    """Notes the first test that fails, and of what; notes which lines of a file each test runs.

    seconds : of each test
    lines : by test, the lines that it runs; by "file of tests", those of set-ups, which several tests may share; by "",
        those that loading runs
    """

    def __init__(self, path: str | None):
        self.path, self.now = path, ""
        self.test, self.error = "", ""
        self.seconds: dict[str, float] = defaultdict(float)
        self.lines: dict[str, set[int]] = defaultdict(set)
        if path:
            threading.settrace(self.trace)
            sys.settrace(self.trace)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Note a line of the file."""
        if frame.f_code.co_filename != self.path:
            return None
        self.lines[self.now].add(frame.f_lineno)
        return self.trace

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Count what follows for the whole file."""
        self.now = item.nodeid.partition("::")[0]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Count what follows for the test."""
        self.now = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, and the seconds."""
        self.seconds[report.nodeid] += report.duration
        if report.failed and not self.test:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.test, self.error = report.nodeid, str(crash.message if crash else report.longrepr)[:99]


def path_of(module: str) -> Path:
    """Return a module's file."""
    return ROOT / "alutils" / f"{module.replace('.', '/')}.py"


def in_fork(
    tests: Sequence[str], mutant: Mutant | None, most_seconds: int, traced: str | None = None
) -> dict[str, Any]:
    """Run tests in a fork of this process, with a mutant in place of its module.

    Returns the first `test` that fails, "" if none does, and its `error`; CPU seconds of all and of each test; the
    lines of the file `traced` that each test runs; the libraries that are loaded then. A fork that takes more than
    `most_seconds` of CPU time, ten times as long in all, or that crashes has failed.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds))
            signal.alarm(10 * most_seconds)
            try:
                found = _tested(tests, mutant, folder, traced)
            except BaseException as error:
                found = {"test": "?", "error": repr(error)}
            with os.fdopen(writing, "w") as pipe:
                json.dump(found, pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
    return json.loads(told) if told else {"test": "?", "error": "it crashed or took too long"}


def _tested(tests: Sequence[str], mutant: Mutant | None, folder: str, traced: str | None) -> dict[str, Any]:
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    for name in [name for name in sys.modules if name.split(".")[0] == "alutils"]:
        del sys.modules[name]
    if mutant:
        mutant.swap()
        sys.meta_path.insert(0, Mutated(mutant))
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--basetemp={folder}/t", f"--rootdir={ROOT}"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of libraries that are loaded already
    witness = Witness(traced)
    code = pytest.main([*options, *tests], plugins=[witness])
    sys.settrace(None)
    error = witness.error or (f"pytest ends with {int(code)}" if code else "")
    return {
        "test": witness.test or ("?" if code else ""),
        "error": error,
        "total": time.process_time(),
        "seconds": witness.seconds,
        "lines": {name: [*lines] for name, lines in witness.lines.items()},
        "modules": [*sys.modules],
    }


def load_libraries(modules: Sequence[str]) -> None:
    """Load what tests have loaded, except the code that is tested and the tests."""
    for name in modules:
        top = name.split(".")[0]
        if top not in ("alutils", "conftest") and not top.startswith("test_"):
            with suppress(Exception):  # some can only be loaded by others
                importlib.import_module(name)


def examine(module: str, same: Sequence[str], sample: int | None) -> dict[str, Any]:
    """Return how many of a module's mutants its tests catch, and what the others are."""
    files = [str(ROOT / "tests" / f"{test}.py") for test in TESTS[module]]
    load_libraries(in_fork(files, None, 600)["modules"])
    clean, traced = in_fork(files, None, 600), in_fork(files, None, 600, str(path_of(module)))
    if clean["test"]:
        sys.exit(f"error: without a bug, {clean['test']} fails: {clean['error']}")
    everything = mutants_of(module, ast.parse(path_of(module).read_text()))
    if unknown := not_among(everything, same):
        sys.exit(f"error: {SAME.name}: {module} has no mutant {unknown[0]}")
    mutants = [mutant for mutant in everything if not mutant.text.startswith(tuple(same))]
    if sample is not None and sample < len(mutants):
        mutants = sorted(random.Random(0).sample(mutants, sample), key=mutants.index)
    quickest = sorted(clean["seconds"], key=clean["seconds"].__getitem__)
    survived, last = [], ""
    for number, mutant in enumerate(mutants, 1):
        tests = [test for test in quickest if _runs(test, mutant, traced["lines"])]
        order = [str(ROOT / test) for test in ([last] if last in tests else []) + tests]
        found = in_fork(order, mutant, 10 + 3 * int(clean["total"])) if tests else {"test": ""}
        if not found["test"]:
            survived.append(mutant.text)
        last = found["test"] or last
        of = (
            f"caught by {Path(found['test']).name}: {found['error']}"
            if found["test"]
            else f"NOT CAUGHT by {len(tests)}"
        )
        print(f"{module} {number}/{len(mutants)} | {mutant.text} | {' '.join(of.split())}", file=sys.stderr, flush=True)
    caught = len(mutants) - len(survived)
    return {"mutants": len(mutants), "caught": caught, "survived": survived, "seconds": clean["total"]}


def not_among(mutants: Sequence[Mutant], same: Sequence[str]) -> list[str]:
    """Return the beginnings of lines in `same` with which no mutant begins."""
    return [text for text in same if not any(mutant.text.startswith(text) for mutant in mutants)]


def _runs(test: str, mutant: Mutant, lines: dict[str, list[int]]) -> bool:
    """Tell whether a test, or a set-up that it may share, runs the statement that has the bug."""
    own = mutant.own_lines
    return any(not own.isdisjoint(lines.get(name, ())) for name in (test, test.partition("::")[0], ""))


def measure(modules: Sequence[str], sample: int | None) -> Result:
    """Examine modules one after the other."""
    reasons = read_yaml(SAME)
    same = {module: [line for lines in reasons.get(module, {}).values() for line in lines] for module in modules}
    found = {module: examine(module, same[module], sample) for module in modules}
    mutants, caught, seconds = (sum(of[name] for of in found.values()) for name in ("mutants", "caught", "seconds"))
    return Result(
        f"{mutants} mutants of {len(modules)} modules, and the tests of each module; seconds of all these tests",
        seconds,
        goals=[
            Goal("mutants that tests catch", caught / mutants, at_least=LEAST_CAUGHT),
            Goal("seconds of these tests", seconds, at_most=MOST_SECONDS),
        ],
        details={
            f"{name}, {module}": of[name] for module, of in found.items() for name in ("mutants", "caught", "survived")
        },
    )


def main() -> None:
    """Examine the modules that are named, or all; exit code 1 if fewer mutants are caught than should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--sample", type=int, help="so many mutants of each module, drawn alike each time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if unknown := sorted({*options.modules} - {*TESTS}):
        sys.exit(f"error: {', '.join(unknown)} is not in the table; known: {', '.join(TESTS)}")
    os.environ |= {"OMP_NUM_THREADS": "1", "ALUTILS_PROGRESS": "0"}
    result = measure(options.modules or [*TESTS], options.sample)
    content = {"benchmark": Path(__file__).stem} | asdict(result) | {"machine": machine()}
    print(json.dumps(content, indent=1) if options.json else as_text(result))
    sys.exit(not all(goal.is_reached for goal in result.goals))


if __name__ == "__main__":
    main()
