"""Which images are labelled: one boolean mask is the whole state."""

import numpy as np


class Pool:
    """A pool of N images; only here are pool positions turned into data-set indices."""

    def __init__(self, size: int):
        self.is_labelled = np.zeros(size, dtype=bool)

    @property
    def labelled(self) -> np.ndarray:
        """Return the data-set indices of the labelled images, ascending."""
        return np.flatnonzero(self.is_labelled)

    @property
    def unlabelled(self) -> np.ndarray:
        """Return the data-set indices of the unlabelled images, ascending."""
        return np.flatnonzero(~self.is_labelled)

    def label(self, positions: np.ndarray) -> np.ndarray:
        """Label the images at `positions` of `unlabelled`; return their data-set indices in that order."""
        indices = self.unlabelled[positions]
        self.is_labelled[indices] = True
        return indices

    def label_indices(self, indices: np.ndarray) -> None:
        """Label images by data-set index, as saved; raise `ValueError` if one was labelled already."""
        if self.is_labelled[indices].any():
            raise ValueError("an image would be labelled twice")
        self.is_labelled[indices] = True
