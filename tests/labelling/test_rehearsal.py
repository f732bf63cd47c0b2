"""An afternoon of labelling, rehearsed on drawn scenes, end to end through files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alutils.labelling import heads
from alutils.labelling.rehearsal import rehearsal


@pytest.mark.slow
def test_hidden_labels_become_labels_round_by_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path))
    monkeypatch.setattr(heads, "RECIPE", replace(heads.RECIPE, steps=60))
    own = rehearsal("streets_tiny", 12, "own", (64, 128))
    assert len(own.hidden) == 12
    first = own.next(3, "bald")
    assert str(first.choice.query) == "typiclust", "nothing is labelled"
    assert own.label(first).clicks[0] > 0
    second = own.next(3, "bald")
    assert str(second.choice.query) == "bald"
    own.label(second)
    table = own.table()
    assert table["labelled"].tolist() == [3, 6]
    assert table["clicks"].is_monotonic_increasing
    assert table["corrections"].iloc[0] == table["clicks"].iloc[0], "without a guess, all is drawn"
    assert table["corrections"].iloc[1] < table["clicks"].iloc[1]
    assert table["miou"].between(0.05, 0.9).all(), "a network of the right classes, on the right images"
    for path in (own.path.parent / "labels").iterdir():
        assert np.array_equal(np.asarray(Image.open(path)), own.hidden[f"{path.stem}.jpg"])
    again = rehearsal("streets_tiny", 12, "own", (64, 128))
    assert not [*(again.path.parent / "labels").iterdir()], "it starts anew"
