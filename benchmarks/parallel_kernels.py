"""Many short notebook runs at once: does any fail or hang, is any kernel or file left behind?

200 runs of a notebook that computes next to nothing, four at a time, each with a process and a kernel of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
from measure import Goal, Result, run

AT_ONCE = 4
LIMIT = 120  # seconds of one run, after which it counts as hanging
PARAMETERS = """experiment: str = "kernels"  # folder
dataset: str = "0"  # what tells the runs apart"""


def measure(is_quick: bool) -> Result:
    """Run the notebook many times; return seconds a run, all of them shared out over those at once."""
    count = 8 if is_quick else 200
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        base = Path(folder)
        (base / "temporary").mkdir()
        os.environ |= {"ALUTILS_RESULTS": str(base / "results"), "TMPDIR": str(base / "temporary")}
        notebook = write_notebook(base / "short.ipynb")
        started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as workers:
            codes = list(workers.map(lambda number: run_one(notebook, number), range(count)))
        seconds = time.monotonic() - started
        kernels = [process.pid for process in psutil.process_iter() if str(base) in " ".join(cmdline(process))]
        files = [path for path in (base / "temporary").rglob("*") if not path.is_dir()]
        executed = list((base / "results").glob("kernels/*/notebook.ipynb"))
    goals = [
        Goal(f"kernels: short runs, {AT_ONCE} at a time, that went well", len(executed), at_least=count),
        Goal("... that failed or took more than two minutes", sum(code != 0 for code in codes), at_most=0),
        Goal("... kernels left behind", len(kernels), at_most=0),
        Goal("... temporary files left behind", len(files), at_most=0),
    ]
    return Result(f"{count} runs, {AT_ONCE} at a time: {seconds:.0f} s", seconds / count, goals=goals)


def write_notebook(path: Path) -> Path:
    """Write a notebook of two cells."""
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [parameters, nbformat.v4.new_code_cell("int(dataset) ** 2")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def run_one(notebook: Path, number: int) -> int:
    """Run the notebook; return the exit code, -1 if it hangs."""
    command = [sys.executable, "-m", "alutils", "run", str(notebook), "-p", "dataset", str(number)]
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=LIMIT).returncode
    except subprocess.TimeoutExpired:
        return -1


def cmdline(process: psutil.Process) -> list[str]:
    """Return a process's command line, empty if it has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


if __name__ == "__main__":
    run(measure, __file__)
