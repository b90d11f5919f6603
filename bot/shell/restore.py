"""`aircheck restore`: a store out of a backup, into an empty folder.

Everything is copied and compared with its hash, the database last. Until then a mark keeps every other command out of
the folder; a restore that was interrupted goes on where it was.

The store gets a new device with the room keys of the old one, and no login: the next `run` needs the password. Its
rooms stay closed until what happened since the backup is known (`bot.intake.catching_up`).
"""

import asyncio
import hashlib
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, starmap
from pathlib import Path

from bot import orders, words
from bot.errors import AircheckError, ConfigError
from bot.intake import catching_up
from bot.language import spoken_moment
from bot.matrix import room_keys
from bot.settings import Settings
from bot.shell.backup import ROOM_KEYS, STEMS
from bot.shell.handover import shown
from bot.studio import writing
from storage import jobs, journal, migrate, moved_rows, restoring, rooms
from storage.backup_folder import BackupFolder, Manifest
from storage.blobs.door import Blobs
from storage.blobs.folder import FolderBlobs
from storage.blobs.opening import blobs_at
from storage.database import Database
from storage.errors import BackupError, MediaHeldError, NotEmptyError, StoreError, StoreLockedError
from storage.place import RESTORING, Place
from storage.private import make_below
from storage.records import BlobKey, UserId
from storage.secret import BYTES
from storage.secret import NAME as SECRET

AT_ONCE = 4
TOGETHER = 100
SHOWN = 20
"""Damaged files that are named."""
ALL_ENDED = " All personal addresses have ended; listeners get new ones when they ask."
SOME_BACK = " Personal addresses that ended since then work again: `aircheck addresses renew-all` ends all."
KEPT = " `optout`, `delete` and whatever else protects people is read from the bot's account data; each room is told."


