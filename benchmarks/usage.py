"""CPU and memory of processes, as the kernel counts them."""

import asyncio
import contextlib
import os
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATABASE: list[int] = []
"""The first process of the database's server, where the benchmark runs over one."""


def cpu_seconds() -> float:
    """Return CPU seconds, user and system, of this process, its children that have ended, and the database's server."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + database_cpu()


def database_cpu() -> float:
    """Return CPU seconds of the database's server; 0 where the database is a file."""
    total = 0.0
    for server in DATABASE:
        for process in (server, *_children_of(server)):
            with contextlib.suppress(OSError):  # one that has ended is counted with the server
                total += all_cpu_of(process)
    return total


def _children_of(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def cpu_of(process: int) -> float:
    """Return CPU seconds of the threads of another process and its children."""
    pids = (process, *_children_of(process))
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    # In nanoseconds; the ticks of /proc/<pid>/stat are too coarse for a request to nginx.
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def all_cpu_of(process: int) -> float:
    """Return CPU seconds of another process since its start, with its children that have ended (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def children_cpu_of(process: int) -> float:
    """Return CPU seconds of the children of another process that have ended (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def resident_mib(process: int) -> float:
    """Return the resident memory of another process, without its children."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


@dataclass
class Turn:
    """The CPU time of the longest callback of the event loop, in seconds."""

    longest_s: float = 0.0


@contextlib.contextmanager
def longest_turn() -> Iterator[Turn]:
    """Measure each callback of the event loop in the block, in CPU time: by the clock, it would hold what else the
    machine does."""
    turn, run = Turn(), asyncio.Handle._run

    def timed_run(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        turn.longest_s = max(turn.longest_s, time.thread_time() - began)

    asyncio.Handle._run = timed_run  # type: ignore[assignment,method-assign]
    try:
        yield turn
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


def forget_peak() -> None:
    """Reset the peak of the memory (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Return the peak resident memory of this process; getrusage would include the parent's at the fork."""
    return memory_of("self", "VmHWM")


def memory_of(process: int | str, field: str) -> float:
    """Return one of the kernel's memory figures of a process, in MiB (proc(5), status)."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
