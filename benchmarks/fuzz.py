"""Damaged files, read by what a run reads them with: is anything uncaught, hanging, started, or silently wrong?

Images, labels, YAML, tables, arrays, checkpoints and caches get random changes, always the same ones. A damaged file
may be read or be refused in one line that names it. `--count N` changes, `--only N` shows what change N does.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from unittest.mock import patch

from damage import damaged
from fuzz_targets import Target, all_targets, environment, plain
from measure import Goal, Result, run
from torn_runs import load_everything

from alutils.errors import DataError, ParameterError, one_line
from alutils.provenance import peak_memory

COUNT, QUICK_COUNT = 20_000, 200
SEED = 0
BATCH = 250  # changes a process, after which its memory is looked at
LIMIT = 10  # seconds of one change
DEAD = 15  # seconds after which a process that cannot even be interrupted is killed
MIB = 2**20
GROWTH = 256  # MiB by which reading one file may let a process grow
LONGEST = 300  # characters of a message
ROOM = 1024 * MIB  # bytes of address space beyond what a process begins with
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.", "pickle.")
KINDS = {  # what may be found, with the claim that it is not
    "uncaught": "... uncaught errors",
    "message": "... messages that are not one line of 300 characters that names the file",
    "hanging": f"... changes that took more than {LIMIT} s",
    "memory": f"... changes that took more than {GROWTH} MiB of memory",
    "started": "... changes that started a process, a connection or pickled code",
    "different": "... changed tables, arrays and checkpoints that were taken for others",
}


class HangingError(BaseException):
    """The time is over; no handler of errors stops this."""


@dataclass(frozen=True)
class Finding:
    """What went wrong with one change; `place` is where, in words that are alike for alike findings."""

    number: int
    target: str
    change: str
    kind: str
    place: str
    message: str

    def __str__(self) -> str:
        """Return one line."""
        what = f"{self.kind}: {self.target}, {self.place}: {self.message[:150]!r}"
        return f"{what} ({self.change[:60]}; --only {self.number})"


@dataclass
class Outcome:
    """What a batch of changes gave."""

    findings: list[Finding] = field(default_factory=list)
    refused: int = 0
    growth: int = 0
    slowest: float = 0.0

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what a batch gave beside findings."""
        self.refused += other["refused"]
        self.growth, self.slowest = max(self.growth, other["growth"]), max(self.slowest, other["slowest"])


class Fuzz:
    """Changes of files below `base`; change N is the same each time."""

    def __init__(self, base: Path):
        self.base, self.home = base, base / "home"
        load_everything()
        self.targets = all_targets(base / "templates")
        self.contents = [(target.template / target.file).read_bytes() for target in self.targets]
        self.weights = [target.weight for target in self.targets]
        self.refused, self.started = 0, list[str]()
        with patch.dict(os.environ, environment(self.home)):
            self.expected = {target.name: self.read(target) for target in self.targets if not target.is_foreign}

    def changed(self, number: int) -> tuple[Target, str, bytes]:
        """Return what change `number` is: of what, which, and the content that it gives."""
        generator = Random(f"{SEED} {number}")
        position = generator.choices(range(len(self.targets)), self.weights)[0]
        target = self.targets[position]
        suffix = Path(target.file).suffix
        return target, *damaged(self.contents[position], suffix, generator, self.contents)

    def read(self, target: Target, content: bytes | None = None) -> Any:
        """Return what is read of a target, with another content if it is given, in a form that can be compared."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(target.template, self.home)
        if content is not None:
            path, status = self.home / target.file, (target.template / target.file).stat()
            path.unlink()  # it may be read-only
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return plain(target.read(self.home))

    def look_at(self, number: int) -> Finding | None:
        """Make change `number` and read the file; return what went wrong, or `None`."""
        target, change, content = self.changed(number)
        self.started.clear()
        before = peak_memory()
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        wrong = self.wrong(target, content)
        signal.setitimer(signal.ITIMER_REAL, 0)
        grown = (peak_memory() - before) // MIB
        if wrong is None and self.started:
            wrong = "started", self.started[0], ""
        if wrong is None and grown > GROWTH:
            wrong = "memory", "grew", f"by {grown} MiB"
        return Finding(number, target.name, change, *wrong) if wrong else None

    def wrong(self, target: Target, content: bytes) -> tuple[str, str, str] | None:
        """Read a target with another content; return kind, place and message of what goes wrong, or `None`."""
        try:
            result = self.read(target, content)
        except (DataError, ParameterError, OSError) as error:
            self.refused += 1
            wrong = self.wrong_message(error, target)
            return ("message", f"{place_of(error)}, {wrong}", one_line(error)) if wrong else None
        except BaseException as error:
            kinds = {"hanging": HangingError, "memory": MemoryError}
            kind = next((kind for kind, of_kind in kinds.items() if isinstance(error, of_kind)), "uncaught")
            return kind, f"{place_of(error)}, {type(error).__name__}", str(error)
        if target.is_compared and result != self.expected[target.name]:
            return "different", target.name, first_difference(self.expected[target.name], result)
        return None

    def wrong_message(self, error: Exception, target: Target) -> str:
        """Return what is wrong with an error's message; "" if nothing is."""
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        if "\n" in text or "\r" in text:
            return "several lines"
        if len(text) > LONGEST:
            return "too long"
        names = (str(self.home), str(target.template), Path(target.file).name)
        return "" if any(name in text for name in names) else "names no file"

    def batch(self, numbers: Iterable[int], progress: Any, results: Path) -> None:
        """Look at changes in a process of its own; write what they gave into the file `results`, line by line."""
        self._prepare(results.with_suffix(".txt"))
        before, slowest = peak_memory(), 0.0
        with results.open("a") as file:
            for number in numbers:
                progress.value, started = number, time.monotonic()
                finding = self.look_at(number)
                slowest = max(slowest, time.monotonic() - started)
                if finding:
                    file.write(json.dumps(asdict(finding)) + "\n")
                    file.flush()
            outcome = {"refused": self.refused, "growth": peak_memory() - before, "slowest": slowest}
            file.write(json.dumps(outcome) + "\n")

    def _prepare(self, said: Path) -> None:
        """Limit this process's memory, and note what it starts."""
        warnings.simplefilter("ignore")
        os.environ |= environment(self.home)
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)
        os.dup2(1, 2)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def note(event: str, arguments: tuple[Any, ...]) -> None:
            if event.startswith(STARTS):
                self.started.append(f"{event} {arguments}"[:100])

        def interrupt(_: int, __: FrameType | None) -> None:
            raise HangingError

        sys.addaudithook(note)
        signal.signal(signal.SIGALRM, interrupt)


