"""What an experiment gave, and its way into the repository.

python -m alutils.report show EXPERIMENT       print where things lie, and the result table
python -m alutils.report publish EXPERIMENT    copy the tables to results/published/, with provenance
python -m alutils.report readme                write the published tables into README
"""

import argparse
import re
import sys
from collections.abc import Callable

import pandas as pd

from alutils.analysis import measure_of, paired_gains, pivot, settings, summarise
from alutils.errors import DataError, ParameterError
from alutils.paths import ROOT, results_dir
from alutils.results import load_experiment, load_published, publish

README = ROOT / "README.md"


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
    if (folder / "06_figures").is_dir():
        lines += [f"figures             {folder}/06_figures/"]
    return "\n".join(lines)


def markdown(name: str) -> str:
    """Return a published table as text for README: each setting's scores and gains over random."""
    parts = []
    for setting, rows in settings(load_published(name)):
        parts += [f"{setting}: {measure_of(rows)}, mean ± standard deviation (seeds)", _markdown_table(summarise(rows))]
        gains = paired_gains(rows)
        if not gains.empty:
            parts += ["Gain over random, paired by seed:", _markdown_table(gains)]
    return "\n\n".join(parts)


def _markdown_table(summary: pd.DataFrame) -> str:
    table = pivot(summary)
    lines = [["labelled", "%", *table.columns], ["---"] * (2 + len(table.columns))]
    lines += [[f"{n}", f"{percent:.0f}", *cells] for (n, percent), *cells in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill_readme(text: str, command: str = "make figures", write: Callable[[str], str] = markdown) -> str:
    """Return README's text with `write(NAME)` between each ``<!-- NAME: written by `command` -->`` and its end."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{write(match[2])}\n{match[3]}"

    marker = rf"(<!-- (\w+): written by `{command}` -->)\n.*?(<!-- end -->)"
    return re.sub(marker, fill, text, flags=re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alutils.report", description="Show or publish an experiment.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show").add_argument("experiment")
    commands.add_parser("publish").add_argument("experiment")
    commands.add_parser("readme")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "readme":
            README.write_text(fill_readme(README.read_text()))
        else:
            print(publish(chosen.experiment) if chosen.command == "publish" else report(chosen.experiment))  # noqa: T201
    except (DataError, ParameterError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
