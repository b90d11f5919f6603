"""The number of connections that the web server may hold, by the process's file descriptors. Pure.

The recorder has the first claim on the descriptors; the web has a share of the rest.
"""

RESERVED = 256
"""Descriptors for the recorder: database, homeserver, chunks, ffmpeg. Half of the limit where that is less."""
MOST_CONNECTIONS = 4000
LONGEST_BACKLOG = 128
ACCEPTED_AT_ONCE = 4
"""The number of times that a full backlog may be accepted before the first of those connections, if refused, is
closed."""


def connections(limit: int) -> int:
    """Return how many connections may be open when the process may open `limit` files."""
    return max(1, min(MOST_CONNECTIONS, (limit - _reserved(limit)) * 3 // 4))


def backlog(limit: int) -> int:
    """Return how many connections may wait to be accepted: each may need a descriptor above `connections` briefly."""
    left = limit - _reserved(limit) - connections(limit)
    return max(2, min(LONGEST_BACKLOG, left // ACCEPTED_AT_ONCE))


def _reserved(limit: int) -> int:
    return min(RESERVED, limit // 2)
