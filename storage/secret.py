"""Secrets that outlive a process: in files of mode 0600 in the folder, and with a database by address in there, where
all processes find them.

The secret that personal addresses are made from is 32 random bytes. The addresses themselves are rows (`listeners`, by
the hash of each token). So neither the loss of the secret nor a new one ends an address: `bot.worker.renewing` replaces
the secret and ends the addresses.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Protocol

from sqlalchemy import delete, select

from storage.database import Connection, Database
from storage.errors import StoreError
from storage.private import write_whole
from storage.rows import put
from storage.tables import secrets as secret_table

NAME = "addresses.key"
BYTES = 32
RENEW = "`aircheck addresses renew-all`"
ADDRESSES = "addresses"
"""The name of the secret of personal addresses in the database."""
MEDIA_TOKEN = "media_token"  # noqa: S105  the name of a row
"""The name of the bot's access token in the database, with which other processes download media."""


class Secret(Protocol):
    """The secret of personal addresses. Whoever makes an address beside rows about it takes it `within` their
    transaction: another process may have renewed it."""

    @property
    def where(self) -> str:
        """The place of it, to be shown to an operator."""

    def __call__(self) -> bytes:
        """Return the secret as it was last read; in a folder it is made at the first call. Raises StoreError."""

    def check(self) -> None:
        """Check an existing secret; a missing one will be made. Raises StoreError."""

    def exists(self) -> bool:
        """Tell whether there is one."""

    async def load(self, *, make: bool = False) -> None:
        """Read the secret where that takes a request; `make` one where there is none. Raises StoreError."""

    async def fresh(self) -> bytes:
        """Return the secret as it is now, also where another process may have replaced it. Raises StoreError."""

    async def within(self, db: Connection) -> bytes:
        """Return the secret as this transaction sees it, whatever was heard of other processes. Raises StoreError."""

    async def replace(self, value: bytes | None = None) -> bytes:
        """Replace the secret, whatever it was, by a new one or by one from another store. Raises StoreError; the old
        secret stays valid then."""


class SecretFile:
    """The secret's file in a store's folder. Its methods block for one fsync at most."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / NAME
        self._value: bytes | None = None

    @property
    def where(self) -> str:
        return str(self.file)

    def __call__(self) -> bytes:
        """Return the secret; read, or made, at the first call. Raises StoreError."""
        if self._value is None:
            self._value = self._read() if os.path.lexists(self.file) else self.renew()
        return self._value

    def check(self) -> None:
        """Check an existing file; a missing one will be made. Raises StoreError."""
        if os.path.lexists(self.file):
            self._read()

    def exists(self) -> bool:
        return self.file.exists()

    async def load(self, *, make: bool = False) -> None:
        """Do nothing: a file is read, or made, when it is needed."""

    async def fresh(self) -> bytes:
        return self()

    async def within(self, db: Connection) -> bytes:
        return self()

    async def replace(self, value: bytes | None = None) -> bytes:
        return await asyncio.to_thread(self.renew, value)

    def renew(self, value: bytes | None = None) -> bytes:
        """Replace the secret, whatever is in the file. Raises StoreError; the old secret stays valid then."""
        fresh = value or secrets.token_bytes(BYTES)
        try:
            write_whole(self.file, fresh)
        except OSError as error:
            raise StoreError(f"{self.file} can't be written: {error.strerror}") from None
        self._value = fresh
        return fresh

    def _read(self) -> bytes:
        try:
            value = self.file.read_bytes()
        except OSError as error:
            raise StoreError(f"{self.file} can't be read: {error.strerror}") from None
        if len(value) != BYTES:
            raise StoreError(
                f"{self.file} is damaged: restore it from a backup, or end all personal addresses with {RENEW}"
            )
        return value


class SharedSecret:
    """The secret's row in a database that many processes use."""

    where = "the secret of personal addresses in the database"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._value: bytes | None = None
        self._read_at = -1  # the commit to the table after which it was read

    def __call__(self) -> bytes:
        return self._whole(self._value)

    def _whole(self, value: bytes | None) -> bytes:
        if value is None:
            raise StoreError(f"{self.where} is missing: start `aircheck run` once")
        if len(value) != BYTES:
            raise StoreError(f"{self.where} is damaged: end all personal addresses with {RENEW}")
        return value

    def check(self) -> None:
        if self._value is not None:
            self()

    def exists(self) -> bool:
        return self._value is not None

    async def load(self, *, make: bool = False) -> None:
        self._read_at = self._database.changes.of(secret_table.name)
        async with self._database.read() as db:
            self._value = await get(db, ADDRESSES)
        if self._value is None and make:
            await self.replace()

    async def fresh(self) -> bytes:
        if self._read_at != self._database.changes.of(secret_table.name):
            await self.load()
        return self()

    async def within(self, db: Connection) -> bytes:
        return self._whole(await get(db, ADDRESSES))

    async def replace(self, value: bytes | None = None) -> bytes:
        fresh = value or secrets.token_bytes(BYTES)
        async with self._database.write() as db:
            await save(db, ADDRESSES, fresh)
        self._value = fresh
        return fresh


async def get(db: Connection, name: str) -> bytes | None:
    """Return a secret in the database."""
    wanted = select(secret_table.c.value).where(secret_table.c.name == name)
    value: bytes | None = (await db.execute(wanted)).scalar_one_or_none()
    return value


async def save(db: Connection, name: str, value: bytes | None) -> None:
    """Save a secret in the database; None: remove it."""
    if value is None:
        await db.execute(delete(secret_table).where(secret_table.c.name == name))
    else:
        await put(db, secret_table, {"name": name, "value": value})
