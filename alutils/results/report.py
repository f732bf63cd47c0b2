"""An experiment's scores and gains, in the lines that a grid ends with.

Nothing here loads torch or scipy: that takes seconds, and every grid would wait for it.
"""

import pandas as pd

from alutils.results.analysis import measure_of, paired_gains, pivot, settings, summarise
from alutils.results.tables import Experiment


def report(name: str) -> str:
    """Return an experiment's scores and gains over random, by setting, then where everything lies."""
    experiment, lines = Experiment.find(name), []
    for setting, rows in settings(experiment.table):
        lines += [f"\n{setting}{_size_of(experiment, rows)}: {measure_of(rows)}, mean ± standard deviation (seeds)"]
        lines += [pivot(summarise(rows)).to_string()]
        gains = paired_gains(rows)
        if not gains.empty:
            lines += ["gain over random, paired by seed", pivot(gains).to_string()]
    folder = experiment.where
    if not experiment.runs:
        return "\n".join([*lines, "", f"published table     {folder}"])
    lines += ["", f"executed notebooks  {folder}/*/notebook.ipynb"]
    lines += [f"tables              {folder}/*/rounds.csv, acquisitions.csv"]
    lines += [f"figures             {path}/" for path in sorted({file.parent for file in folder.glob("*/*.png")})]
    lines += [f"more                .venv/bin/alutils compare {name}, ... page {name}; `make lab`, 09_explore"]
    return "\n".join(lines)


def _size_of(experiment: Experiment, rows: pd.DataFrame) -> str:
    """Return the size of the images of a setting's runs, as text; an empty text where it was not recorded."""
    of_runs = [run.config() for run in experiment.runs]  # records read much more
    configs = of_runs or [record["config"] for record in experiment.records.values()]
    of_setting = [config for config in configs if config.get("model") == rows["model"].iloc[0]]
    sizes = {f"{config['height']}x{config['width']}" for config in of_setting if "height" in config}
    return f" at {sizes.pop()}" if len(sizes) == 1 else ""
