"""One seed per purpose, so that nothing random depends on what was drawn before it."""

import zlib

import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed fixed by `seed` and `purpose`, e.g. `derive_seed(3, "epoch", round, epoch)`."""
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in purpose]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a NumPy generator fixed by `seed` and `purpose`."""
    return np.random.default_rng(derive_seed(seed, *purpose))
