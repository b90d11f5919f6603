"""File descriptors of the process: how many it may open, and how many are open."""

import os
import resource
from contextlib import suppress

MOST = 1 << 16
"""The limit that is used where the system sets none."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a system that knows a lower limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """Return how many descriptors may be open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)


def used() -> int:
    """Return how many descriptors are open now. Counting takes time in proportion to their number."""
    return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208  names only, and no objects for thousands of them
