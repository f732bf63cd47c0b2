"""The widgets show what the screen says, for whatever is done to them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from explored import DIGITS, REGIONS, SCENES, finished

from alutils.errors import ParameterError
from alutils.explorer.pictures import jpeg
from alutils.explorer.ranking import ERROR, TEST
from alutils.explorer.screen import NOTHING
from alutils.explorer.widget import Explorer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_provenance")]
RANDOM, BALD = replace(SCENES, query="random"), replace(SCENES, query="bald")


@pytest.fixture
def explorer(tiny_everywhere: None) -> Explorer:
    for config in (RANDOM, SCENES, REGIONS):
        finished(config)
    return Explorer("e")


def test_every_control_changes_what_is_shown(explorer: Explorer):
    assert explorer.state.run == REGIONS.run_name, "the first whose query asks a committee"
    changes: list[dict[str, Any]] = [
        {"run": SCENES.run_name},
        {"beside": RANDOM.run_name},
        {"number": 1},
        {"rank": 2},
        {"score": "margin"},
    ]
    for change in [*changes, {"which": TEST}, {"order": ERROR}, {"class_name": "b", "rank": 1}]:
        before = explorer.picture.value, explorer.text.value
        explorer.set(**change)
        explorer.wait()
        assert (explorer.picture.value, explorer.text.value) != before, change
        assert explorer.picture.value == jpeg(explorer.screen.picture(explorer.state))
        assert explorer.text.value == explorer.screen.text(explorer.state)
        assert explorer.said.value == ""


def test_another_run_offers_its_own_rounds_scores_and_companions(explorer: Explorer, tiny_everywhere: None):
    finished(BALD)
    explorer = Explorer("e")
    explorer.set(run=SCENES.run_name, beside=RANDOM.run_name, number=2)
    explorer.wait()
    assert explorer._controls["number"].max == 2
    explorer.set(run=RANDOM.run_name)
    explorer.wait()
    assert explorer.state.beside == NOTHING, "a run does not stand beside itself"
    assert explorer._controls["beside"].options == (NOTHING, BALD.run_name, REGIONS.run_name, SCENES.run_name)
    explorer.set(run=BALD.run_name)
    explorer.wait()
    assert explorer.state.score == "mutual_information", "each run's own score"
    explorer.set(score="margin", run=SCENES.run_name)
    explorer.wait()
    assert explorer.state.score == "margin", "a score that was chosen stays"


def test_clicks_lead_to_rounds_images_and_pixels(explorer: Explorer):
    explorer.set(run=SCENES.run_name)
    explorer.wait()
    curve = explorer.screen.curve(SCENES.run_name, NOTHING)
    column = int(np.flatnonzero((curve.marked(1)[100] == (200, 0, 0)).all(axis=1))[0])
    explorer._events[1]._dom_handlers.callbacks[0]({"dataX": column, "dataY": 100})
    explorer.wait()
    assert explorer.state.number == 1
    explorer._events[2]._dom_handlers.callbacks[0]({"dataX": 130, "dataY": 40})
    explorer.wait()
    assert explorer.state.rank == 2
    explorer._events[0]._dom_handlers.callbacks[0]({"dataX": 55, "dataY": 80})
    explorer.wait()
    assert "row 5, column 5" in explorer.pixel.value
    explorer.set(rank=1)
    explorer.wait()
    assert explorer.pixel.value == explorer.screen.pixel(explorer.state, 55, 80), "the pixel of the next image"


def test_what_goes_wrong_is_said_and_the_screen_stays(explorer: Explorer, monkeypatch: pytest.MonkeyPatch):
    explorer.set(run=SCENES.run_name)
    explorer.wait()
    shown = explorer.picture.value
    (explorer.screen.runs[SCENES.run_name].run.path / "networks1.pt").unlink()
    explorer.screen.runs[SCENES.run_name].look.cache_clear()
    explorer.set(number=1)
    explorer.wait()
    assert "holds no networks of round 1" in explorer.said.value
    assert explorer.picture.value == shown
    explorer.set(number=0)
    explorer.wait()
    assert explorer.said.value == ""


def test_long_orders_say_how_far_they_are(explorer: Explorer):
    said = list[str]()
    explorer.said.observe(lambda change: said.append(change["new"]), "value")
    explorer.set(run=SCENES.run_name, which=TEST)
    explorer.wait()
    explorer.set(order=ERROR)
    explorer.wait()
    assert "asking the committee: 10 of 12 images" in said


def test_digits_can_be_explored():
    finished(DIGITS)
    explorer = Explorer("e", DIGITS.run_name)
    explorer.set(which=TEST, rank=5)
    explorer.wait()
    assert explorer.picture.value == jpeg(explorer.screen.picture(explorer.state))


def test_an_unknown_run_is_one_line(explorer: Explorer):
    with pytest.raises(ParameterError, match="run is 'tiny-unet_small-rando-seed0'; did you mean"):
        Explorer("e", "tiny-unet_small-rando-seed0")
