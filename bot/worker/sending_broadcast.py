"""Sound of studios, sent into its room as the events of a voice broadcast (MSC3888), one after the other.

Rows are written with what they are about (`bot.studio.outgoing`). That an event is about to be sent, and where its file
is, is noted before; its name names its transaction. State has no transactions, and a homeserver forgets them; so an
event that may have been sent is looked for first, by its mark. A death at any point repeats an upload, never an event.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot import orders, rules, topics, words
from bot.audio.sniff import sniff
from bot.dialects import studio as our_events
from bot.dialects import studio_in_room as in_room
from bot.errors import GiveUp, TryLater
from bot.event_types import MSC3888_CHUNK, MSC3888_INFO
from bot.intake import redacting, studio_events
from bot.language import _, speaking
from bot.matrix.sending import Sending
from bot.matrix.uploads import Uploads, sealed_file
from bot.recording.chunks import is_removed
from bot.recording.model import Redacted
from bot.worker.attempts import LONGEST_WISH_S
from bot.worker.given import Apply
from bot.worker.room_history import RoomHistory
from storage import archive, jobs, journal, rooms, studios
from storage import studio_events as rows
from storage.database import Connection
from storage.errors import MediaStoreError
from storage.records import (
    STARTED,
    BlobKey,
    Container,
    DurationMs,
    EventId,
    HeardEvent,
    Job,
    Json,
    MediaSource,
    RecordingState,
    Room,
    RoomId,
    StudioEvent,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

MIMETYPES = {Container.OGG_OPUS: "audio/ogg", Container.MP4_AAC: "audio/mp4", Container.MP3: "audio/mpeg"}
UNNAMED = "application/octet-stream"
REFUSED_S = 3600.0  # a change of the room's power levels hastens the job
BEHIND_S = 60.0
MOST_PAGES = 40
"""The pages of events that are read in search of one that may have been sent: more than a broadcast of four hours
has."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """An event to send, read in one transaction."""

    event: StudioEvent
    voice: in_room.Voice
    started: EventId | None  # the event in the room that began the broadcast; None: this is that event
    blob: BlobKey | None = None  # of a slice
    duration_ms: int | None = None


class SendingBroadcast:
    """The handler of SendBroadcast orders. `us` is the bot; `apply` the recorder's function."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        uploads: Uploads,
        history: RoomHistory,
        *,
        us: UserId,
        apply: Apply,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sending = sending
        self._uploads = uploads
        self._history = history
        self._us = us
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.SendBroadcast.of(job)
        while (event := await self._first(order.key)) is not None:
            try:
                await self._handle(event)
            except GiveUp as refused:
                log.warning("the homeserver refuses an event of a studio: room=%s (%s)", event.room_id, refused.reason)
                raise TryLater("the homeserver refuses an event", after_s=REFUSED_S, room=event.room_id) from None

    async def _first(self, key: str) -> StudioEvent | None:
        async with self._store.read() as db:
            return await rows.unsent(db, key)

    async def _handle(self, event: StudioEvent) -> None:
        room = await self._room(event.room_id)
        if event.tried and (posted := await self._find(event)) is not None:
            await self._note(event, posted)
            return
        subject = None if event.withdrawn else await self._subject(event)
        if subject is None:
            await self._drop(event, "its sound is not in the archive")
            return
        sealed = await self._sending.is_encrypted(room.room_id)
        if not await self._may_send(room, event, sealed=sealed):
            return
        event_id = await (self._send_info(subject) if event.state else self._send_chunk(subject, sealed=sealed))
        if event_id is not None:
            await self._note(event, event_id)

    async def _room(self, room_id: RoomId) -> Room:
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is None or not room.joined:  # coming back hastens the job
            raise TryLater("the bot is not in the room", after_s=LONGEST_WISH_S, room=room_id)
        if room.behind is not None:
            raise TryLater("what happened since the backup is being read", after_s=BEHIND_S, at_most_s=BEHIND_S)
        return room

    async def _drop(self, event: StudioEvent, why: str) -> None:
        async with self._store.write() as db:
            await rows.drop(db, event.id)
        log.info("event of a studio not sent, %s: room=%s event=%s", why, event.room_id, event.name)

    # ---- reading

    async def _subject(self, event: StudioEvent) -> _Subject | None:
        """Read what an event tells; None if it is not to be sent. Raises TryLater until the recording has begun."""
        began = our_events.started_name(event.key)
        async with self._store.read() as db:
            studio = await studios.by_key(db, event.key)
            recording = await archive.recording_by_event(db, began)
            if recording is None and await journal.pending(db, began) is not None:
                raise TryLater("the recording is about to begin", at_most_s=0.2)
            if recording is None and await journal.failed(db, [began]):
                raise TryLater("the recording could not begin", after_s=REFUSED_S)
            if studio is None or recording is None or recording.state is RecordingState.DELETED:
                return None
            first = await rows.get(db, event.key, STARTED)
            started = first.event_id if first is not None else None
            voice = in_room.Voice(studio.user_id, recording.broadcaster_name)
            if event.name == STARTED:
                return _Subject(event, voice, None)
            if started is None:
                return None
            if event.number is None:
                return _Subject(event, voice, started)
            piece = await studios.slice_of(db, studio.id, event.number)
            chunk = await archive.chunk_of_event(db, our_events.name(event.key, event.name))
        if chunk is not None and is_removed(chunk):
            return None
        blob = (piece.blob if piece else None) or (chunk.blob if chunk else None)
        if blob is None:
            return None
        duration_ms = (piece.duration_ms if piece else None) or (chunk.announced_ms if chunk else None)
        return _Subject(event, voice, started, blob, duration_ms)

    async def _may_send(self, room: Room, event: StudioEvent, *, sealed: bool) -> bool:
        """Return whether the bot may send the event. A broadcast whose beginning it may not send is not sent at all, of
        which the room is told once. Raises TryLater while the bot may not go on with one."""
        async with self._store.read() as db:
            power = await rooms.power(db, room.room_id)
        if rules.may_send_broadcast(self._us, power, sealed=sealed):
            return True
        if power.create is None or event.name != STARTED:
            raise TryLater("the bot may not send broadcasts in the room", after_s=REFUSED_S, room=room.room_id)
        async with self._store.write() as db:
            await rows.drop(db, event.id)
            await rows.drop_unsent(db, event.key)
            await tell_unheard(db, room, self._clock())
        log.info("broadcast not sent, the bot lacks the power level: room=%s", room.room_id)
        return False

    # ---- sending

    async def _send_info(self, subject: _Subject) -> EventId | None:
        event = subject.event
        if not await self._begin(event, None):
            return None
        content = in_room.info(event, subject.voice, subject.started)
        return await self._sending.set_state(event.room_id, MSC3888_INFO, content, key=self._us)

    async def _send_chunk(self, subject: _Subject, *, sealed: bool) -> EventId | None:
        event, started = subject.event, subject.started
        assert started is not None
        assert subject.blob is not None
        source = event.source if event.source is not None and (event.source.file or not sealed) else None
        try:
            async with self._store.blobs.local(subject.blob) as file:
                mimetype, size = await asyncio.to_thread(_look_at, file)
                if source is None and size > await self._uploads.limit():
                    await self._drop(event, "the homeserver takes only smaller files")
                    return None
                if source is None:
                    name = f"{event.name}.{mimetype.rpartition('/')[2]}"
                    source = await self._uploads.upload(file, mimetype, name=name, sealed=sealed)
        except FileNotFoundError:
            await self._drop(event, "its file is gone")
            return None
        except MediaStoreError as error:
            raise TryLater(str(error)) from None
        if not await self._begin(event, source):
            return None
        duration = DurationMs(subject.duration_ms) if subject.duration_ms is not None else None
        sound = in_room.Sound(size, mimetype, duration)
        content = in_room.chunk(event, subject.voice, started, sound, _file(source))
        return await self._sending.send(event.room_id, MSC3888_CHUNK, content, txn_id=transaction(event))

    async def _begin(self, event: StudioEvent, source: MediaSource | None) -> bool:
        async with self._store.write() as db:
            return await rows.begun(db, event, source)

    async def _note(self, event: StudioEvent, event_id: EventId) -> None:
        """Note the event in the room. A redaction of it may have come before."""
        async with self._store.write() as db:
            await studio_events.note(db, event, event_id, self._clock())
            redactor = await redacting.redacted_by(db, event.room_id, event_id, self._us)
            recording = await archive.recording_by_event(db, our_events.started_name(event.key))
            if redactor is None or recording is None or not (event.name == STARTED or event.number):
                return
            await rows.drop(db, event.id)
            name = our_events.name(event.key, event.name)
            await self._apply(db, recording.id, Redacted(name, redactor, may=True))

    # ---- what may have been sent

    async def _find(self, event: StudioEvent) -> EventId | None:
        """Look for an event in the room that nobody noted the answer of. Raises TryLater, GiveUp."""
        number = 0
        try:
            async for page in await self._pages(event):
                number += 1
                for heard in page:
                    mark = in_room.mark_of(self._us, heard)
                    if mark is not None and (mark.key, mark.name, mark.state) == (event.key, event.name, event.state):
                        return heard.event_id
                if number == MOST_PAGES:
                    break
        except GiveUp as refused:
            if refused.reason != "not_found":  # an old homeserver can't tell
                raise
        return None

    async def _pages(self, event: StudioEvent) -> AsyncIterator[Sequence[HeardEvent]]:
        if event.name == STARTED:
            return self._history.infos(event.room_id, self._us)
        async with self._store.read() as db:
            studio = await studios.by_key(db, event.key)
        if studio is None or studio.info_event is None:
            return self._history.infos(event.room_id, self._us)
        return self._history.referring(event.room_id, studio.info_event, self._us)


def transaction(event: StudioEvent) -> str:
    """Name the transaction of a chunk."""
    return f"studio-{event.key}-{event.name}"


async def tell_unheard(db: Connection, room: Room, now: datetime) -> None:
    """Tell a room once that the bot may not send it the events of its studio."""
    with speaking(await rooms.language(db, room.room_id)):
        body = _(words.STUDIO_UNHEARD)
    notice = orders.Notice(topics.studio_unheard(room.room_id), room.room_id, body, prefixed=True)
    await jobs.add(db, notice.job(), now)


def _file(source: MediaSource) -> Json:
    return {"url": source.mxc} if source.file is None else {"file": sealed_file(source)}


def _look_at(file: Path) -> tuple[str, int]:
    """Return the mimetype of a slice, by its own bytes, and its size."""
    with file.open("rb") as sound:
        size = sound.seek(0, 2)
        try:
            return MIMETYPES.get(sniff(sound), UNNAMED), size
        except GiveUp:
            return UNNAMED, size
