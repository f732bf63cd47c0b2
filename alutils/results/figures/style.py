"""What all figures have in common: colours, markers, words, matrices, and how they are written."""

from collections.abc import Iterable
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alutils.queries.query import QUERIES
from alutils.results.analysis import MEASURES

# Colours after Okabe and Ito and after Tol, so that colour-blind readers tell them apart; the thesis's three queries
# have the thesis's blue, orange and green. Markers tell the queries apart in grey print.
STYLES: dict[str, dict[str, Any]] = {
    "consensus_entropy": {"color": "#0072B2", "marker": "o"},
    "vote_entropy": {"color": "#E69F00", "marker": "s"},
    "random": {"color": "#009E73", "marker": "^"},
    "vote_entropy+diverse4": {"color": "#00A6D6", "marker": "P"},  # the one with modifiers that most figures show
}
OTHER_COLOURS = (
    *("#D55E00", "#CC79A7", "#56B4E9", "#882255", "#666666"),
    *("#999933", "#332288", "#8B5A2B", "#BB5566", "#000000"),
    *("#AA4499", "#DDCC77", "#44AA99"),
)
OTHER_MARKERS = ("D", "v", "P", "X", "*", "<", ">", "p", "h")
OTHERS = [
    {"color": colour, "marker": marker} for colour, marker in zip(OTHER_COLOURS, cycle(OTHER_MARKERS), strict=False)
]
DPI = 100
MEASURE_LABELS = {measure: f"{name} on the test set" for measure, name in MEASURES.items()}


def query_styles(queries: Iterable[object]) -> dict[str, dict[str, Any]]:
    """Return each query's colour and marker as matplotlib's options.

    A query without modifiers has the same ones in all figures. One with modifiers has those that its name leads to, or
    the next ones that no other query of the figure has.
    """
    names = sorted({*map(str, queries)} - {"all"})
    registered = [name for name in QUERIES if name not in STYLES]
    found = STYLES | {name: OTHERS[registered.index(name)] for name in names if name in registered}
    for name in names:
        if name not in found:
            first, taken = (
                crc32(name.encode()) % len(OTHERS),
                [found[other]["color"] for other in names if other in found],
            )
            in_turn = [*OTHERS[first:], *OTHERS[:first]]
            found[name] = next((style for style in in_turn if style["color"] not in taken), in_turn[0])
    return found


def words(name: object) -> str:
    """Return a name as it is written in a figure: with spaces, at which a long one may be broken.

    The name of a query in a file of one's own keeps its underscores, which belong to the file's name.
    """
    return (str(name) if ":" in str(name) else str(name).replace("_", " ")).replace("+", " + ")


def despine(figure: Figure) -> None:
    """Remove the upper and the right edge of each panel."""
    import seaborn  # loads slowly, and not every figure needs it

    seaborn.despine(figure)


def annotated_matrix(axes: Axes, matrix: pd.DataFrame, form: str, **shown: Any) -> None:
    """Show a matrix as coloured cells with the entry written in each, and the names of rows and columns.

    form : how an entry is written, a format such as "+.4f"; NaN leaves its cell empty
    shown : further options of `seaborn.heatmap`
    """
    import seaborn  # loads slowly, and not every figure needs it

    options: dict[str, Any] = {"cbar": False, "linewidths": 0.5, "annot_kws": {"fontsize": 9, "color": "black"}} | shown
    seaborn.heatmap(matrix, annot=True, fmt=form, ax=axes, **options)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(left=False, bottom=False, rotation=0)


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG, which a widget can show."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=DPI)
    plt.close(figure)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, and as PDF beside it; return the PNG's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    plt.close(figure)
    return path
