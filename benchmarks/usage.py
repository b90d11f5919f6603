"""CPU and memory of processes, as the kernel counts them."""

import contextlib
import os
import re
import resource
from pathlib import Path


def cpu_seconds() -> float:
    """Return CPU seconds, user and system, of this process and its children that have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cpu_of(process: int) -> float:
    """Return CPU seconds of the threads of another process and its children."""
    pids = [process]
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        pids += [int(child) for child in children]
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
