"""Whether the last labels helped: paired on the same photographs, by hand and by plain resampling."""

from pathlib import Path

import numpy as np
import pytest

from alutils.errors import DataError
from alutils.labelling.stopping import Gain, curve, gain, last_confusions, note, save_confusions, score, scores_so_far


def confusion(right: int, wrong: int) -> np.ndarray:
    """Return a photograph of two classes, each with so many pixels right and wrong."""
    return np.array([[right, wrong], [wrong, right]])


def test_the_score_is_the_mean_iou_of_all_photographs_together():
    found = {"a": np.array([[8, 2], [0, 10]]), "b": np.array([[10, 0], [0, 0]])}
    assert score(found) == pytest.approx((18 / 20 + 10 / 12) / 2)


def test_a_gain_is_taken_on_the_photographs_that_both_know():
    before = {name: confusion(60, 40) for name in "abc"}
    now = {name: confusion(80, 20) for name in "abcde"}
    found = gain(before, now)
    assert found
    assert found.photographs == 3
    expected = 80 / 120 - 60 / 140
    assert (found.value, found.low, found.high) == pytest.approx((expected,) * 3)
    assert gain(before, {"a": confusion(1, 1)}) is None


def test_the_interval_is_that_of_photographs_drawn_again_and_again():
    generator = np.random.default_rng(0)
    before = {f"{number}": confusion(50 + int(generator.integers(20)), 30) for number in range(12)}
    now = {name: of + confusion(int(generator.integers(30)), 0) for name, of in before.items()}
    found = gain(before, now)
    assert found
    names, plain = [*before], []
    for _ in range(4000):
        drawn = generator.choice(names, len(names))
        sums = [sum(of[name] for name in drawn) for of in (before, now)]
        plain.append(np.subtract(*(np.diag(of)[0] / (of[0].sum() + of[1, 0]) for of in reversed(sums))))
    low, high = np.quantile(plain, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "helped: +0.020"),
        (-0.03, 0.004, "did not help: "),
        (-0.01, 0.03, "whether the last labels helped is open: "),
    ],
)
def test_what_a_gain_says(low: float, high: float, said: str):
    assert said in str(Gain(8, (low + high) / 2, low, high))


def test_the_newest_batch_with_fewer_labels_is_the_one_before(tmp_path: Path):
    batches = [tmp_path / f"batch{number}" for number in range(4)]
    for batch, names in zip(batches, ["", "ab", "abcd", "abcd"], strict=True):
        batch.mkdir()
        save_confusions(batch, {name: confusion(number, 1) for number, name in enumerate(names)})
    assert {*last_confusions(batches, 4)} == {"a", "b"}
    assert np.array_equal(last_confusions(batches, 6)["d"], confusion(3, 1))
    assert last_confusions(batches, 2) == {}
    (batches[3] / "cross_validation.npz").write_bytes(b"text")
    with pytest.raises(DataError, match=r"batch3/cross_validation\.npz: damaged .*; allowed: remove the folder batch3"):
        last_confusions(batches, 6)


def test_the_history_grows_and_gives_the_curve(tmp_path: Path):
    assert scores_so_far(tmp_path) == {}
    for labelled, value in ((0, None), (8, 0.3871), (8, 0.39), (13, 0.4588)):
        note(tmp_path, {"batch": "batch1", "labelled": labelled, "score": value})
    scores = scores_so_far(tmp_path)
    assert scores == {8: 0.39, 13: 0.4588}
    assert curve(scores | {20: 0.5}) == "0.390 with 8, 0.459 with 13, 0.500 with 20"
    (tmp_path / "history.csv").write_text("labelled\nmany\n")
    with pytest.raises(DataError, match=r"history\.csv: damaged \(.*; allowed: remove the file"):
        scores_so_far(tmp_path)
