"""One command line for all: help with an example, nothing loaded that is not needed, mistakes in one line."""

import os
import subprocess
import sys
import time
import tomllib
from pkgutil import resolve_name

import pytest

from alutils import __main__ as command_line
from alutils.__main__ import main, parser
from alutils.paths import ROOT

COMMANDS = ["run", "grid", "status", "show", "compare", "page", "publish", "figures"]


def python(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)


def test_help_lists_all_commands_in_less_than_a_third_of_a_second():
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        done = python("-m", "alutils", "--help")
        seconds.append(time.monotonic() - started)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")][
        : len(COMMANDS)
    ] == COMMANDS
    assert min(seconds) < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_that_can_be_read(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    *_, title, example = capsys.readouterr().out.splitlines()
    assert title == "Example:"
    words = example.split()
    assert words[:2] == ["alutils", name]
    assert parser().parse_args(words[1:]).call is getattr(command_line, name)


def test_help_loads_no_library():
    code = "import sys; before = set(sys.modules); import alutils.__main__; alutils.__main__.parser(); "
    code += "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    assert python("-c", code).stdout.split() == ["alutils"]


@pytest.mark.parametrize("words", [["status", "demo"], ["grid", "demo", "--dry-run"]])
def test_looking_at_a_grid_loads_neither_torch_nor_papermill(words: list[str]):
    code = f"import sys; from alutils.__main__ import main; main({words}); "
    code += "print(*{'torch', 'papermill', 'pandas', 'matplotlib'} & set(sys.modules), file=sys.stderr)"
    assert python("-c", code).stderr == "\n"


@pytest.mark.parametrize(("command", "not_loaded"), [("show", {"torch", "scipy"}), ("compare", {"torch"})])
def test_looking_at_results_does_not_load_what_takes_seconds(command: str, not_loaded: set[str]):
    code = f"import sys; from alutils.__main__ import main; main(['{command}', 'camvid_weights']); "
    code += f"print(*{not_loaded} & set(sys.modules), file=sys.stderr)"
    assert python("-c", code).stderr == "\n"


def test_the_console_script_is_this_command_line():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert resolve_name(scripts["alutils"]) is main


@pytest.mark.parametrize("words", [["run", "x", "--no-such-option"], ["show"], ["no_such_command"], []])
def test_what_cannot_be_read_ends_with_how_to_call_it(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: alutils")


def test_errors_of_the_system_are_one_line_and_bugs_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(error: BaseException) -> None:
        def raise_it(name: str) -> None:
            raise error

        monkeypatch.setattr("alutils.grid.preset.find_preset", raise_it)

    fail(PermissionError(13, os.strerror(13), "/there"))
    assert main(["status", "demo"]) == 1
    assert capsys.readouterr().err == "error: /there: Permission denied\n"
    fail(KeyboardInterrupt())
    assert main(["status", "demo"]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on with what was saved\n"
    fail(KeyError("a bug"))
    with pytest.raises(KeyError):
        main(["status", "demo"])


def test_make_without_a_preset_names_the_presets():
    """As `make grid` and `make status` call it."""
    for target in ("grid", "status"):
        make = ["make", "--dry-run", "--no-print-directory", target]
        said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        (line,) = [line for line in said.splitlines() if f"alutils {target}" in line]
        assert f'alutils {target} ""' in line
        assert main([target, ""]) == 1
