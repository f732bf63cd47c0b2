import platform
import subprocess
import sys

import pytest

TEN_TENSORS = """
import resource, sys, torch
if "kept" in sys.argv:
    import alutils.training.loop

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_is_not_fetched_again():
    """In interpreters of their own: in a test session's, anything may have taken a part of what was freed."""

    def faults(*arguments: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", TEN_TENSORS, *arguments]))

    assert faults("kept") < faults() / 10
