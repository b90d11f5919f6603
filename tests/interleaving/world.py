"""Speakers, a homeserver and the bot, each of which may be made to take the next step, and the bot to die."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from bot import dialects, orders
from bot.audio import grid
from bot.audio.opus_parts import Part
from bot.audio.plan import length
from bot.audio.voice_message import LEAST_BYTES
from bot.errors import GiveUp
from bot.matrix.media import FetchedMedia
from bot.matrix.sending import Sending
from bot.matrix.uploads import Uploads
from bot.recording.model import BroadcastChanged, ChunkSealed, ChunkSent
from bot.worker import handing_back
from bot.worker.attempts import LONGEST_PAUSE_S
from bot.worker.handing_back import HandingBack
from bot.worker.lanes import LANES
from bot.worker.notices import Notices
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from bot.worker.unsending import Unsending
from bot.worker.walking import Walking
from storage import gaps, jobs, journal
from storage.records import (
    DeviceId,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    Json,
    MediaSource,
    MxcUri,
    RecordingId,
    RoomId,
    Samples,
    SessionId,
    TimelineGap,
    UserId,
)
from tests import world as core
from tests.interleaving.homeserver import Fate, Homeserver, Told, sha256
from tests.interleaving.sound import RAW_FRAME, Codec
from tests.interleaving.speaker import Broadcast, Piece, Voice
from tests.worker.quick import without_pictures
from tests.world import ALICE, BOT, INFO, Killed, find_ffmpeg, world_of

T = TypeVar("T")

BOB = UserId("@bob:hs")
MALLORY = UserId("@mallory:hs")
PUT_OFF_S = 2 * LONGEST_PAUSE_S
FRAMES_OF_A_SEGMENT = 10  # chunks are short here
MOST_AT_ONCE = 1000  # jobs
LANE_KINDS = {lane.name: lane.kinds for lane in LANES}


class Complaints(logging.Handler):
    """Errors that were logged, and whatever comes with a traceback: mistakes of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.heard.append(self.format(record))


class Said:
    """The room, as it hears the bot. A transaction that comes again is the same event."""

    def __init__(self) -> None:
        self.notices: dict[str, Json] = {}

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        assert self.notices.setdefault(txn_id, content) == content
        return EventId(f"${txn_id}")


class Posted:
    """The room as it gets voice messages, and the files that they name."""

    def __init__(self) -> None:
        self.events: dict[str, Json] = {}
        self.redacted: set[str] = set()
        self.files: list[bytes] = []

    async def is_encrypted(self, room_id: RoomId) -> bool:
        return False

    async def limit(self) -> int:
        return LEAST_BYTES

    async def upload(self, file: Path, mimetype: str, *, name: str, sealed: bool) -> MediaSource:
        self.files.append(await asyncio.to_thread(file.read_bytes))
        return MediaSource(MxcUri(f"mxc://hs/{len(self.files) - 1}"))

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        self.events.setdefault(txn_id, content)
        return EventId(f"${txn_id}")

    async def redact(self, room_id: RoomId, event_id: EventId, *, txn_id: str) -> None:
        self.redacted.add(event_id)

    def visible(self, code: str) -> list[bytes]:
        """Return the files of a recording's messages that are not redacted."""
        return [
            self.files[int(content["url"].rpartition("/")[2])]
            for name, content in self.events.items()
            if f"${name}" not in self.redacted and content.get("org.aircheck.recording") == code
        ]


def sound_of(pieces: Sequence[Any]) -> bytes:
    """Return what stands for a voice message with this sound."""
    return repr(list(pieces)).encode()


async def _make_voice_message(pieces: Sequence[Any], channels: int, folder: Path, **_: Any) -> list[Part]:
    data, path = sound_of(pieces), folder / "sound"
    await asyncio.to_thread(path.write_bytes, data)
    return [Part(path, Samples(0), length(pieces), len(data), sha256(data))]


