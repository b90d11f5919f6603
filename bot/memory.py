"""Memory of the process: what is freed goes back to the system, and what stays is not searched for garbage."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LARGE = 8 * 1024 * 1024
"""Bytes: the pieces of a cover have 9 to 18 MB, those of sound less, which are faster kept."""
MOST_S = 0.003
"""Seconds of CPU after which a full collection has looked through too much."""
MOST_FROZEN = 500_000
COUNTED_EACH = 16
"""Counting what is kept takes some milliseconds."""
FULL = 2
THRESHOLDS = (700, 10, 2)
"""When garbage is collected: full collections five times as often as by default, so that less came since the last."""
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
    gc.collect()  # nothing is left: the collector waits for a quarter more than what it last went through


@contextmanager
def searched_briefly(
    most_s: float = MOST_S, most_frozen: int = MOST_FROZEN, clock: Callable[[], float] = time.thread_time
) -> Iterator[None]:
    """Keep what is there, and in the block whatever is there when a full collection took long, so that the next one
    looks only through what came since. A full collection holds up all threads, the event loop's too.

    What is kept is freed as ever when nothing refers to it, but not where it refers to itself: once `most_frozen` more
    objects are kept than were left when all were last looked through, all are looked through again.
    """
    keep_what_is_there()
    began, kept = clock(), 0
    bound: int | None = gc.get_freeze_count() + most_frozen  # None: until the next is kept

    def collected(phase: str, info: dict[str, int]) -> None:
        nonlocal began, kept, bound
        if info["generation"] != FULL:
            return
        if phase == "start":
            began = clock()
        elif clock() - began > most_s:
            kept += 1
            if bound is None:
                gc.freeze()
                bound = gc.get_freeze_count() + most_frozen
            elif kept % COUNTED_EACH == 0 and gc.get_freeze_count() > bound:
                gc.unfreeze()
                bound = None
            else:
                gc.freeze()

    before = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*before)


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
