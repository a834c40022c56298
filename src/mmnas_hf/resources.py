"""What the process of a long run keeps: memory that is freed, in huge pages, and kernels that were compiled."""

import ctypes
import os
import platform

from .speedups import is_on

RESERVED_BLOCKS, BLOCK_BYTES = 4, 2**31 - 2**21  # as large as glibc lets a block be that lies on its heap
HUGE_PAGE = 2**21
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MADV_HUGEPAGE = 14  # sys/mman.h
LARGEST_INT, NEVER = 2**31 - 1, -1
KERNEL_CACHE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"  # environment variable that oneDNN reads once, at its first product
KEPT_KERNELS = 2**14


def keep_resources() -> None:
    """Let this process keep what a long run asks for again and again; to be called before it computes anything."""
    keep_freed_memory()
    keep_kernels()


def keep_kernels() -> None:
    """Let oneDNN keep all of its kernels, unless the environment says how many.

    It makes one for each shape of operands and keeps 1,024, which batches of images with 10 to 100 regions exceed: then
    it makes them anew in every step, a tenth of it.
    """
    if is_on("kernels"):
        os.environ.setdefault(KERNEL_CACHE, str(KEPT_KERNELS))


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, and ask for huge pages; tells whether its allocator is one that can.

    A step frees what the one before it had allocated. By default it goes back to the system, which hands it out again
    page by page, zeroed: a third of a step on some machines. Address space is reserved here, and no memory used.
    """
    if not is_on("memory") or not has_allocator_of_glibc():
        return False
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST_INT)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    blocks = [block for block in (libc.malloc(BLOCK_BYTES) for _ in range(RESERVED_BLOCKS)) if block]
    for block in blocks:
        first = -(-block // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(first, (block + BLOCK_BYTES - first) // HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)
    return bool(blocks)


def has_allocator_of_glibc() -> bool:
    """Whether memory comes from glibc, and not from an allocator that was preloaded, which has ways of its own."""
    if platform.libc_ver()[0] != "glibc" or platform.system() != "Linux":
        return False
    used, own = (ctypes.cast(ctypes.CDLL(library).malloc, ctypes.c_void_p).value for library in (None, "libc.so.6"))
    return used == own
