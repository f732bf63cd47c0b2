import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alutils.runs.pool import Pool


def test_positions_become_numbers_of_pieces() -> None:
    pool = Pool(5)
    assert pool.label(np.array([3, 1]), 0).tolist() == [3, 1]
    assert pool.unlabelled_pieces.tolist() == [0, 2, 4]
    assert pool.label(np.array([2, 0]), 1).tolist() == [4, 0]  # positions among 0, 2, 4
    assert pool.labelled_pieces.tolist() == [0, 1, 3, 4]
    assert pool.unlabelled_pieces.tolist() == [2]


@given(st.integers(1, 30), st.data())
def test_labelled_and_unlabelled_partition_the_pool(size: int, data: st.DataObject) -> None:
    pool, replayed, number = Pool(size), Pool(size), 0
    while len(pool.unlabelled_pieces):
        positions = st.lists(st.integers(0, len(pool.unlabelled_pieces) - 1), unique=True, min_size=1)
        before, chosen = pool.unlabelled_pieces, np.array(data.draw(positions))
        pieces = pool.label(chosen, number)
        replayed.label_pieces(pieces, number)
        assert pieces.tolist() == before[chosen].tolist()
        assert set(pieces) == set(before) - set(pool.unlabelled_pieces)
        assert sorted([*pool.labelled_pieces, *pool.unlabelled_pieces]) == list(range(size))
        assert np.array_equal(pool.labelled_pieces, replayed.labelled_pieces)
        assert pool.labelled_in(number).tolist() == sorted(pieces)
        number += 1


def test_rounds_that_are_labelled_ahead_do_not_count_before_their_turn() -> None:
    pool = Pool(4)
    assert pool.last_round == -1
    for number, piece in enumerate([2, 0, 3]):
        pool.label_pieces(np.array([piece]), number)
    assert [pool.labelled_by(number).tolist() for number in range(3)] == [[2], [0, 2], [0, 2, 3]]
    assert [pool.labelled_in(number).tolist() for number in range(4)] == [[2], [0], [3], []]
    assert pool.last_round == 2


@pytest.mark.parametrize("pieces", [[1, 2], [1, 1]])
def test_labelling_twice_is_refused_and_changes_nothing(pieces: list[int]) -> None:
    pool = Pool(4)
    pool.label_pieces(np.array([2]), 0)
    with pytest.raises(ValueError, match="twice"):
        pool.label_pieces(np.array(pieces), 1)
    assert pool.labelled_pieces.tolist() == [2]


@pytest.mark.parametrize("piece", [-1, 4])
def test_a_piece_that_is_not_there_is_refused(piece: int) -> None:
    pool = Pool(4)
    pool.label_pieces(np.array([], int), 0)
    with pytest.raises(ValueError, match="would be labelled"):
        pool.label_pieces(np.array([1, piece]), 0)
    assert pool.labelled_pieces.tolist() == []
    pool.label_pieces(np.arange(4), 0)


def test_the_checksum_is_of_what_is_labelled_up_to_a_round_and_since_when() -> None:
    def checksums(*rounds: list[int]) -> list[str]:
        pool = Pool(4)
        for number, pieces in enumerate(rounds):
            pool.label_pieces(np.array(pieces), number)
        return [pool.checksum(number) for number in range(len(rounds))]

    whole = checksums([2, 0], [3], [1])
    assert len(set(whole)) == 3
    assert checksums([0, 2], [3]) == whole[:2], "neither the order in a round counts, nor what comes later"
    assert checksums([2, 0], [1])[1] != whole[1]
    assert checksums([2], [0, 3])[1] != whole[1], "the same pieces, one of them later"
    assert whole[0] == hashlib.sha256(np.array([0, -1, 0, -1], np.int64).tobytes()).hexdigest(), "as runs have saved it"


def test_a_position_outside_the_unlabelled_is_refused() -> None:
    pool = Pool(3)
    pool.label(np.array([0]), 0)
    with pytest.raises(IndexError):
        pool.label(np.array([2]), 1)
