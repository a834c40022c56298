"""What the process of a long run keeps."""

import os
import resource
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
import torch

from mmnas_hf.benchmarks.timing import in_fresh_process
from mmnas_hf.resources import KEPT_KERNELS, KERNEL_CACHE, keep_freed_memory, keep_kernels
from mmnas_hf.speedups import without

SIZE = 2**26  # bytes of a tensor
SETTING, PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled"), Path("/proc/self/smaps_rollup")

needs_linux = pytest.mark.skipif(not PAGES.exists(), reason="this system does not tell a process's pages")


def keep_and_allocate(*off):
    """Whether memory is kept, bytes in huge pages, and faults of a tensor that comes where another was."""
    with without(*off):
        keeps = keep_freed_memory()
    tensor = torch.ones(SIZE // 4)
    lines = PAGES.read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("AnonHugePages:"))
    del tensor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(SIZE // 4)
    return keeps, int(kilobytes) * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_linux
@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="this system has no transparent huge pages"
)
def test_memory_is_kept_in_huge_pages():
    keeps, huge, faults = in_fresh_process(keep_and_allocate)
    if not keeps:
        pytest.skip("this C library cannot keep memory")
    assert huge > SIZE / 2
    assert faults < SIZE / 4096 / 10


@needs_linux
def test_memory_is_not_kept_without_that_speedup():
    keeps, huge, faults = in_fresh_process(keep_and_allocate, "memory")
    assert not keeps
    assert huge < SIZE / 2 or "[always]" in SETTING.read_text()
    assert faults > 0


@needs_linux
def test_an_allocator_that_was_preloaded_is_left_alone():
    found = [path for name in ("tcmalloc_minimal", "jemalloc", "mimalloc") if (path := find_library(name))]
    if not found:
        pytest.skip("none of tcmalloc, jemalloc and mimalloc is installed")
    program = "from mmnas_hf.resources import keep_freed_memory; print(keep_freed_memory())"
    for path in found:
        environment = {**os.environ, "LD_PRELOAD": path}
        run = subprocess.run(
            [sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True
        )
        assert run.stdout.split() == ["False"], path


def test_kernels_are_kept_unless_something_else_is_said(monkeypatch):
    for given, off, expected in ((None, [], str(KEPT_KERNELS)), ("7", [], "7"), (None, ["kernels"], None)):
        monkeypatch.setenv(KERNEL_CACHE, given or "")
        if given is None:
            monkeypatch.delenv(KERNEL_CACHE)
        with without(*off):
            keep_kernels()
        assert os.environ.get(KERNEL_CACHE) == expected
