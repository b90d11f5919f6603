"""The original sound of recordings: one Ogg Opus file, joined from the chunks where they are slices of one stream."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bot import orders
from bot.audio.one_stream import Joined, join
from bot.audio.plan import Piece
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger, fingerprint
from bot.worker.pieces import pieces_of
from bot.worker.tracks import forget
from storage import archive, originals, rooms
from storage.database import Connection
from storage.records import Container, Job, Original, Recording, RecordingId
from storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sound:
    """The pieces of a recording whose episode has this fingerprint; none: they can't be one stream."""

    recording: Recording
    fingerprint: str
    pieces: tuple[Piece, ...]


def is_one_stream(ledger: Ledger) -> bool:
    """Return whether all of the sound may be one Opus stream; its pages tell for certain."""
    heard = [entry for entry in ledger.entries if entry.samples or entry.pause]
    of_opus = (entry.sounds and entry.container is Container.OGG_OPUS and not entry.pause for entry in heard)
    return bool(heard) and all(of_opus) and [entry.continues for entry in heard] == [False] + [True] * (len(heard) - 1)


async def drop_original(db: Connection, recording_id: RecordingId, now: datetime) -> None:
    """Remove the original sound of a recording at once."""
    blob = await originals.remove(db, recording_id)
    if blob is not None:
        await forget(db, [blob], now)


class KeepingOriginal:
    """The handler of KeepOriginal orders. An episode that is made meanwhile of other sound orders its own."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        sound = await self._missing(job)
        if sound is None:
            return
        part = self._store.blobs.part(f"original-{job.id}")
        try:
            joined = await join(sound.pieces, part, local=self._store.blobs.local) if sound.pieces else None
            await self._keep(sound, joined, part)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _missing(self, job: Job) -> _Sound | None:
        """Return the sound of a recording whose original is not there; None where there is nothing to do."""
        recording_id = orders.KeepOriginal.of(job).recording
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            episode = await archive.episode(db, recording_id)
            kept = await originals.of(db, recording_id)
            if recording is None or episode is None or not recording.state.may_have_episode:
                return None
            chunks = await self._store.chunks.of(db, recording_id)
        if kept is not None and kept.fingerprint == episode.fingerprint:
            size = await self._store.blobs.size(kept.blob)
            if size == kept.bytes:
                return None
        ledger = await asyncio.to_thread(lay_out, recording, chunks)
        same = await asyncio.to_thread(fingerprint, ledger) == episode.fingerprint
        fit = same and is_one_stream(ledger)
        pieces = await asyncio.to_thread(lambda: tuple(pieces_of(ledger.entries))) if fit else ()
        return _Sound(recording, episode.fingerprint, pieces)

    async def _keep(self, sound: _Sound, joined: Joined | None, part: Path) -> None:
        """Save the file, or that there can be none, where the episode is still the one of this sound; remove the one of
        before."""
        recording, now = sound.recording, self._clock()
        files = [(part, joined.key)] if joined is not None else []
        async with self._store.blobs.arriving(*files) as new, self._store.write() as db:
            episode = await archive.episode(db, recording.id)
            before = await originals.of(db, recording.id)
            if episode is None or episode.fingerprint != sound.fingerprint:
                return
            if joined is None:
                await drop_original(db, recording.id, now)
                await archive.save_episode(db, replace(episode, unjoined=episode.fingerprint))
            else:
                await new.keep(db)
                await originals.save(
                    db, Original(recording.id, sound.fingerprint, joined.key, joined.bytes, joined.sha384)
                )
                if before is not None and before.blob != joined.key:
                    await forget(db, [before.blob], now)
                log.info("original sound kept: %d bytes recording=%s", joined.bytes, recording.code)
            if joined is not None or before is not None:
                await rooms.touch(db, recording.room_id, now)
