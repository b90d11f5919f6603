"""The part of a database that each kind of it does in its own way: connections, turns of writers, news of commits."""

import json
from collections.abc import Collection
from typing import Any, Protocol

from storage.asyncsql import AsyncConnection as Connection
from storage.asyncsql import AsyncEngine
from storage.commits import Changes
from storage.errors import StoreError

READERS = 4
LISTEN_EVERY_S = 1.0
"""Seconds between two looks for commits of other processes, where nothing tells of them."""


class Fence(Protocol):
    """The check of an owner before it writes. Its connections have a name, by which its successor finds them."""

    @property
    def name(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    def check(self) -> None:
        """Raise OwnerLostError unless this process may still take itself for the owner. The database is asked with the
        beginning of the transaction."""

    def passed(self) -> StoreError:
        """Note that the database named another owner, and return the error for it."""


class Engines(Protocol):
    """The connections of one database."""

    writer: AsyncEngine
    claimer: AsyncEngine
    """Connections for claims of jobs: where claimers pass by each other, they need not wait for writers."""
    readers: AsyncEngine

    async def take_turn(self, connection: Connection) -> None:
        """Wait until no other process writes; the turn ends with the transaction."""

    async def stand_beside(self, connection: Connection) -> None:
        """Do what a transaction of claims needs before it writes."""

    async def tell(self, connection: Connection, tables: Collection[str | None]) -> None:
        """Tell other processes of a commit to these tables, if and when the transaction commits."""

    async def size(self, connection: Connection) -> int:
        """Return the bytes that the database takes."""

    async def listen(self, changes: Changes) -> None:
        """Notify of commits by other processes; until cancelled."""

    async def settle(self) -> None:
        """Have everything on the disk that was committed, so that a power cut can't take it back."""

    def abandon(self) -> None:
        """Break off all statements, and begin no more."""

    def trouble(self, error: BaseException) -> StoreError | None:
        """Return the store's error for a database error with an outside cause; None for a bug of ours."""


def loads(text: str) -> Any:
    """Read JSON. Most columns of it hold an empty list, in every row of a long list."""
    return [] if text == "[]" else json.loads(text)
