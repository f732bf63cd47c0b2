"""The pool: which of its pieces (images or regions) are labelled, and since which round."""

import hashlib

import numpy as np

UNLABELLED = -1


class Pool:
    """A pool of P pieces. Its whole state is one array, the round in which each piece is labelled.

    Only here are positions among the unlabelled pieces turned into numbers of pieces.
    """

    def __init__(self, size: int):
        self._round_of = np.full(size, UNLABELLED)

    @property
    def labelled_pieces(self) -> np.ndarray:
        """Return the numbers of all labelled pieces, ascending."""
        return np.flatnonzero(self._round_of != UNLABELLED)

    @property
    def unlabelled_pieces(self) -> np.ndarray:
        """Return the numbers of the unlabelled pieces, ascending."""
        return np.flatnonzero(self._round_of == UNLABELLED)

    @property
    def last_round(self) -> int:
        """Return the last round for which pieces are labelled; one-shot runs label all rounds ahead."""
        return int(self._round_of.max())

    def labelled_by(self, round_number: int) -> np.ndarray:
        """Return the numbers of the pieces that are labelled in this round or an earlier one, ascending."""
        return np.flatnonzero((self._round_of != UNLABELLED) & (self._round_of <= round_number))

    def labelled_in(self, round_number: int) -> np.ndarray:
        """Return the numbers of the pieces that are labelled in this round, ascending."""
        return np.flatnonzero(self._round_of == round_number)

    def checksum(self, round_number: int) -> str:
        """Return the SHA-256 of what is labelled in this round and earlier ones, and since when."""
        until = np.where(self._round_of <= round_number, self._round_of, UNLABELLED)
        return hashlib.sha256(until.astype(np.int64).tobytes()).hexdigest()

    def label(self, positions: np.ndarray, round_number: int) -> np.ndarray:
        """Label the pieces at `positions` of `unlabelled_pieces`; return their numbers in that order."""
        pieces = self.unlabelled_pieces[positions]
        self._round_of[pieces] = round_number
        return pieces

    def label_pieces(self, pieces: np.ndarray, round_number: int) -> None:
        """Label pieces by their numbers; raise `ValueError` if one is not there or is labelled already."""
        if len(pieces) and not 0 <= pieces.min() <= pieces.max() < len(self._round_of):
            raise ValueError(f"piece {pieces.max()} of {len(self._round_of)} would be labelled")
        if (self._round_of[pieces] != UNLABELLED).any() or len(np.unique(pieces)) < len(pieces):
            raise ValueError("a piece would be labelled twice")
        self._round_of[pieces] = round_number
