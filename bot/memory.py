"""Memory of the process: what is freed goes back to the system, and what stays is not searched for garbage."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 8 * 1024 * 1024
"""Bytes: the pieces of a cover have 9 to 18 MB, those of sound less, which are faster kept."""
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage while modules are imported, and don't look through them before `keep_what_is_there`: nearly
    all of it stays, and to search it again and again takes a sixth of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_what_is_there() -> None:
    """Collect garbage once, and don't look through what is left again: each full collection would block for 0.1 s."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


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
