"""Backup, restore and `verify` of an archive of a gigabyte."""

import asyncio
import contextlib
import hashlib
import io
import os
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
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

FILES = 8_192
BYTES = 128 * 1024
NEW = 82  # a hundredth
AT_ONCE = 256


def figures() -> list[Figure]:
    """Measure all of it in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    settings = _settings(folder / "data")
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room())
        await archive.add_recording(db, a_recording())
    await _fill(store, 0, FILES)
    gigabytes = FILES * BYTES / 1e9
    forget_peak()
    began = time.monotonic()
    await backing_up.backup(settings, folder / "backup")
    first_s, peak = time.monotonic() - began, peak_mib()
    await _fill(store, FILES, FILES + NEW)
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
    size = f"{FILES} files of {BYTES // 1024} KiB"
    return [
        Figure(f"first backup of {gigabytes:.1f} GB, {size}", "-", f"{first_s / gigabytes:.1f} s a GB, {peak:.0f} MiB"),
        Figure(f"the second, {NEW} files later", "-", f"{second_s:.1f} s"),
        Figure("restore of it", "-", f"{restore_s / gigabytes:.1f} s a GB"),
        Figure("`verify` of it", "-", f"{verify_s / gigabytes:.1f} s a GB"),
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
