"""How far a grid is, in a cell that updates itself."""

import time
from html import escape
from threading import Thread

import ipywidgets

from alutils.errors import one_line
from alutils.grid.preset import find_preset
from alutils.grid.state import states, summary

SECONDS = 2.0  # between two looks
ENDED = ("done", "failed")


def watch(preset: str) -> ipywidgets.HTML:
    """Return what `alutils status` prints of a preset, as a widget that is updated until all jobs have ended.

    Raises `ParameterError` if there is no such preset.
    """
    path = find_preset(preset)
    shown = ipywidgets.HTML(_as_html(summary(states(path))))

    def update() -> None:
        is_ended = False
        while not is_ended:
            time.sleep(SECONDS)
            try:
                found = states(path)
                shown.value, is_ended = _as_html(summary(found)), all(one.state in ENDED for one in found)
            except (ValueError, OSError) as error:  # such as a preset that is being edited
                shown.value = _as_html(one_line(error))

    Thread(target=update, daemon=True).start()
    return shown


def _as_html(text: str) -> str:
    return f'<pre style="line-height: 1.3">{escape(text)}</pre>'
