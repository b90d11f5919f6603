"""The ownership of the Matrix session where the database is one by address: a lock, a lease, and an epoch.

- The lock is an advisory lock of PostgreSQL that belongs to a connection: it ends with the process or the network.
- The lease is a row: a process that lost its connection may live on, and is left the time to notice.
- The epoch is in that row: each take-over raises it, and each transaction of an owner looks at it before it writes, so
  that a process that was paused past its lease writes nothing when it wakes. The key store has the same number.

A process takes over when nobody holds the lock and the lease has ended. A paused process holds its lock for as long as
its kernel answers: when the lease has ended, its connections are ended too.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from storage import postgresql_schema
from storage.errors import OwnerLostError, StoreBusyError, StoreLockedError
from storage.folder_lock import share_lock
from storage.lease import LEASE_S, Lease
from storage.postgresql import CHANNEL, WRITERS_TURN, connect, parsed
from storage.postgresql_errors import connecting_failed

log = logging.getLogger(__name__)

LOCK = 0x4169724F
"""The number of the advisory lock that the owner holds."""
ATTEMPT_S = 3.0
"""Seconds for one attempt to renew: on a network that was cut, nothing answers."""
AGAIN_S = 0.5
RELEASE_S = 2.0

NOW = "(clock_timestamp() AT TIME ZONE 'UTC')"
UNTIL = f"{NOW} + make_interval(secs => {LEASE_S})"
IDENTITY = """
    SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid)
    FROM pg_database WHERE datname = current_database()
"""
"""The server's identity, which its replicas share, and the database's on it."""
TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
LOOK = f"SELECT epoch, holder, until > {NOW} AS held, until, ready, heard_at FROM owner"  # noqa: S608  our own words, as below
TAKE = f"""
    INSERT INTO owner (id, epoch, holder, since, until, ready)
    VALUES (1, floor(extract(epoch FROM clock_timestamp()) * 1000), $1, {NOW}, {UNTIL}, false)
    ON CONFLICT (id) DO UPDATE SET epoch = greatest(owner.epoch + 1, excluded.epoch), holder = excluded.holder,
        since = excluded.since, until = {UNTIL}, ready = false, heard_at = NULL
    RETURNING epoch
"""  # noqa: S608
"""Epochs are times, so that a database that was restored from a backup gives none that the key store has seen."""
RENEW = f"""
    UPDATE owner SET until = {UNTIL}, heard_at = coalesce($2, heard_at)
    WHERE epoch = $1 AND until > {NOW} RETURNING epoch
"""  # noqa: S608
GIVE_BACK = f"""
    UPDATE owner SET until = CASE WHEN ready THEN {NOW} ELSE least($2, {NOW}) END, ready = ready OR $3,
        heard_at = coalesce(heard_at, $4)
    WHERE epoch = $1
"""  # noqa: S608
"""The end of an owner. If it has not read the rooms' state, as a command of the shell, what is known of it is what was
known before, and as old."""
END = """
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
    WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()
