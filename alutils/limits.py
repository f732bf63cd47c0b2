"""The limit on memory that `ulimit -v` sets, named where a failure may come from it."""

import re
import resource

from alutils.errors import ParameterError, shortened

LEAST = 2**30  # bytes; numpy waits for ever for less than a sixth of it
LACK = re.compile(r"memory|failed to map|start new thread|MemoryError", re.IGNORECASE)


def check_memory() -> None:
    """Raise `ParameterError` if this process may not have as much memory as Python and its libraries need."""
    if memory_limit() < LEAST:
        raise ParameterError(f"{limit_note()}; allowed: {LEAST // 1024} or more, and with PyTorch a few times that")


def memory_limit() -> float:
    """Return how many bytes of addresses this process may have; infinity without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def limit_note() -> str:
    """Return in words how much memory this process may have; empty without a limit."""
    limit = memory_limit()
    return "" if limit == float("inf") else f"memory is limited to {limit / 1e9:.1f} GB (ulimit -v {limit / 1024:.0f})"


def explained(reason: str) -> str:
    """Return why something failed, and with it the limit on memory if there is one and it may be the cause."""
    note = limit_note()
    if not note or note in reason or not LACK.search(reason):
        return reason
    return f"{shortened(reason, 200)}; {note}, set a higher one or none"


def lacks_memory(error: Exception) -> bool:
    """Tell whether an error comes from a lack of memory; libraries fail in many ways below a limit."""
    return isinstance(error, MemoryError) or (bool(limit_note()) and isinstance(error, (ImportError, SystemError)))
