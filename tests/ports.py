"""Ports of loopback for servers that tests start.

A port that was free a moment ago may be somebody's when the server asks for it, seconds later, or again after a
restart: other processes of the run open connections all the time, and the system takes their ports from the same
numbers.
"""

import socket

_kept: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nobody else gets before this process ends.

    A socket keeps it that is bound and does not listen. The system gives its number to nobody who asks for any, while
    a server, which sets SO_REUSEADDR, may still listen there (socket(7)), and a connection to it is refused until then.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    _kept.append(keeper)
    return int(keeper.getsockname()[1])
