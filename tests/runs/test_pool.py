import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alutils.runs.pool import Pool


def test_positions_become_dataset_indices() -> None:
    pool = Pool(5)
    assert pool.label(np.array([3, 1])).tolist() == [3, 1]
    assert pool.unlabelled.tolist() == [0, 2, 4]
    assert pool.label(np.array([2, 0])).tolist() == [4, 0]  # positions among 0, 2, 4
    assert pool.labelled.tolist() == [0, 1, 3, 4]
    assert pool.unlabelled.tolist() == [2]


@given(st.integers(1, 30), st.data())
def test_labelled_and_unlabelled_partition_the_pool(size: int, data: st.DataObject) -> None:
    pool, replayed = Pool(size), Pool(size)
    while len(pool.unlabelled):
        positions = st.lists(st.integers(0, len(pool.unlabelled) - 1), unique=True, min_size=1)
        before, chosen = pool.unlabelled, np.array(data.draw(positions))
        indices = pool.label(chosen)
        replayed.label_indices(indices)
        assert indices.tolist() == before[chosen].tolist()
        assert set(indices) == set(before) - set(pool.unlabelled)
        assert sorted([*pool.labelled, *pool.unlabelled]) == list(range(size))
        assert np.array_equal(pool.labelled, replayed.labelled)


def test_labelling_twice_is_refused_and_changes_nothing() -> None:
    pool = Pool(4)
    pool.label_indices(np.array([2]))
    with pytest.raises(ValueError, match="twice"):
        pool.label_indices(np.array([1, 2]))
    assert pool.labelled.tolist() == [2]


def test_a_position_outside_the_unlabelled_is_refused() -> None:
    pool = Pool(3)
    pool.label(np.array([0]))
    with pytest.raises(IndexError):
        pool.label(np.array([2]))
