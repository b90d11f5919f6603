"""The time that callbacks keep the event loop for."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch


@dataclass
class Longest:
    """The callback of the most CPU time: other processes of the machine don't count."""

    cpu_s: float = 0
    wall_s: float = 0
    what: str = ""


@contextmanager
def callbacks_timed() -> Iterator[Longest]:
    """Time each callback of the event loop, without the collection of garbage that tests before left."""
    longest, run = Longest(), asyncio.events.Handle._run

    def timed(handle: asyncio.events.Handle) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        longest.wall_s = max(longest.wall_s, wall)
        if cpu > longest.cpu_s:
            longest.cpu_s, longest.what = cpu, repr(handle)

    gc.collect()
    gc.disable()
    try:
        with patch.object(asyncio.events.Handle, "_run", timed):
            yield longest
    finally:
        gc.enable()
