"""Memory that a training step frees is kept for the next step."""

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in malloc.h
KEPT = 2**31 - 1  # bytes of free memory that the process may keep
LARGE = 2**30  # bytes; larger tensors are still given back to the system at once


@cache  # one call changes the whole process
def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors instead of giving it back to the system.

    On a CPU each training step allocates what the step before has freed, and the system clears every page that it
    hands out. This function does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, LARGE)
