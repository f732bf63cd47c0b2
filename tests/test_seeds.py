import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alutils.seeds import derive_seed, numpy_generator

purposes = st.lists(st.integers(0, 99) | st.text("abc", max_size=5), min_size=1, max_size=3).map(tuple)


def test_pinned_value() -> None:
    assert derive_seed(3, "epoch", 1, 2) == 5593586718838012710  # another one would change every run


@given(st.integers(0, 2**63 - 1), purposes)
def test_same_purpose_same_seed_of_63_bits(seed: int, purpose: tuple[str | int, ...]) -> None:
    derived = derive_seed(seed, *purpose)
    assert 0 <= derived < 2**63
    np.random.default_rng(derived).random(7)  # other draws change nothing
    assert derive_seed(seed, *purpose) == derived


@given(st.lists(st.tuples(st.integers(0, 99), st.text("abc", max_size=5), st.integers(0, 99)), unique=True))
def test_other_seeds_purposes_and_rounds_differ(parts: list[tuple[int, str, int]]) -> None:
    assert len({derive_seed(seed, purpose, number) for seed, purpose, number in parts}) == len(parts)


def test_parts_do_not_run_together() -> None:
    assert derive_seed(3, "order", 12) != derive_seed(3, "order", 1, 2)
    assert derive_seed(3, "a", "b") != derive_seed(3, "ab")
    assert derive_seed(3, "a", 1, 2) != derive_seed(3, "a", 2, 1)


def test_order_of_other_draws_is_irrelevant() -> None:
    first = numpy_generator(0, "start").random(3), numpy_generator(0, "query", 1).random(3)
    second = numpy_generator(0, "query", 1).random(3), numpy_generator(0, "start").random(3)
    assert np.array_equal(first, second[::-1])
    assert not np.array_equal(first[0], first[1])
