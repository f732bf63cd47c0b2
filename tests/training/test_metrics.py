import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alutils.training.metrics import accuracy, class_iou, confusion_matrix, mean_iou

# Class 0 is hit once and missed once, class 1 is hit twice, class 2 is not there, the last one is void.
PREDICTED, LABELS = [0, 1, 1, 1, 0], [0, 0, 1, 1, 255]
CONFUSION = [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_confusion_matrix_by_hand() -> None:
    confusion = confusion_matrix(torch.tensor(PREDICTED), torch.tensor(LABELS), 3)
    assert confusion.tolist() == CONFUSION
    assert confusion.dtype == torch.int64


def test_confusion_matrix_of_scenes_counts_pixels() -> None:
    predictions, labels = (torch.tensor(values).reshape(1, 1, 5) for values in (PREDICTED, LABELS))  # (N, H, W)
    assert confusion_matrix(predictions, labels, 3).tolist() == CONFUSION


def test_scores_by_hand() -> None:
    confusion = torch.tensor(CONFUSION)
    assert accuracy(confusion) == 3 / 4
    iou = class_iou(confusion)
    assert iou[:2].tolist() == [1 / 2, 2 / 3]
    assert math.isnan(iou[2])
    assert mean_iou(confusion) == pytest.approx(7 / 12)  # class 2 is left out


def test_a_class_predicted_but_absent_has_iou_0() -> None:
    confusion = confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
    assert class_iou(confusion).tolist() == [1 / 2, 0]
    assert mean_iou(confusion) == 1 / 4


pixels = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), min_size=2, max_size=30)


@settings(deadline=None)
@given(pixels, st.data())
def test_batches_sum_to_the_whole(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    predictions, labels = torch.tensor(pairs).T
    cut = data.draw(st.integers(1, len(pairs) - 1))
    parts = [confusion_matrix(predictions[s], labels[s], 4) for s in (slice(None, cut), slice(cut, None))]
    whole = confusion_matrix(predictions, labels, 4)
    assert torch.equal(parts[0] + parts[1], whole)
    assert whole.sum() == (labels != 255).sum()
