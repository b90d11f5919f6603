"""What a process has used, as the kernel counts it."""

import contextlib
import os
import re
import resource
from pathlib import Path


def cpu_seconds() -> float:
    """CPU of this process and of its children that have ended, user and system."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cpu_of(process: int) -> float:
    """Seconds of CPU that the threads of another process and its children have taken."""
    pids = [process]
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        pids += [int(child) for child in children]
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    # In nanoseconds; the ticks of /proc/<pid>/stat are too coarse for what a request of nginx takes.
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def all_cpu_of(process: int) -> float:
    """Seconds of CPU of another process since it began, with those of its children that have ended (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def forget_peak() -> None:
    """The highest memory is counted from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Highest resident memory of this process alone; getrusage's would hold what the parent had at the fork."""
    return memory_of("self", "VmHWM")


def memory_of(process: int | str, field: str) -> float:
    """One of the kernel's figures of a process's memory, in MiB (proc(5), status)."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