"""
"""The end of all connections of an owner, waiting two seconds for each."""
LOST = (OSError, TimeoutError, StoreBusyError, asyncpg.PostgresError, asyncpg.InterfaceError)


def machine_time() -> float:
    """Return seconds on the clock of this machine that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Ownership:
    """The ownership of this process, from `take` to `give_back`, or until `lost` is done, which holds the error."""

    def __init__(
        self, address: URL, connection: Any, epoch: int, lease: Lease, folder: int | None, before: tuple[Any, ...]
    ) -> None:
        self.epoch = epoch
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at: Callable[[], datetime | None] = lambda: None
        self._address = address
        self._connection = connection
        self._lease = lease
        self._folder = folder
        self._before = before  # the lease's end, ready and heard_at of the owner before
        self._ended = False
        self._renewing = asyncio.create_task(self._renew_always())

    # ---- beginning

    @classmethod
    async def take(cls, address: str, directory: Path) -> "Ownership":
        """Become the owner, and create or upgrade the tables. Raises StoreLockedError while another is, or while one
        with another database uses the folder; StoreError."""
        url = parsed(address)
        connection = await connect(url)
        folder: int | None = None
        try:
            last = await _lock(connection)
            before = (last["until"], last["ready"], last["heard_at"]) if last is not None else (None, False, None)
            folder = share_lock(directory, str(await connection.fetchval(IDENTITY)))
            await postgresql_schema.prepare(url, migrate_first=True)
            asked_at = machine_time()
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", WRITERS_TURN)
                epoch = await connection.fetchval(TAKE, holder())
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, "owner owner")
            await connection.execute(f"SET application_name = '{name_of(epoch)}'")
        except BaseException as error:
            connection.terminate()
            if folder is not None:
                os.close(folder)
            if isinstance(error, OSError | TimeoutError | asyncpg.PostgresError | asyncpg.InterfaceError):
                raise connecting_failed(error) from None
            raise
        log.info("this process owns the Matrix session: epoch=%d", epoch)
        return cls(url, connection, epoch, Lease(asked_at), folder, before)

    # ---- while it lasts

    def holds(self) -> bool:
        """Tell whether this process may use the session now."""
        return not self._ended and not self.lost.done() and self._lease.left(machine_time()) > 0

    @property
    def name(self) -> str:
        return name_of(self.epoch)

    def check(self) -> None:
        """Raise OwnerLostError unless the lease lasts. The epoch is checked by the database, with the beginning of each
        transaction (`storage.postgresql`)."""
        if not self.holds():
            raise self._lose("it could not renew its lease in time")

    def passed(self) -> OwnerLostError:
        """Note that the database named another owner, and return the error for it."""
        return self._lose("another process has taken it over")

    def _lose(self, why: str) -> OwnerLostError:
        error = OwnerLostError(f"this process no longer owns the Matrix session: {why}")
        if not self._ended and not self.lost.done():
            log.error("%s", error)
            self.lost.set_exception(error)
            self.lost.exception()  # whoever waits for it gets it; if nobody does, asyncio must not complain
        return error

    async def _renew_always(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._lease.renew_at - machine_time())
                await self._renew_in_time()
        except OwnerLostError:
            return
        except Exception as error:
            log.exception("the lease on the Matrix session can't be renewed")
            self._lose(f"it could not renew its lease ({type(error).__name__})")

    async def _renew_in_time(self) -> None:
        """Try until the lease is renewed. Raises OwnerLostError when it ends first, or is another's."""
        away = False
        while (left := self._lease.left(machine_time())) > 0:
            try:
                async with asyncio.timeout(min(left, ATTEMPT_S)):
                    await self._renew()
                if away:
                    log.info("the lease on the Matrix session was renewed")
                return
            except LOST as error:
                if not away:
                    log.warning("the lease on the Matrix session can't be renewed (%s)", type(error).__name__)
                away = True
                self._connection.terminate()  # whatever is in its way stays there
                await asyncio.sleep(min(AGAIN_S, self._lease.left(machine_time())))
        raise self._lose("it could not renew its lease in time")

    async def _renew(self) -> None:
        if self._connection.is_closed():
            self._connection = await connect(self._address, self.name)
            if not await self._locked_again():
                raise StoreBusyError("another connection holds the lock of the owner")  # who takes over needs the lease
        asked_at, heard_at = machine_time(), self.heard_at()
        heard_at = heard_at and heard_at.replace(tzinfo=None)  # as all times are stored, in UTC
        if await self._connection.fetchval(RENEW, self.epoch, heard_at) is None:
            raise self._lose("another process has taken it over")
        self._lease = Lease(asked_at)

    async def _locked_again(self) -> bool:
        """Take the lock on a new connection; the server may not have noticed the end of the one before."""
        if await self._connection.fetchval(TRY_LOCK, LOCK):
            return True
        await self._connection.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND objid = $1 AND granted AND application_name = $2"
            " AND pid <> pg_backend_pid()",
            LOCK,
            self.name,
        )
        return bool(await self._connection.fetchval(TRY_LOCK, LOCK))

    # ---- ending

    async def give_back(self) -> None:
        """End the ownership, so that another process can begin at once. Nothing may be written after that."""
        self._ended = True
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._connection.execute(GIVE_BACK, self.epoch, *self._before)
                await self._connection.close()
        except LOST:  # then the lease ends by itself
            self._connection.terminate()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


async def _lock(connection: Any) -> Any:
    """Take the lock, once the lease of the last owner has ended, and end that one's connections; return its row. Raises
    StoreLockedError. While the lease lasts the lock is left alone: the owner may need it for another connection."""
    last = await _look(connection)
    if last is not None:
        await connection.execute(END, name_of(last["epoch"]))
    if not await connection.fetchval(TRY_LOCK, LOCK):
        raise StoreLockedError("another Aircheck is about to own the Matrix session")
    return await _look(connection)  # another may have taken over meanwhile, and lost its connection


async def _look(connection: Any) -> Any:
    """Return the row of the last owner; None before the first one. Raises StoreLockedError while its lease lasts."""
    if await connection.fetchval("SELECT to_regclass('owner')") is None:
        return None
    last = await connection.fetchrow(LOOK)
    if last is not None and last["held"]:
        raise StoreLockedError(f"another Aircheck owns the Matrix session: {last['holder']}")
    return last


async def is_owned(address: str) -> bool:
    """Tell whether a process owns the session now, or may believe so. Raises StoreError."""
    connection = await connect(parsed(address))
    try:
        if await connection.fetchval("SELECT to_regclass('owner')") is None:
            return False
        last = await connection.fetchrow(LOOK)
        return last is not None and bool(last["held"])
    except asyncpg.PostgresError as error:
        raise connecting_failed(error) from None
    finally:
        connection.terminate()


def name_of(epoch: int) -> str:
    """Name the connections of an owner, by which others find them in PostgreSQL."""
    return f"aircheck owner {epoch}"


def holder() -> str:
    return f"{socket.gethostname()} (process {os.getpid()})"
