"""The learning curves of two runs, as a picture on which a round can be marked, and found by a click."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alutils.explorer.opened import OpenedRun
from alutils.results.analysis import measure_of
from alutils.results.figures.style import MEASURE_LABELS, query_styles, words

MARK = (200, 0, 0)


class Curve:
    """The learning curves of runs that are looked at, and thin those of the same queries with other seeds.

    shown : the runs; a round that is marked or clicked is one of the first
    others : the tables of rounds of the other seeds' runs, with the queries' names
    """

    def __init__(self, shown: Sequence[OpenedRun], others: Sequence[tuple[str, pd.DataFrame]] = ()):
        figure = Figure(figsize=(5, 2.8), dpi=100, layout="constrained")  # not pyplot's, which belongs to one thread
        canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
        styles, measure = query_styles(run.config.query for run in shown), measure_of(shown[0].rounds)
        for query, rounds in others:
            axes.plot(rounds["labelled"], rounds[measure], color=styles[query]["color"], alpha=0.3, lw=0.8)
        for run in shown:
            of_query: Mapping = styles[run.config.query]
            axes.plot(run.rounds["labelled"], run.rounds[measure], ms=5, label=words(run.config.query), **of_query)
        axes.set(xlabel="labelled images", ylabel=MEASURE_LABELS[measure])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
        canvas.draw()
        self._picture = np.asarray(canvas.buffer_rgba())[..., :3]
        ends = axes.get_window_extent()
        height = len(self._picture)
        self._rows = slice(int(height - ends.y1), int(height - ends.y0))
        at = [axes.transData.transform((labelled, 0))[0] for labelled in shown[0].rounds["labelled"]]
        self._columns = np.clip(np.round(at).astype(int), 1, self._picture.shape[1] - 2)

    def marked(self, number: int) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 with a vertical line at a round."""
        picture, column = self._picture.copy(), self._columns[number]
        picture[self._rows, column - 1 : column + 1] = MARK
        return picture

    def round_at(self, column: int) -> int:
        """Return the round whose point is nearest to a column of the picture."""
        return int(np.abs(self._columns - column).argmin())
