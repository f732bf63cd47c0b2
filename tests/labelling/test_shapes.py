"""Shapes become classes: polygons by their pixels' centres, upper shapes over lower ones, overlaps refused."""

from typing import Any

import numpy as np
import pytest

from alutils.errors import DataError
from alutils.labelling.shapes import REGION, UNCOVERED, VOID, Drawing, Shape, Shapes, classes_of, filled

NUMBERS = {"road": 0, "car": 1}


def box(label: str, rows: slice, columns: slice, order: int = 0) -> Shape:
    """Return a rectangle on an image of 40x50 pixels."""
    mask = np.zeros((40, 50), bool)
    mask[rows, columns] = True
    return Shape(label, order, 0, 0, mask)


def classes(*shapes: Shape, **options: Any) -> np.ndarray:
    return classes_of(Shapes("a.jpg", (50, 40), shapes), NUMBERS, **options)


def test_a_pixel_belongs_to_a_polygon_that_holds_its_centre():
    square = filled([(1, 1), (3, 1), (3, 3), (1, 3)], 4, 5)
    assert square.astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    triangle = filled([(0, 0), (4, 0), (0, 4)], 4, 4)
    assert triangle.sum(axis=1).tolist() == [4, 3, 2, 1] or triangle.sum(axis=1).tolist() == [3, 2, 1, 0]


def test_polygons_that_share_a_border_share_no_pixel():
    corners = [(0, 0), (50, 0), (50, 40), (0, 40)]
    middle = (23.3, 17.8)
    parts = [filled([corners[side], corners[(side + 1) % 4], middle], 40, 50) for side in range(4)]
    assert np.sum(parts, axis=0).max() == 1
    assert np.sum(parts) >= 0.99 * 40 * 50


@pytest.mark.parametrize("points", [[], [(1, 1)], [(0, 0), (1, 1)], [(0, 0, 0)] * 3, [(0, float("nan"))] * 3])
def test_what_is_no_polygon_is_refused(points: Any):
    with pytest.raises(ValueError, match="polygon"):
        filled(points, 4, 4)


def test_upper_shapes_lie_over_lower_ones_and_the_rest_is_uncovered():
    found = classes(
        box("car", np.s_[10:20], np.s_[:25], order=2),
        box("road", np.s_[:30], np.s_[:], order=1),
        box(VOID, np.s_[25:30], np.s_[:], order=3),
        box(REGION, np.s_[:], np.s_[:], order=4),
    )
    assert np.unique(found).tolist() == [UNCOVERED, 0, 1, 255]
    assert (found[10:20, :25] == 1).all()
    assert (found[25:30] == 255).all()
    assert (found[30:] == UNCOVERED).all()
    assert (found == 0).sum() == 25 * 50 - 250


def test_shapes_of_one_order_and_several_labels_may_share_a_seam_only():
    seam = [box("road", np.s_[:], np.s_[:26]), box("car", np.s_[:4], np.s_[25:])]
    assert (classes(*seam)[:4, 25] == 1).all(), "4 of 2,000 pixels"
    more = [box("road", np.s_[:], np.s_[:26]), box("car", np.s_[:5], np.s_[25:])]
    with pytest.raises(
        DataError, match=r"^a\.jpg: shapes of several labels share 5 pixels; allowed: one label a pixel"
    ):
        classes(*more)
    assert (classes(*more, later_wins=True)[:5, 25] == 1).all()
    assert (classes(box("car", np.s_[:], np.s_[:]), box("car", np.s_[:9], np.s_[:9])) == 1).all(), "one label"


def test_an_unknown_label_is_one_line():
    with pytest.raises(DataError, match=r"^a\.jpg: label 'cars'; did you mean car\? allowed: road, car, ignore$"):
        classes(box("cars", np.s_[:2], np.s_[:2]))


def test_a_drawing_has_one_mask_for_each_class_that_occurs():
    label = np.array([[0, 255, 2], [2, 255, 255]], np.uint8)
    masks = dict(Drawing("a.jpg", label, ["road", "car", "sky"]).masks())
    assert {name: mask.astype(int).tolist() for name, mask in masks.items()} == {
        "road": [[1, 0, 0], [0, 0, 0]],
        "sky": [[0, 0, 1], [1, 0, 0]],
    }
    elsewhere = np.array([[True, False, False]] * 2)
    assert dict(Drawing("a.jpg", label, ["road"], elsewhere).masks())[VOID] is elsewhere
