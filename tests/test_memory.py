import platform
import resource

import pytest
import torch

import alutils.training  # noqa: F401 - keeps freed memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_is_not_fetched_again():

    def faults_of_ten_tensors() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**24)  # 2**14 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults_of_ten_tensors()
    assert faults_of_ten_tensors() < 2**14