class World(RoomHistory):
    """The bot, its homeserver and its people. `run` drives the bot; a death in it is followed by a start."""

    def __init__(
        self,
        directory: Path,
        loop: asyncio.AbstractEventLoop,
        patch: pytest.MonkeyPatch,
        voice: Voice | None = None,
    ) -> None:
        """With a voice that people could hear, ffmpeg decodes and encodes."""
        self.loop = loop
        self.said = Said()
        self.posted = Posted()
        self.complaints = Complaints()
        self.voice = voice or Voice()
        self.broadcasts: list[Broadcast] = []
        self.begun: dict[EventId, datetime] = {}  # by the bot's clock
        self.deaths = 0
        self._meanwhiles: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._on_way: frozenset[SessionId] = frozenset()
        self._page: list[tuple[Told, bool]] = []
        sections = {} if voice else {"audio": {"loudness_lufs": None}}  # a sample that is changed can't say what it is
        self._open: AbstractAsyncContextManager[core.World] = world_of(directory, **sections)
        self.bot = loop.run_until_complete(self._open.__aenter__())
        self.clock = self.bot.clock
        self.peak = self.clock()
        self.homeserver = Homeserver(self.clock())
        self._codec = find_ffmpeg() if voice else Codec(self._meanwhile)
        if not voice:
            patch.setattr(grid, "frame_bytes", lambda _: RAW_FRAME)
            patch.setattr(grid, "SEGMENT_FRAMES", FRAMES_OF_A_SEGMENT)
        patch.setattr(handing_back, "make_voice_message", _make_voice_message)
        without_pictures(patch)
        self._complete()
        logging.getLogger("bot").addHandler(self.complaints)

    def close(self) -> None:
        logging.getLogger("bot").removeHandler(self.complaints)
        self.loop.run_until_complete(self._open.__aexit__(None, None, None))

    def _complete(self) -> None:
        """Give the bot what it lacks: media, keys, a codec that costs nothing, and somebody who listens."""
        self.bot.download = self._download
        self.bot.opens = self.homeserver.opens
        self.bot.use(self._codec)
        notices = Notices(
            self.bot.store,
            cast("Sending", self.said),
            self.bot.settings,
            apply=self.bot.recorder.apply,
            clock=self.clock,
        )
        self.bot.handlers[orders.Notice.kind] = notices
        self.bot.handlers[orders.Refresh.kind] = self._nothing
        for order in (orders.ShowRoom, orders.Pin, orders.React):
            self.bot.handlers[order.kind] = self._nothing
        sending, uploads = cast("Sending", self.posted), cast("Uploads", self.posted)
        self.bot.handlers[orders.HandBack.kind] = HandingBack(
            self.bot.store, self.bot.settings, self.bot.ffmpeg, sending, uploads, self, us=BOT, clock=self.clock
        )
        self.bot.handlers[orders.Unsend.kind] = Unsending(self.bot.store, sending)
        self.bot.handlers[orders.Walk.kind] = Walking(self.bot.store, self, self, clock=self.clock)

        self.bot.handlers[orders.Reread.kind] = Rereading(self.bot.store, self, BOT, clock=self.clock)

    async def _nothing(self, _: Job) -> None:
        """Do nothing: the room's state is as it was heard, and what the bot shows there is not looked at."""

    # ---- life and death

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """None when the process died of it; a new one has started then."""
        try:
            return self.loop.run_until_complete(work)
        except Killed:
            self.deaths += 1
            self.rise()
            return None

    def rise(self) -> None:
        """Start the bot, after a death or without one. Room keys that came are in the device's own store."""
        self._meanwhiles.clear()
        self._on_way = frozenset()
        self.loop.run_until_complete(self._rise())

    async def _rise(self) -> None:
        await self.bot.rise_again()
        self._complete()
        async with self.bot.store.write() as db:
            await journal.try_again(db)
        await self.bot.intake.open_all()

    def spare(self) -> None:
        """Nothing that was going to happen to it does."""
        self.bot.store.left = None
        self._meanwhiles.clear()

    def meanwhile(self, what: str) -> None:
        """Something happens in the middle of the next download or joining."""
        self._meanwhiles.append({"sync": self._sync_all, "desk": self._desk, "die": self._die}[what])

    async def _meanwhile(self) -> None:
        if self._meanwhiles:
            await self._meanwhiles.pop(0)()

    async def _sync_all(self) -> None:
        await self.sync()
        await self.bot.settle()

    async def _desk(self) -> None:
        await self.work(LANE_KINDS["desk"], 5)

    async def _die(self) -> None:
        raise Killed

    # ---- time

    def pass_by(self, seconds: float) -> None:
        self.homeserver.pass_by(seconds)
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Move the bot's clock alone."""
        self.clock.pass_by(seconds)
        self.peak = max(self.peak, self.clock())

    # ---- what the bot does

    async def sync(self, most: int | None = None, *, gap: int = 0, again: int = 0, keys: bool = True) -> None:
        """Sync the next events: at most so many, with those before them `again`, and the keys that were sent.

        None of a gap that is still to be read: it is written down with the token, so that no sync shows it again.
        """
        since = await self._since()
        upto = len(self.homeserver.timeline) if most is None else min(len(self.homeserver.timeline), since + most)
        new = self._on_way | (frozenset(self.homeserver.promised - self.homeserver.given) if keys else frozenset())
        self._on_way = new
        before = max(0, since - again)
        unread = [at for at in range(before, since) if self.homeserver.timeline[at].whole is None]
        before = max(unread) + 1 if unread else before
        batch, told = self.homeserver.answer(before, upto, gap=gap, keys=new)
        forms = [(one, not one.redacted) for one in told]
        try:
            await self.bot.intake.take(batch)
            self._on_way = frozenset()
        finally:
            if await self._since() == upto:
                self._written(forms)

    async def page(self, _: RoomId, start: str, __: str | None) -> tuple[tuple[HeardEvent, ...], str | None]:
        told, heard, next_cursor = self.homeserver.page(start)
        self._page = [(one, not one.redacted) for one in told]
        return heard, next_cursor

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        found = [one for one in await self._shown() if one.event_id == event_id]
        if not found:
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        return found[0]

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        for one in await self._shown():
            read = dialects.read(one)
            if isinstance(read, BroadcastChanged | ChunkSent | ChunkSealed) and read.broadcast == started:
                yield (one,) if read.sender == sender else ()

    async def referring(
        self, room_id: RoomId, event_id: EventId, sender: UserId
    ) -> AsyncIterator[tuple[HeardEvent, ...]]:
        yield tuple(
            HeardEvent(room_id, EventId(f"${name}"), {"content": content})
            for name, content in self.posted.events.items()
            if f"${name}" not in self.posted.redacted and content.get("m.relates_to", {}).get("event_id") == event_id
        )

    async def newest_info(self, room_id: RoomId, kind: str, sender: UserId) -> HeardEvent | None:
        return None

    async def _shown(self) -> list[HeardEvent]:
        """Return the events that the homeserver has shown so far, as it gives them now."""
        given, told = self.homeserver.given, self.homeserver.timeline[: await self._since()]
        return [one.heard(readable=one.session in given, history=True) for one in told]

    async def take_page(self, gap: TimelineGap, newest_first: Sequence[HeardEvent], next_cursor: str | None) -> None:
        """Take a page as the intake does, and note what was written also if the process dies."""
        forms = self._page
        try:
            await self.bot.intake.take_page(gap, newest_first, next_cursor)
        finally:
            async with self.bot.store.read() as db:
                current = await gaps.get(db, gap.id)
            if current != gap:
                self._written(forms)

    async def do_without(self, gap: TimelineGap) -> None:
        await self.bot.intake.do_without(gap)

    async def give_up(self, gap: TimelineGap) -> None:
        await self.bot.intake.give_up(gap)

    async def _since(self) -> int:
        since = await self.bot.intake.since()
        return int(since) if since and since.isdigit() else 0

    def _written(self, forms: list[tuple[Told, bool]]) -> None:
        for one, whole in forms:
            if one.whole is None:
                one.whole = whole
                self.begun[one.event_id] = self.clock()

    async def work(self, kinds: tuple[JobKind, ...], most: int) -> int:
        """At most so many due jobs of these kinds, each to its end as the lanes end it; how many."""
        for done in range(most):
            if not await self.bot.work_one(kinds):
                return done
        return most

    async def next_due(self, *, but: JobKind) -> datetime | None:
        """When something else wants to run."""
        async with self.bot.store.read() as db:
            return await jobs.next_due(db, [kind for kind in orders.KINDS if kind != but])

    async def all_due(self) -> None:
        await self.bot.settle()
        done = 0
        while await self.work(tuple(orders.KINDS), 1):
            done += 1
            assert done < MOST_AT_ONCE, "it works for ever"
            await self.bot.settle()

    async def rest(self) -> None:
        """Hears everything, and time passes until nothing is left to do but to ask for media that are not there."""
        await self.sync()
        await self._until_idle()
        self.pass_by(PUT_OFF_S)  # a download that was refused for now, and that nobody may want any more
        await self._until_idle()

    async def _until_idle(self) -> None:
        while True:
            await self.all_due()
            due = await self.next_due(but=orders.Fetch.kind)
            if due is None:
                return
            self.pass_by((due - self.clock()).total_seconds())

    async def make_again(self, recording_id: RecordingId) -> None:
        """Somebody asks for it in the shell."""
        async with self.bot.store.write() as db:
            await jobs.add(db, orders.Finish(recording_id, anew=True).job(), self.clock())

    async def keep_house(self) -> None:
        await self.bot.keeper.tidy()
        await self.bot.keeper.sweep()

    async def _download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await self._meanwhile()
        data = self.homeserver.download(source)
        await asyncio.to_thread(part.write_bytes, data)
        return FetchedMedia(len(data), sha256(data))

    # ---- what people do

    def start(self, who: UserId, device: DeviceId, *, web: bool, pages: int) -> Told:
        content = {"state": "started", "device_id": device, "chunk_length": 120}
        told = self.homeserver.tell(who, INFO, content, state_key=who)
        told.broadcast = Broadcast(told.event_id, who, device, web, pages, self.voice)
        self.broadcasts.append(told.broadcast)
        return told

    def change(self, broadcast: Broadcast, state: str, last: int | None = None, who: UserId | None = None) -> Told:
        """Send an info event; with `who` that of a stranger."""
        content: dict[str, Any] = {"state": state, "device_id": broadcast.device, "m.relates_to": _reference(broadcast)}
        content |= {} if last is None else {"last_chunk_sequence": last}
        sender = who or broadcast.who
        return self.homeserver.tell(sender, INFO, content, state_key=sender, broadcast=broadcast)

    def send(self, broadcast: Broadcast, piece: Piece, fate: Fate, session: SessionId | None) -> Told:
        """Send a chunk's event: it has its number and is uploaded now."""
        broadcast.uploaded(piece)
        mxc = self.homeserver.upload(piece.data, fate)
        told = self._chunk(broadcast, broadcast.who, mxc, piece.number, piece.announced_ms, session)
        told.piece = piece
        piece.events.append(told.event_id)
        return told

    def forge(self, broadcast: Broadcast, number: int) -> Told:
        """Send a stranger's chunk."""
        mxc = self.homeserver.upload(b"RIFF", Fate.HERE)
        return self._chunk(broadcast, MALLORY, mxc, number, 1000, None)

    def chat(self, broadcast: Broadcast, session: SessionId | None) -> Told:
        """Something of the speaker's that refers to the broadcast and is no chunk."""
        content = {"msgtype": "m.text", "body": "…", "m.relates_to": _reference(broadcast)}
        return self.homeserver.tell(broadcast.who, "m.room.message", content, broadcast=broadcast, session=session)

    def _chunk(
        self,
        broadcast: Broadcast,
        who: UserId,
        mxc: str,
        number: int | None,
        announced_ms: int | None,
        session: SessionId | None,
    ) -> Told:
        content = {
            "msgtype": "m.audio",
            "url": mxc,
            "info": {} if announced_ms is None else {"duration": announced_ms},
            "m.relates_to": _reference(broadcast),
            "io.element.voice_broadcast_chunk": {"sequence": number},
        }
        return self.homeserver.tell(who, "m.room.message", content, broadcast=broadcast, session=session)

    def leave(self, who: UserId) -> Told:
        return self.homeserver.tell(who, "m.room.member", {"membership": "leave"}, state_key=who)

    def redact_next(self, who: UserId) -> None:
        """Redact an event before it is sent: a server may deliver them in this order
        (https://github.com/matrix-org/synapse/issues/14231)."""
        self.homeserver.tell(who, "m.room.redaction", {}, redacts=f"${len(self.homeserver.timeline) + 1}")

    def redact(self, target: Told) -> Told:
        redaction = self.homeserver.redact(target, ALICE)
        redaction.redacts = target
        return redaction


def _reference(broadcast: Broadcast) -> dict[str, str]:
    return {"rel_type": "m.reference", "event_id": broadcast.started}
