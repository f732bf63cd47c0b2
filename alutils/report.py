"""What an experiment gave, and its way into the repository.

python -m alutils.report show EXPERIMENT       print where things lie, and the result table
python -m alutils.report publish EXPERIMENT    copy the tables to results/published/, with provenance
"""

import argparse
import sys

from alutils.analysis import measure_of, paired_gains, pivot, settings, summarise
from alutils.errors import DataError, ParameterError
from alutils.paths import results_dir
from alutils.results import load_experiment, publish


def report(experiment: str) -> str:
    """Return a text: for each setting scores and gains over random, then where everything lies."""
    lines = []
    for name, rows in settings(load_experiment(experiment)):
        lines += [f"\n{name}: {measure_of(rows)}, mean ± standard deviation (seeds)"]
        lines += [pivot(summarise(rows)).to_string()]
        gains = paired_gains(rows)
        if not gains.empty:
            lines += ["gain over random, paired by seed", pivot(gains).to_string()]
    folder = results_dir() / experiment
    lines += ["", f"executed notebooks  {folder}/*/notebook.ipynb"]
    lines += [f"tables              {folder}/*/rounds.csv, acquisitions.csv"]
    lines += [f"figures             {folder}/06_figures/"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alutils.report", description="Show or publish an experiment.")
    parser.add_argument("command", choices=["show", "publish"])
    parser.add_argument("experiment")
    chosen = parser.parse_args(arguments)
    try:
        print(publish(chosen.experiment) if chosen.command == "publish" else report(chosen.experiment))  # noqa: T201
    except (DataError, ParameterError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
