"""How a training process keeps its memory: on a CPU this decides half of its speed."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3), from malloc.h of glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
TOP_PAD_BYTES = 1 << 28


def keep_freed_pages() -> bool:
    """Make glibc keep what it frees, for the rest of the process; whether it was done.

    A training step on a CPU allocates and frees hundreds of megabytes of activations. glibc gets blocks that
    large from the kernel and gives them back at once, so every step takes new pages, which the kernel
    clears one fault at a time: half of the time of a step. Kept on the heap, the pages are there already.

    Elsewhere (musl, macOS, Windows), or where the environment sets MALLOC_... itself, nothing is done.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version") or not hasattr(libc, "mallopt"):
        return False
    settings = {
        M_MMAP_MAX: 0,  # no block comes from mmap, however large
        M_TRIM_THRESHOLD: -1,  # the heap's free top is never given back
        M_TOP_PAD: TOP_PAD_BYTES,  # and grows in large steps
        M_ARENA_MAX: 1,  # one heap for all threads: what one frees another can use
    }
    return all([libc.mallopt(parameter, value) == 1 for parameter, value in settings.items()])
