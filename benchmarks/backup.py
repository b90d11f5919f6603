"""Backup, restore and `verify` of an archive of half a gigabyte, by the gigabyte."""

import asyncio
import contextlib
import hashlib
import io
import os
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, of
from benchmarks.usage import forget_peak, peak_mib
from bot.settings import Settings, validate
from bot.shell import backup as backing_up
from bot.shell import restore as restoring
from bot.shell import verify as verifying
from storage import archive, rooms
from storage.records import BlobKey, EventId
from storage.store import Store
from tests.blobs import add_bytes
from tests.factories import a_chunk, a_recording, a_room

FILES = 4_096
BYTES = 128 * 1024
NEW = 41  # a hundredth
AT_ONCE = 256


def figures() -> list[Figure]:
    """Measure all of it in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))


async def measure(folder: Path, files: int = FILES, new: int = NEW) -> list[Figure]:
    """Measure with so many files, and so many more for the second backup."""
    settings = _settings(folder / "data")
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room())
        await archive.add_recording(db, a_recording())
    await _fill(store, 0, files)
    gigabytes = files * BYTES / 1e9
    forget_peak()
    began = time.monotonic()
    await backing_up.backup(settings, folder / "backup")
    first_s, peak = time.monotonic() - began, peak_mib()
    await _fill(store, files, files + new)
    began = time.monotonic()
    await backing_up.backup(settings, folder / "backup")
    second_s = time.monotonic() - began
    await store.close()
    again = _settings(folder / "again")
    began = time.monotonic()
    await restoring.restore(again, folder / "backup")
    restore_s = time.monotonic() - began
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        await verifying.verify(again, repair=False)
    verify_s = time.monotonic() - began
    size = f"{files} files of {BYTES // 1024} KiB"
    return [
        of(f"first backup of {gigabytes:.1f} GB, {size}", first_s / gigabytes, "s a GB", f", {peak:.0f} MiB"),
        of(f"the second backup, {new} files later", second_s, "s"),
        of("restore of it", restore_s / gigabytes, "s a GB"),
        of("`verify` of it", verify_s / gigabytes, "s a GB"),
    ]


def _settings(directory: Path) -> Settings:
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs", "password": "p"}
    return validate({"matrix": matrix, "storage": {"directory": str(directory)}})


async def _fill(store: Store, first: int, end: int) -> None:
    """Store files of random bytes as chunks."""
    for start in range(first, end, AT_ONCE):
        chunks = []
        for number in range(start, min(start + AT_ONCE, end)):
            data = os.urandom(BYTES)
            key = BlobKey(hashlib.sha256(data).hexdigest())
            add_bytes(store, data, key)
            chunks.append(a_chunk(sequence=number + 1, event_id=EventId(f"$c{number}"), blob=key, bytes=BYTES))
        async with store.write() as db:
            await archive.save_chunks(db, chunks)
