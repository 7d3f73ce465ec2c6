"""Configure the memory allocator of a training process. This doubles the training speed on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3), from malloc.h of glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
TOP_PAD_BYTES = 1 << 28


def keep_freed_pages() -> bool:
    """Make glibc keep freed memory instead of returning it to the kernel. Return whether this was possible.

    The function does nothing on other systems (musl, macOS, Windows) or if a MALLOC_... environment variable is set.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version") or not hasattr(libc, "mallopt"):
        return False
    settings = {
        M_MMAP_MAX: 0,  # allocate no block with mmap
        M_TRIM_THRESHOLD: -1,  # never return the free top of the heap
        M_TOP_PAD: TOP_PAD_BYTES,  # grow the heap in large steps
        M_ARENA_MAX: 1,  # share one heap between threads, so that each reuses what others free
    }
    return all([libc.mallopt(parameter, value) == 1 for parameter, value in settings.items()])