def first_difference(one: Any, other: Any, path: str = "") -> str:
    """Return where two comparable contents differ first, by keys and positions."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        keys: Iterable[Any] = one
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        keys = range(len(one))
    else:
        return f"{path or 'all'}: {str(one)[:50]} / {str(other)[:50]}"
    return next(first_difference(one[key], other[key], f"{path}/{key}") for key in keys if one[key] != other[key])


def place_of(error: BaseException) -> str:
    """Return the line of the package that an error came through last."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}alutils{os.sep}" in frame.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"


def fuzz(count: int, only: int | None, is_quick: bool) -> Result:
    """Make `count` changes and count what went wrong."""
    count, started, outcome = QUICK_COUNT if is_quick else count, time.monotonic(), Outcome()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        work = Fuzz(Path(folder))
        if only is not None:
            sys.exit(shown(work, only))
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            while numbers:
                numbers = range(in_a_process(work, numbers, outcome), numbers.stop)
            print(f"{numbers.stop} changes, {len(outcome.findings)} findings", file=sys.stderr)
    print(summary(outcome.findings), file=sys.stderr)
    return record(count, len(work.targets), outcome, time.monotonic() - started)


def in_a_process(work: Fuzz, numbers: range, outcome: Outcome) -> int:
    """Look at changes in a process of its own until it ends or dies; return the number of the next change."""
    context = multiprocessing.get_context("fork")
    progress, results = context.Value("i", numbers.start), work.base / "results.json"
    results.unlink(missing_ok=True)
    process = context.Process(target=work.batch, args=(numbers, progress, results))
    process.start()
    is_killed = waited_for(process, progress)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    outcome.findings += [Finding(**line) for line in lines if "number" in line]
    if process.exitcode == 0:
        outcome.add(lines[-1])
        return numbers.stop
    target, change, _ = work.changed(progress.value)
    kind, place = ("hanging", "killed") if is_killed else ("uncaught", f"died with exit code {process.exitcode}")
    outcome.findings.append(Finding(progress.value, target.name, change, kind, place, ""))
    return progress.value + 1


def waited_for(process: BaseProcess, progress: Any) -> bool:
    """Wait until a process has ended, or kill it when it makes no progress; return whether it was killed."""
    last, since = -1, time.monotonic()
    while process.is_alive():
        process.join(0.2)
        if progress.value != last:
            last, since = progress.value, time.monotonic()
        elif time.monotonic() - since > DEAD:
            process.kill()
            process.join()
            return True
    return False


def record(count: int, kinds: int, outcome: Outcome, seconds: float) -> Result:
    """Return what was counted, beside what it must be."""
    counts = Counter(finding.kind for finding in outcome.findings)
    goals = [Goal("fuzz: files changed at random, then read", count, at_least=count)]
    goals += [Goal(claim, counts[kind], at_most=0) for kind, claim in KINDS.items()]
    details = {"share of the changed files that was refused": outcome.refused / count}
    details |= {"seconds of the slowest change": outcome.slowest, "MiB that a process grew by": outcome.growth / MIB}
    return Result(f"{count} changes of {kinds} kinds of files", seconds / count, goals=goals, details=details)


def shown(work: Fuzz, number: int) -> str:
    """Look at one change in this process; return what it is and what came of it."""
    target, change, content = work.changed(number)
    path = Path(tempfile.gettempdir()) / f"fuzz-{number}{Path(target.file).suffix}"
    path.write_bytes(content)
    os.environ |= environment(work.home)
    try:
        result: Any = work.read(target, content)
        same = "the same as" if result == work.expected.get(target.name) else "other than"
        result = f"it is read, and is {same} before"
    except Exception:
        result = traceback.format_exc()
    return f"{target.name}: {change}; the file is kept as {path}\n{result}"


def summary(findings: list[Finding]) -> str:
    """Return one line for each class of findings: how many, and the first one."""
    classes: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        classes[finding.kind, finding.place].append(finding)
    return "\n".join(f"{len(alike):5} x {alike[0]}" for alike in sorted(classes.values(), key=len, reverse=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--only", type=int)
    options, sys.argv[1:] = parser.parse_known_args()
    run(partial(fuzz, options.count, options.only), __file__)
