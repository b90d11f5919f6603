"""Recordings that are on the air, with what their listeners want to know: who speaks, and how much has arrived."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bot.audio.grid import samples_of
from bot.recording.chunks import is_removed
from bot.recording.kind import BREATH
from bot.recording.kinds import kind_of
from bot.recording.speakers import name_of
from bot.web.access import Access, may_hear_recording
from bot.web.caches import CommitCache
from bot.web.episodes import rooms_of
from bot.web.library import Library
from storage import archive, tracks
from storage.database import Connection
from storage.records import Chunk, Cut, DurationMs, Recording, RecordingId, RecordingState, Samples, to_ms
from storage.store import Store

NEWEST_WINDOWS = 3
"""Windows of a call in which its newest speech is looked for."""


@dataclass(frozen=True, slots=True)
class Airing:
    """A recording on the air. `newest` is the display name of who speaks, or spoke last; None where one person speaks
    alone, or nobody has spoken."""

    recording: Recording
    arrived: DurationMs  # of sound
    newest: str | None = None

    @property
    def state(self) -> str:
        """Return `pending` before there is sound, `live`, or `ended` while the episode is being made."""
        if self.recording.state is not RecordingState.LIVE:
            return "ended"
        return "live" if self.arrived else "pending"


class Airings:
    """Airings for clients that may hear them, read once for each commit."""

    def __init__(self, store: Store, library: Library) -> None:
        self._store = store
        self._library = library
        self._known: CommitCache[RecordingId, Airing] = CommitCache(lambda: store.database.changes.number)

    async def of(self, access: Access) -> tuple[Airing, ...]:
        """Return what an open access reaches: what is live, then what has just ended."""
        return tuple([await self.one(recording) for recording in await self._library.live(access)])

    async def live(self, accesses: Sequence[Access]) -> list[tuple[Airing, ...]]:
        """Return what is live within each of these open accesses, by one look at all rooms."""
        running = await self._library.all_live()
        found = []
        for access in accesses:
            its = [each for room_id in rooms_of(access) for each in running.get(room_id, ())]
            found.append(tuple([await self.one(each) for each in its if may_hear_recording(access, each)]))
        return found

    async def one(self, recording: Recording) -> Airing:
        return await self._known.get(recording.id, partial(self._read, recording))

    async def _read(self, recording: Recording) -> Airing:
        async with self._store.read() as db:
            frames = await tracks.reach(db, recording.id)
            newest = await _newest(db, recording) if kind_of(recording).several_speakers else None
        return Airing(recording, to_ms(samples_of(frames)), newest)


async def _newest(db: Connection, recording: Recording) -> str | None:
    if kind_of(recording).stems:
        return await _newest_in_call(db, recording)
    heard = {credit.user_id for credit in recording.speakers}
    said = [chunk for chunk in await archive.chunks(db, recording.id) if chunk.sender in heard]
    newest: Chunk | None = max(said, key=lambda chunk: chunk.position, default=None)
    return None if newest is None or is_removed(newest) else name_of(recording, newest)


async def _newest_in_call(db: Connection, recording: Recording) -> str | None:
    cuts = await tracks.newest_cuts(db, recording.id, NEWEST_WINDOWS)
    speech = await asyncio.to_thread(_speech_in, cuts)
    names = {stem.number: stem.name for stem in recording.stems if not stem.removed}
    known = [(end, stem) for stem, _begin, end in speech if stem in names]
    return names[max(known)[1]] if known else None


def _speech_in(cuts: Sequence[Cut]) -> list[tuple[int, Samples, Samples]]:
    """Find the speech of these windows. Blocking."""
    from bot.audio.mix import speech_in  # with numpy, which a server without such a call does not need

    return list(speech_in(cuts, BREATH))
