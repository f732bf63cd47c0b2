"""Random label maps for round trips, with what breaks them: holes, parts of one pixel, borders, all classes, none."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sides = st.integers(1, 12)
masks = arrays(bool, st.tuples(sides, sides))


def label_maps(classes: int) -> st.SearchStrategy[np.ndarray]:
    """Return maps (H, W) uint8 of classes and void, of single pixels or of blocks."""
    values = st.sampled_from([*range(classes), 255])
    small = arrays(np.uint8, st.tuples(sides, sides), elements=values)
    return st.one_of(small, small.map(lambda label: np.repeat(np.repeat(label, 5, 0), 7, 1)))


def large_map(classes: int, height: int = 3000, width: int = 4000) -> np.ndarray:
    """Return a map as large as a photograph, with rings, stripes of one pixel, dots, and void."""
    rows, columns = np.ogrid[:height, :width]
    label = ((np.hypot(rows - height / 2, columns - width / 3) // 150) % (classes + 1)).astype(np.uint8)
    label[::97, :] = 0
    label[:, ::131] = 1
    dots = np.random.default_rng(0).integers(0, height * width, 5000)
    label.ravel()[dots] = np.arange(5000) % classes
    label[label == classes] = 255
    label[[0, -1], :] = label[:, [0, -1]] = classes - 1
    return label
