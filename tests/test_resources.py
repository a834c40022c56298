"""What the process of a long run keeps."""

import resource
from pathlib import Path

import pytest
import torch

from mmnas_hf.benchmarks.timing import in_fresh_process
from mmnas_hf.resources import keep_freed_memory
from mmnas_hf.speedups import without

SIZE = 2**26  # bytes of a tensor
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def keep_and_allocate(*off):
    """Whether memory is kept, bytes in huge pages, and faults of a tensor that comes where another was."""
    with without(*off):
        keeps = keep_freed_memory()
    tensor = torch.ones(SIZE // 4)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("AnonHugePages:"))
    del tensor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(SIZE // 4)
    return keeps, int(kilobytes) * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="this system has no transparent huge pages"
)
def test_memory_is_kept_in_huge_pages():
    keeps, huge, faults = in_fresh_process(keep_and_allocate)
    if not keeps:
        pytest.skip("this C library cannot keep memory")
    assert huge > SIZE / 2
    assert faults < SIZE / 4096 / 10


def test_memory_is_not_kept_without_that_speedup():
    keeps, huge, faults = in_fresh_process(keep_and_allocate, "memory")
    assert not keeps
    assert huge < SIZE / 2 or "[always]" in SETTING.read_text()
    assert faults > 0
