"""Reductions by hand, and those that a query names."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from alutils.queries.parts import Interior, Sum, Top
from alutils.queries.reductions import interior_mean, mean_over_image, reduction_of, sum_over_image, top_mean

MAPS = torch.tensor([[[0.0, 1.0], [2.0, 5.0]], [[4.0, 4.0], [4.0, 4.0]]])


def test_reductions_by_hand():
    assert mean_over_image(MAPS).tolist() == [2.0, 4.0]
    assert sum_over_image(MAPS).tolist() == [8.0, 16.0]
    assert top_mean(MAPS, share=0.5).tolist() == [3.5, 4.0]
    assert top_mean(MAPS, share=0.01).tolist() == [5.0, 4.0], "of one pixel at least"


@example(7, 10, 10, 0)  # 0.07 * 100 is above 7 in floating point
@given(st.integers(1, 100), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_top_share_is_of_whole_pixels_rounded_up(percent: int, height: int, width: int, seed: int):
    scores = torch.from_numpy(np.random.default_rng(seed).random((2, height, width)))
    count = -(-percent * height * width // 100)  # in whole numbers
    expected = [sorted(image.flatten().tolist())[-count:] for image in scores]
    found = top_mean(scores, share=percent / 100)
    assert found.tolist() == pytest.approx([sum(highest) / count for highest in expected])


@pytest.mark.parametrize("reduction", [mean_over_image, sum_over_image, partial(top_mean, share=0.1)])
def test_a_digits_score_is_its_own(reduction: Callable[[Tensor], Tensor]):
    assert reduction(torch.tensor([3.0, 4.0])).tolist() == [3.0, 4.0]
    assert interior_mean(torch.tensor([3.0]), torch.tensor([[0.5, 0.5]]), width=1).tolist() == [3.0]


def test_the_interior_leaves_out_what_lies_along_outlines():
    classes = torch.tensor([[[0, 0, 0, 1, 1, 1]] * 2, [[0, 1, 0, 1, 0, 1]] * 2])  # (N, H, W)
    probability = torch.nn.functional.one_hot(classes, 2).permute(0, 3, 1, 2).float()
    scores = torch.tensor([[[1.0, 2, 9, 9, 3, 4]] * 2, [[1.0, 2, 3, 4, 5, 6]] * 2])
    assert interior_mean(scores, probability, width=1).tolist() == [2.5, 3.5], "all outline: all of it"
    assert interior_mean(scores, probability, width=2).tolist() == [2.5, 3.5]


def plain_interior_mean(scores: np.ndarray, classes: np.ndarray, width: int) -> float:
    """Return the interior mean of one image, a pixel and its surroundings at a time."""
    inside = np.zeros(classes.shape, bool)
    for row, column in np.ndindex(classes.shape):
        around = classes[max(row - width, 0) : row + width + 1, max(column - width, 0) : column + width + 1]
        inside[row, column] = (around == classes[row, column]).all()
    return float(scores[inside].mean() if inside.any() else scores.mean())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_interior_is_that_of_a_plain_loop(width: int, size: int, seed: int):
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 3, (4, 3, 3)).repeat(size, axis=1).repeat(size + 1, axis=2)  # (N, H, W)
    scores = generator.random(classes.shape)
    probability = np.moveaxis(np.eye(3)[classes] * 0.4 + 0.2, -1, 1)
    found = interior_mean(torch.from_numpy(scores), torch.from_numpy(probability), width=width)
    expected = [plain_interior_mean(of, predicted, width) for of, predicted in zip(scores, classes, strict=True)]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("reduction", [mean_over_image, sum_over_image, partial(top_mean, share=0.3)])
def test_pixels_in_a_row_are_reduced_as_those_of_a_map(reduction: Callable[[Tensor], Tensor]):
    scores = torch.rand(3, 5, 7, generator=torch.manual_seed(0))
    torch.testing.assert_close(reduction(scores.flatten(1)), reduction(scores))


def test_a_querys_part_names_a_reduction():
    assert reduction_of(None) is mean_over_image
    assert reduction_of(Sum())(MAPS).tolist() == [8.0, 16.0]
    assert reduction_of(Top(0.5))(MAPS).tolist() == [3.5, 4.0]
    interior = reduction_of(Interior(2))
    assert (interior.func, interior.keywords) == (interior_mean, {"width": 2})  # type: ignore[attr-defined]
