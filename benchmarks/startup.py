"""Nothing to wait for before work begins: imports, a first optimizer step, a notebook's run, figures.

A notebook's overhead is a run of one that is finished already: parameters are checked, a kernel
is started, everything is imported, and nothing is computed.
"""

import os
import subprocess
import sys
import tempfile

from measure import Goal, Result, run, time_sides

from alutils.results.figures.published import FIGURES

PARAMETERS = {"dataset": "streets_tiny", "height": 32, "width": 64, "epochs": 1, "rounds": 2, "committee_members": 2}

STEP = "; weight = torch.nn.Parameter(torch.ones(9)); weight.sum().backward(); Adam([weight], fused=True).step()"


def python(*arguments: str) -> None:
    """Run Python to its end, and raise if it fails."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def notebook() -> None:
    """Run notebook 03 with a quick recipe."""
    options = [word for name, value in PARAMETERS.items() for word in ("-p", name, str(value))]
    python("-m", "alutils", "run", "03_active_learning_rounds", *options)


def measure(quick: bool) -> Result:
    """Time each start; what is computed or drawn once is there before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALUTILS_RESULTS"] = folder
        notebook()
        python("-m", "alutils", "figures", *FIGURES)
        seconds = time_sides(
            {
                "torch": lambda: python("-c", "import torch"),
                "alutils": lambda: python("-c", "import torch, alutils"),
                "everything": lambda: python("-c", "import torch, alutils.runs.rounds"),
                "step": lambda: python("-c", f"import torch; from alutils.training.optimizer import Adam{STEP}"),
                "torch's step": lambda: python("-c", f"import torch; from torch.optim import Adam{STEP}"),
                "notebook": notebook,
                "figures": lambda: python("-m", "alutils", "figures", *FIGURES),
            },
            rounds=1 if quick else 5,
        )
    beyond = seconds["alutils"] - seconds["torch"]
    return Result(
        "import of torch (the floor), of alutils beside it; notebook 03 on a finished run (ours); README's figures",
        seconds["notebook"],
        seconds["torch"],
        goals=[
            Goal("start-up: import alutils, seconds beyond torch's", beyond, at_most=0.3),
            Goal(
                "... a first optimizer step, seconds less than torch's",
                seconds["torch's step"] - seconds["step"],
                at_least=1,
            ),
            Goal("... a notebook's overhead, seconds", seconds["notebook"], at_most=8),
            Goal("... README's figures from tables, seconds", seconds["figures"], at_most=20),
        ],
        details={"import torch, alutils.runs.rounds": seconds["everything"]},
    )


if __name__ == "__main__":
    run(measure, __file__)
