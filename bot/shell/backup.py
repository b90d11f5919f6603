"""`aircheck backup`: a consistent copy of the store in a folder of its own, also while the bot runs.

First the rows, as they were at one moment; then the files that they name. A file that was deleted meanwhile makes a new
start, in which only what is new is copied; so the copy is always one of a single moment. The backup before stays whole
until the new one is.
"""

import asyncio
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bot.errors import AircheckError, ConfigError
from bot.matrix import room_keys
from bot.settings import Settings
from bot.shell.handover import closing_store, shown
from storage import archive, checking, migrate, snapshot
from storage.backup_folder import BLOB_LIST, DATABASE, PREFIXES, BackupFolder, Manifest
from storage.database import Database
from storage.errors import BackupError
from storage.private import make_below, write_whole
from storage.records import BlobKey
from storage.secret import NAME as SECRET
from storage.store import Store

STARTS = 10
AT_ONCE = 4
"""Files that are copied at a time: each waits for the disk."""
ROOM_KEYS = "room-keys.jsonl"
STEMS = "calls"
TRIES = 3
"""Copies of one file that are begun."""


@dataclass(slots=True)
class Copied:
    """The files of a snapshot: how many they are, how many were new, and those that are not in the store (`lost`) or
    have other bytes than they should (`damaged`)."""

    count: int = 0
    bytes: int = 0
    new: int = 0
    lost: set[BlobKey] = field(default_factory=set)
    damaged: set[BlobKey] = field(default_factory=set)


async def backup(settings: Settings, directory: Path) -> str:
    """Bring a folder up to the store; give the result as a sentence. Raises ConfigError, StoreError, and AircheckError
    where the backup is whole and files of the store are not in it, or not in order."""
    target = await asyncio.to_thread(directory.resolve)
    _refuse_overlap(target, settings.storage.path.resolve())
    async with closing_store(await Store.look(settings.storage.place)) as store:
        name = await snapshot.identity(store)
        folder = BackupFolder(target)
        try:
            with folder.locked(name) as before:
                return await _bring_up(settings, store, folder, name, before)
        except BackupError as error:
            raise ConfigError(f"DIRECTORY: {error}") from None
        except OSError as error:
            raise BackupError(f"{target} can't be written: {error.strerror}") from None


def _refuse_overlap(target: Path, directory: Path) -> None:
    if target.is_relative_to(directory) or directory.is_relative_to(target):
        raise ConfigError(f"DIRECTORY: {target} and storage.directory {directory} overlap: name a folder outside")


async def _bring_up(settings: Settings, store: Store, folder: BackupFolder, name: str, before: Manifest | None) -> str:
    new = 0
    await asyncio.to_thread(folder.clean_generations, before)  # what a killed backup left
    for _ in range(STARTS):
        now = datetime.now(UTC)
        generation = await asyncio.to_thread(folder.begin, now)
        stems = await asyncio.to_thread(store.stems.all)
        await snapshot.take(store, generation / DATABASE)
        rows = await snapshot.opened(generation)
        try:
            copied = await _copy_blobs(store, rows, folder, generation)
            async with rows.read() as db:
                torn = await archive.torn_names(db)
        finally:
            await rows.close()
        new += copied.new
        stems_are_there = await asyncio.to_thread(_copy_stems, stems, generation / STEMS)
        if stems_are_there and not copied.lost - await _still_named(store, copied.lost):
            break
        await asyncio.to_thread(shutil.rmtree, generation)
    else:
        raise BackupError("files went away while they were copied, each time: try again")
    await store.secret.load()  # of now: one that was renewed since the store was opened has leaked
    await asyncio.to_thread(_copy_the_rest, settings, store, generation)
    files = await asyncio.to_thread(folder.describe, generation)
    manifest = Manifest(
        store=name,
        user_id=settings.matrix.user_id,
        made_at=now,
        revision=migrate.HEAD,
        generation=generation.name,
        files=files,
        blobs=copied.count,
        blob_bytes=copied.bytes,
        lost=tuple(sorted(copied.lost | copied.damaged)),
    )
    await asyncio.to_thread(folder.finish, manifest)
    removed = await asyncio.to_thread(_clean, folder, manifest, stays=torn > 0)
    said = _report(folder, manifest, new, removed)
    wrong = []
    if manifest.lost:
        lost = f"{len(manifest.lost)} are lost or damaged in the store: `aircheck verify --repair` mends what it can"
        wrong.append(lost)
    if torn:
        rows_are = f"{torn} rows name no file any more, so none that they may mean was removed from the backup"
        wrong.append(f"{rows_are}: `aircheck verify` names them")
    if wrong:
        raise AircheckError(" ".join([said, *wrong]))
    return said


