"""Memory of the process: what is freed goes back to the system."""

import ctypes

LARGE = 8 * 1024 * 1024
"""Bytes: the pieces of a cover have 9 to 18 MB, those of sound less, which are faster kept."""
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


def give_back_large_pieces() -> bool:
    """Have glibc keep no freed piece of this size; return whether it will. By itself it learns from the first cover to
    keep up to 32 MB of each thread for the next one; other C libraries keep none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, LARGE))


def give_back_what_is_free() -> None:
    """Have glibc give back what lies free between pieces in use, as after templates were compiled. Blocks for some
    milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
