"""Acquisitions: rows and pool say the same, whether labelled now or restored."""

import numpy as np
import pytest

from alutils.datasets import ImageDataset
from alutils.queries.regions import Pieces
from alutils.runs.acquisition import Acquisitions, image_rows, piece_rows


def test_rows_and_pool_agree_after_labelling_and_after_restoring(tiny_scenes: ImageDataset):
    pieces = Pieces(tiny_scenes, None)
    acquired = Acquisitions(pieces)
    acquired.label(image_rows(tiny_scenes, np.array([7, 2]), np.full(2, np.nan), 0))
    acquired.label(piece_rows(pieces, np.array([9]), np.array([0.5]), 1))
    assert [(row["round"], row["rank"], row["index"]) for row in acquired.rows] == [(0, 0, 7), (0, 1, 2), (1, 0, 9)]
    assert acquired.pool.labelled_in(0).tolist() == [2, 7]
    assert acquired.pool.labelled_by(1).tolist() == [2, 7, 9]
    assert acquired.room(5) == 2
    assert acquired.total_cost(0)["labelled_pixels"] == 2 * 24 * 32
    restored = Acquisitions(pieces)
    restored.restore(acquired.rows)
    assert restored.rows == acquired.rows
    assert restored.pool.labelled_in(0).tolist() == [2, 7]
    assert restored.total_cost(1) == acquired.total_cost(1)


def test_an_image_cannot_be_acquired_twice(tiny_scenes: ImageDataset):
    acquired = Acquisitions(Pieces(tiny_scenes, None))
    rows = image_rows(tiny_scenes, np.array([7]), np.zeros(1), 0)
    acquired.label(rows)
    with pytest.raises(ValueError, match="twice"):
        acquired.label(rows)