async def restore(settings: Settings, directory: Path, *, renew: bool = False) -> str:
    """Make the store of the settings out of a backup; give the result as sentences. `renew`: all personal addresses
    end, as those that ended since the backup would work again.

    Raises ConfigError for what is no backup, and where there is something already; AircheckError, StoreError.
    """
    folder, target = BackupFolder(await asyncio.to_thread(directory.resolve)), settings.storage.path
    manifest = await asyncio.to_thread(_manifest, folder)
    if manifest.user_id != settings.matrix.user_id:
        raise ConfigError(f"matrix.user_id: the backup is of {manifest.user_id}, not of {settings.matrix.user_id}")
    goes_on = await asyncio.to_thread((target / RESTORING).exists)
    try:
        with restoring.restoring(target, manifest) as rows:
            await asyncio.to_thread(restoring.check_list, folder, manifest)
            secret = await asyncio.to_thread(_secret, folder, manifest)
            await moved_rows.refuse_others(settings.storage.place, manifest, goes_on=goes_on)
            await asyncio.to_thread(restoring.copy_rows, folder, manifest, rows)
            database = await Database.of_file(rows)
            try:
                damaged = await _copy_blobs(folder, manifest, settings.storage.place, database)
                keys = await asyncio.to_thread(_copy_the_rest, folder, manifest, target)
                behind = await _prepare(settings, manifest, database, renew=renew)
                secret = secrets.token_bytes(BYTES) if renew else secret
                await moved_rows.move(database, settings.storage.place, manifest, secret, goes_on=goes_on)
            finally:
                await database.close()
            await asyncio.to_thread(restoring.finish, settings.storage.place)
    except (NotEmptyError, StoreLockedError, MediaHeldError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise StoreError(f"{target} can't be written: {error.strerror}; run the same command again") from None
    lost = sorted({*damaged, *manifest.lost})
    _name(lost)
    when = spoken_moment(manifest.made_at, settings.feeds.zone)
    said = f"Restored from the backup of {when}: {manifest.blobs - len(damaged)} files, {keys} room keys."
    needed = "" if await asyncio.to_thread(settings.password) else " `aircheck run` needs matrix.password to log in."
    said += ALL_ENDED if renew else SOME_BACK
    closed = f" {behind} rooms stay closed until `aircheck run` has read what happened since." if behind else ""
    closed += KEPT
    if lost:
        raise AircheckError(f"{said}{closed}{needed} {len(lost)} files are damaged: `aircheck verify --repair`")
    return f"{said}{closed}{needed}"


def _manifest(folder: BackupFolder) -> Manifest:
    try:
        manifest = folder.manifest()
    except BackupError as error:
        raise ConfigError(f"DIRECTORY: {error}") from None
    if manifest is None:
        raise ConfigError(f"DIRECTORY: {folder.directory} holds no finished backup")
    if manifest.revision > migrate.HEAD:
        raise ConfigError(
            f"DIRECTORY: the backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC was made by a newer Aircheck: update the"
            " program, or restore a copy of this folder from before the update"
        )
    return manifest


async def _copy_blobs(folder: BackupFolder, manifest: Manifest, place: Place, database: Database) -> list[BlobKey]:
    """Copy the blobs that are not there yet; return those that are missing from the backup, or damaged in it."""
    place = replace(place, cache_bytes=0)  # nothing is read again
    blobs, slots, damaged = blobs_at(place, database), asyncio.Semaphore(AT_ONCE), list[BlobKey]()
    await _hold_media(blobs, place, manifest, database)
    await asyncio.to_thread(blobs.prepare)

    async def copy(key: BlobKey, size: int) -> None:
        async with slots:
            if not await _copy_blob(folder, key, size, blobs, database):
                damaged.append(key)

    listed = await asyncio.to_thread(lambda: folder.listed(manifest))
    with shown() as progress:
        task, count = progress.add_task("restoring"), 0
        while some := await asyncio.to_thread(lambda: list(islice(listed, TOGETHER))):
            await asyncio.gather(*starmap(copy, some))
            count += len(some)
            progress.update(task, description=f"restoring: {count} of {manifest.blobs} files")
    return damaged


async def _hold_media(blobs: Blobs, place: Place, manifest: Manifest, database: Database) -> None:
    """Give the store a name of its own for its media, which is the same when the restore is begun again. Raises
    MediaHeldError where they would lie among those of a store elsewhere."""
    origin = f"{manifest.store}/{manifest.generation}/{place.where}"
    name = hashlib.sha256(origin.encode()).hexdigest()[:32]
    if blobs.remote is not None:
        from storage.blobs import held  # who has a folder needs no obstore

        await held.take(blobs, place, name)
    async with database.write() as db:
        await journal.put(db, journal.MEDIA_STORE, name)


async def _copy_blob(folder: BackupFolder, key: BlobKey, size: int, blobs: Blobs, database: Database) -> bool:
    """Copy a blob unless it is there, whole; return whether it is there then."""
    if await blobs.is_whole(key):
        return True
    part = blobs.part(f"restored-{key}")
    try:
        if not await asyncio.to_thread(folder.copy_out, key, part):
            return False
        if isinstance(blobs, FolderBlobs):  # no row of this database needs to know
            await asyncio.to_thread(blobs.folder.add, part, key)
            return True
        async with blobs.arriving((part, key)) as new, database.write() as db:
            await new.keep(db)
        return True
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _secret(folder: BackupFolder, manifest: Manifest) -> bytes | None:
    """Read the secret of personal addresses. Raises BackupError. Blocking."""
    file = manifest.file(SECRET)
    if file is None:
        return None
    restoring.check_file(folder, manifest, file)
    return (folder.generation(manifest) / SECRET).read_bytes()


def _copy_the_rest(folder: BackupFolder, manifest: Manifest, target: Path) -> int:
    """Copy seeds and stems, and make the device with the room keys; return how many these are."""
    places = {room_keys.SEEDS_FILE: room_keys.matrix_folder(target) / room_keys.SEEDS_FILE}
    places |= {file.name: target / file.name for file in manifest.files if file.name.startswith(f"{STEMS}/")}
    for file in manifest.files:
        if file.name in places:
            make_below(target, places[file.name].parent)
            restoring.copy_file(folder, manifest, file, places[file.name])
    stored = manifest.file(ROOM_KEYS)
    if stored is None:
        raise BackupError(f"the manifest in {folder.directory} names no room keys")
    restoring.check_file(folder, manifest, stored)
    with (folder.generation(manifest) / ROOM_KEYS).open(encoding="ascii") as lines:
        return room_keys.write_device(target, UserId(manifest.user_id), room_keys.read_lines(lines))


async def _prepare(settings: Settings, manifest: Manifest, database: Database, *, renew: bool) -> int:
    """Mark what the rows don't know; return how many rooms stay closed for it."""
    now = datetime.now(UTC)
    async with database.write() as db:
        await catching_up.begin(db, manifest.made_at, now)
        await writing.end_all(db, now)  # what was sent since the backup is lost, and who may send now is not known
        if renew:
            await rooms.forget_listeners(db, now)
        behind = sum(room.behind is not None for room in await rooms.all_rooms(db))
        when = spoken_moment(manifest.made_at, settings.feeds.zone)
        body = words.restored_all(when=when, rooms=behind, renewed=renew)
        for admin in settings.matrix.admins:
            await jobs.add(db, orders.Direct.restored(UserId(admin), now, body).job(), now)
    return behind


def _name(lost: Sequence[BlobKey]) -> None:
    for key in lost[:SHOWN]:
        sys.stderr.write(f"missing or damaged in the backup: {key}\n")
    if len(lost) > SHOWN:
        sys.stderr.write(f"and {len(lost) - SHOWN} more\n")
