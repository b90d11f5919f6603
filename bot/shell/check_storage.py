"""Findings of `aircheck check` on the data folder: private files, database, rooms, disk space."""

import asyncio
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bot.check.finding import Finding, Level
from bot.log import one_line
from bot.settings import Settings
from storage import calls, migrate
from storage.database import FILE_NAME
from storage.errors import StoreError
from storage.rooms import all_rooms
from storage.store import Store, is_owned

MIB, GIB = 1024**2, 1024**3
SHOWN = 3
"""Paths or rooms that one line names."""


def check_private_files(settings: Settings, config: Path) -> Finding:
    """Name the files with passwords, keys or speech that other users of the machine can read. Blocks."""
    subject, directory = "private files", settings.storage.path
    password_file = settings.matrix.password_file
    secrets = [config] if settings.matrix.password and config.exists() else []
    secrets += [Path(password_file).expanduser()] if password_file else []
    closed = _is_closed(directory)
    secrets += [] if closed else [directory, *(path for path in _kept_secrets(directory) if path.is_file())]
    readable = [path for path in secrets if not _is_closed(path)]
    if not readable:
        return Finding(Level.OK, subject, "nobody else can read them")
    named = shlex.join(map(str, readable[:SHOWN]))
    more = f" (and {len(readable) - SHOWN} more)" if len(readable) > SHOWN else ""
    return Finding(Level.WARN, subject, f"other users may read them{more}: chmod go-rwx {named}")


def _kept_secrets(directory: Path) -> Iterator[Path]:
    yield from sorted(directory.glob("aircheck.db*"))
    yield from sorted(directory.glob("*.key"))
    yield from sorted(directory.glob("matrix/*"))


def _is_closed(path: Path) -> bool:
    """Tell whether only its owner has access; true also if it does not exist or can't be examined."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    except OSError:
        return True


async def check_database(settings: Settings) -> Finding:
    """Check that this version can open the database, also beside a running bot."""
    directory = settings.storage.path
    path = directory / FILE_NAME
    if not await asyncio.to_thread(_can_write, directory):
        return Finding(Level.FAIL, "database", f"storage.directory {directory} can't be written")
    address = settings.storage.place.database_url
    if address is None and not path.exists():
        return Finding(Level.OK, "database", f"will be created in {directory} at the first start")
    try:
        where, revision = await _found(path, address)
        if revision is None or revision < migrate.HEAD:
            how = "of an older version: `aircheck run` upgrades it" if revision else "empty: `aircheck run` fills it"
            return Finding(Level.OK, "database", f"{where}, {how}")
        running = ", in use by a running Aircheck" if await is_owned(settings.storage.place) else ""
        store = await Store.look(settings.storage.place)
        try:
            await asyncio.to_thread(store.secret.check)
            async with store.read() as db:
                rooms = await all_rooms(db)
        finally:
            await store.close()
    except (StoreError, OSError) as error:
        return Finding(Level.FAIL, "database", str(error))
    return Finding(Level.OK, "database", f"{where}, {len(rooms)} rooms{running}")


async def _found(path: Path, address: str | None) -> tuple[str, str | None]:
    """Return what a database is, and the revision of its tables. Raises StoreError."""
    if address is None:
        return str(path), await asyncio.to_thread(migrate.revision_of, path)
    from storage.postgresql_schema import describe  # here, for it takes memory that others need not spend

    database = await describe(address)
    return f"PostgreSQL {database.version}, {database.bytes / MIB:.0f} MiB", database.revision


async def records_calls(settings: Settings) -> bool:
    """Tell whether calls of any room are to be recorded; False where the database can't be read yet."""
    try:
        store = await Store.look(settings.storage.place)
    except (StoreError, OSError):
        return False
    try:
        async with store.read() as db:
            return bool(await calls.rooms_of(db))
    finally:
        await store.close()


async def check_rooms(settings: Settings) -> Finding | None:
    """Name the rooms where nothing is recorded because the bot has not been able to announce itself.

    None if there are none, or if the database can't be read, which `check_database` reports.
    """
    try:
        store = await Store.look(settings.storage.place)
        try:
            async with store.read() as db:
                waiting = [room.room_id for room in await all_rooms(db) if room.waits]
        finally:
            await store.close()
    except (StoreError, OSError):
        return None
    if not waiting:
        return None
    more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
    text = "nothing is recorded before the bot's notice; it needs the power to send messages, or `record on`"
    return Finding(Level.WARN, "rooms", f"{text}: {', '.join(map(one_line, waiting[:SHOWN]))}{more}")


def _can_write(directory: Path) -> bool:
    """Try to write into the folder, or check the rights of the one that it would be created in. Blocks."""
    existing = _nearest(directory)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return False
    if existing != directory:
        return True
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError:
        return False
    return True


def _nearest(directory: Path) -> Path:
    """Find the folder, or the nearest one above it that exists."""
    return next(folder for folder in (directory, *directory.parents) if folder.exists())


def check_disk_space(settings: Settings) -> Finding:
    """Check the free space against `storage.min_free_bytes`."""
    folder = _nearest(settings.storage.path)
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB free in {folder}"
    least = settings.storage.min_free_bytes
    if free < least:
        return Finding(Level.FAIL, "disk space", f"{text}: below storage.min_free_bytes, so nothing new is fetched")
    if free < 2 * least:
        return Finding(Level.WARN, "disk space", f"{text}: less than twice storage.min_free_bytes")
    return Finding(Level.OK, "disk space", text)
