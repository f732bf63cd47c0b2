"""Memory that a step frees is kept for the next one."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 2**31 - 1  # bytes that may lie free
LARGE = 2**30  # bytes of a tensor that is still given back at once


def keep_freed_memory() -> None:
    """Tell the C library not to hand large freed tensors back to the system, which would clear each page again.

    On a CPU, each training step frees what the next asks for again. Nothing happens where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, LARGE)