async def _copy_blobs(store: Store, rows: Database, folder: BackupFolder, generation: Path) -> Copied:
    """Copy the blobs that the snapshot names and the backup lacks, and write the list of all."""
    copied = Copied()
    with shown() as progress, (generation / BLOB_LIST).open("x", encoding="ascii") as listed:
        task = progress.add_task("copying", total=len(PREFIXES))
        for number, prefix in enumerate(PREFIXES):
            said = f"copying: {number * 100 // len(PREFIXES)} %, {copied.count} files, {copied.new} new"
            progress.update(task, description=said)
            async with rows.read() as db:
                keys = await archive.blobs_with(db, prefix)
                uses = await checking.uses(db, keys) if store.blobs.remote is not None else ()
            lengths = {use.blob: use.bytes for use in uses if use.bytes is not None}
            sizes = await asyncio.to_thread(folder.sizes, prefix)
            for key, size in await _copy_some(store, folder, keys, sizes, lengths, copied):
                listed.write(f"{key} {size}\n")
                copied.count, copied.bytes = copied.count + 1, copied.bytes + size
    return copied


async def _copy_some(
    store: Store,
    folder: BackupFolder,
    keys: Collection[BlobKey],
    sizes: dict[str, int],
    lengths: Mapping[BlobKey, int],
    copied: Copied,
) -> list[tuple[BlobKey, int]]:
    """Copy those of the keys that are not there in full; return all that are there then, with their sizes. `lengths`:
    those that rows tell."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def copy(key: BlobKey) -> int | None:
        async with slots:
            if key in sizes and await _is_there(store, key, sizes[key], lengths.get(key)):
                return sizes[key]
            added = None
            for attempt in range(1, TRIES + 1):
                if await store.blobs.size(key) is None:
                    copied.lost.add(key)
                    return None
                try:
                    async with store.blobs.local(key) as file:
                        added = await asyncio.to_thread(folder.add, file, key)
                    break
                except FileNotFoundError:  # it went, or a bot that started has emptied the scratch folder
                    if attempt == TRIES:
                        raise BackupError("files went away while they were copied, each time: try again") from None
            if added is None:
                copied.damaged.add(key)
                return sizes.get(key)
            copied.new += 1
            return added

    found = await asyncio.gather(*map(copy, keys))
    return [(key, size) for key, size in zip(keys, found, strict=True) if size is not None]


async def _is_there(store: Store, key: BlobKey, size: int, length: int | None) -> bool:
    """Tell whether a file of this size in the backup can stay: it is as long as its row says, which costs no request
    where media lie elsewhere, or as in the store. A file that is lost in the store may be whole in the backup."""
    if store.blobs.remote is not None and length is not None:
        return size == length
    return await store.blobs.size(key) in (None, size)


async def _still_named(store: Store, lost: Collection[BlobKey]) -> frozenset[BlobKey]:
    """Return those that the store's rows name by now: it has lost them. The others were deleted."""
    if not lost:
        return frozenset()
    async with store.read() as db:
        return await archive.referenced(db, sorted(lost))


def _copy_the_rest(settings: Settings, store: Store, generation: Path) -> None:
    """Copy what is neither blob nor row: room keys and secrets."""
    directory = settings.storage.path
    with (generation / ROOM_KEYS).open("x", encoding="ascii") as lines:
        lines.writelines(room_keys.stored_lines(directory))
    if store.secret.exists():
        write_whole(generation / SECRET, store.secret())
    seeds = directory / "matrix" / room_keys.SEEDS_FILE
    if seeds.exists():
        write_whole(generation / seeds.name, seeds.read_bytes())


def _copy_stems(stems: Collection[Path], folder: Path) -> bool:
    """Copy the stems of the calls that run now; return whether all are there still: one that has become a blob is
    named by no row of the snapshot."""
    for file in stems:
        target = folder / file.parent.name / file.name
        make_below(folder.parent, target.parent)
        try:
            shutil.copyfile(file, target)
        except FileNotFoundError:
            return False
    return True


def _clean(folder: BackupFolder, manifest: Manifest, *, stays: bool) -> int:
    """Remove what the new backup does not name: what was deleted in the store is deleted here too. `stays`: but for
    files, of which it is not known which the store's rows mean."""
    folder.clean_generations(manifest)
    if stays:
        return 0
    removed, listed = 0, folder.listed(manifest)
    following = next(listed, None)
    for prefix in PREFIXES:
        keep = set[str]()
        while following is not None and following[0].startswith(prefix):
            keep.add(following[0])
            following = next(listed, None)
        removed += folder.clean_blobs(prefix, keep)
    return removed


def _report(folder: BackupFolder, manifest: Manifest, new: int, removed: int) -> str:
    total = sum(file.bytes for file in manifest.files) + manifest.blob_bytes
    files = f"{manifest.blobs} files, {total / 1e6:.1f} MB; {new} new, {removed} removed"
    return f"Backed up to {folder.directory}: {files}."
