"""A world of one broadcast: events go in by name, and the recording can be looked at after each."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot import dialects
from bot.recording.broadcast import machine
from bot.recording.kind import Machine
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.model import (
    Answer,
    BroadcastChanged,
    BroadcastStarted,
    Change,
    ChunkFailed,
    ChunkSealed,
    ChunkSent,
    ChunkStored,
    Effect,
    Erase,
    FetchChunk,
    Outcome,
    RecordingEvent,
    Redacted,
    RoomEvent,
    Tick,
)
from bot.recording.policy import Limits
from bot.settings import RecordingSettings
from storage.records import (
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Container,
    DeviceId,
    DurationMs,
    EventId,
    HeardEvent,
    MediaSource,
    MxcUri,
    OggFacts,
    Position,
    Recording,
    RecordingId,
    RoomId,
    Samples,
    SessionId,
    Timing,
    UserId,
    chunk_id_of,
)
from tests.factories import a_chunk

DATA = Path(__file__).parent.parent / "data" / "events"
ROOM = RoomId("!room:hs")
START = EventId("$start")
ALICE = UserId("@alice:hs")
DEVICE = DeviceId("DEVICE")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def limits(**changes: float) -> Limits:
    """Return the limits of the default settings, with changes."""
    return Limits(**RecordingSettings().model_dump() | changes)


LIMITS = limits()
SECOND = 48_000
PACKET = 960
PAGE = 40 * PACKET
PRE_SKIP = 3840
HEAD = "head"


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def started(device: DeviceId | None = DEVICE, sender: UserId = ALICE) -> BroadcastStarted:
    return BroadcastStarted(sender=sender, device_id=device, sent_at=NOON)


def recording(**changes: Any) -> Recording:
    begun = machine.begin(started(), room_id=ROOM, event_id=START, position=Position(1), now=NOON)
    return replace(begun, id=RecordingId(1), code="kfmtra", number=1, **changes)


def slices(lengths: Iterable[int], *, serial: int = 7, eos: bool = True) -> list[ChunkFacts]:
    """Return the facts of one run as Element Web's recorder cuts it: a chunk for each number of pages."""
    counts = list(lengths)
    found, page, granule = [], 2, 0
    for index, pages in enumerate(counts):
        last = index == len(counts) - 1
        found.append(ogg(page, pages, granule, serial=serial, eos=eos and last))
        page, granule = page + pages, granule + pages * PAGE
    return found


def ogg(first_page: int, pages: int, start: int, *, serial: int = 7, eos: bool = False) -> ChunkFacts:
    samples = pages * PAGE
    return with_pages(
        OggFacts(
            serial=serial,
            first_page=first_page,
            last_page=first_page + pages - 1,
            start_granule=start,
            end_granule=start + samples,
            eos=eos,
            pre_skip=Samples(PRE_SKIP),
            packet_samples=Samples(samples),
            contiguous=True,
            head_sha256=HEAD,
        )
    )


def with_pages(pages: OggFacts) -> ChunkFacts:
    samples = Samples(max(0, pages.packet_samples - pages.pre_skip))
    return ChunkFacts(Container.OGG_OPUS, Timing.EXACT, samples, sample_rate=44_100, channels=1, ogg=pages)


def mp4(length_s: float = 5, timing: Timing = Timing.ESTIMATED) -> ChunkFacts:
    return ChunkFacts(Container.MP4_AAC, timing, Samples(round(length_s * SECOND)), sample_rate=48_000, channels=1)


def blob(text: str) -> BlobKey:
    return BlobKey(hashlib.sha256(text.encode()).hexdigest())


def stored(
    event_id: str, sequence: int | None, facts: ChunkFacts, *, position: int | None = None, media: str | None = None
) -> Chunk:
    """Return a chunk that is stored already."""
    return a_chunk(
        event_id=EventId(event_id),
        position=Position(position if position is not None else 10 + (sequence or 0)),
        sequence=sequence,
        blob=blob(media or event_id),
        bytes=1000,
        facts=facts,
    )


def absent(
    event_id: str,
    sequence: int | None,
    state: ChunkState,
    *,
    position: int | None = None,
    announced_ms: int | None = None,
) -> Chunk:
    """Return a chunk whose sound is not there."""
    at = Position(position if position is not None else 10 + (sequence or 0))
    announced = DurationMs(announced_ms) if announced_ms is not None else None
    return a_chunk(event_id=EventId(event_id), position=at, sequence=sequence, state=state, announced_ms=announced)


def shape(ledger: Ledger) -> list[tuple[str | None, int | None, str]]:
    """Event, number and state of every entry, in the order of the sound."""
    return [(entry.chunk_id, entry.sequence, str(entry.state)) for entry in ledger.entries]


@dataclass
class World:
    """A recording and its chunks, told one event after another. Time stands still unless a test moves it."""

    recording: Recording = field(default_factory=recording)
    chunks: tuple[Chunk, ...] = ()
    now: datetime = NOON
    limits: Limits = LIMITS
    effects: list[Effect] = field(default_factory=list)  # of the last event
    position: int = 1
    step: Machine = machine.step

    def tell(self, event: RecordingEvent, event_id: str = "$event", position: int | None = None) -> Outcome:
        self.position += 1
        outcome = self.step(
            self.recording,
            self.chunks,
            event,
            now=self.now,
            limits=self.limits,
            event_id=EventId(event_id),
            position=Position(position if position is not None else self.position),
        )
        self.recording, self.effects = outcome.recording, list(outcome.effects)
        self.chunks = () if Erase() in outcome.effects else outcome.chunks
        return outcome

    def wait(self, length_s: float) -> Outcome:
        """Time goes by, then the clock is looked at."""
        self.now += seconds(length_s)
        return self.tell(Tick())

    def change(self, change: Change, last: int | None = None, sender: UserId = ALICE) -> Outcome:
        event = BroadcastChanged(START, sender, change, last, DEVICE, self.now)
        return self.tell(event, f"${change}{self.position}")

    def stop(self, last: int | None = None) -> Outcome:
        return self.change(Change.STOPPED, last)

    def send(self, name: str, sequence: int | None, *, sender: UserId = ALICE, position: int | None = None) -> Outcome:
        return self.tell(sent(name, sequence, sender=sender), name, position)

    def seal(self, name: str) -> Outcome:
        return self.tell(ChunkSealed(START, ALICE, SessionId("session"), self.now), name)

    def store(self, name: str, facts: ChunkFacts, media: str | None = None, size: int = 1000) -> Outcome:
        return self.tell(ChunkStored(ChunkId(name), blob(media or name), size, facts))

    def fail(self, name: str, state: ChunkState, reason: str = "not_found") -> Outcome:
        """By a rule of ours, or because of the event."""
        return self.tell(ChunkFailed(ChunkId(name), state, reason))

    def answer(self, name: str, media: str | None, reason: str = "not_audio", size: int = 100) -> Outcome:
        """Answer with media that can't be used; None: with nothing."""
        if media is None:
            return self.tell(ChunkFailed(ChunkId(name), ChunkState.WAITING_FOR_MEDIA, reason, Answer(reason)))
        answer = Answer(f"{reason}:{blob(media)}", blob(media), size)
        return self.tell(ChunkFailed(ChunkId(name), ChunkState.DAMAGED, reason, answer))

    def redact(self, name: str) -> Outcome:
        return self.tell(Redacted(EventId(name), ALICE))

    def say(self, name: str, sequence: int | None, facts: ChunkFacts, media: str | None = None) -> Outcome:
        """Send a chunk that is fetched at once."""
        self.send(name, sequence)
        return self.store(name, facts, media)

    def speak(self, facts: Iterable[ChunkFacts], first: int = 1) -> None:
        """Chunk after chunk, `$1`, `$2`, …"""
        for sequence, each in enumerate(facts, start=first):
            self.say(f"${sequence}", sequence, each)

    @property
    def ledger(self) -> Ledger:
        return lay_out(self.recording, self.chunks)

    def chunk(self, name: str) -> Chunk:
        return next(chunk for chunk in self.chunks if chunk.event_id == name)


def sent(name: str, sequence: int | None, *, sender: UserId = ALICE, announced_ms: int | None = 5600) -> ChunkSent:
    announced = DurationMs(announced_ms) if announced_ms is not None else None
    return ChunkSent(START, sender, sequence, MediaSource(MxcUri(f"mxc://hs/{name[1:]}")), announced, 1000, NOON)


# ---- what a real Element Web sent


def captured(name: str) -> tuple[list[HeardEvent], dict[str, ChunkStored]]:
    """Return the events of a capture as they were heard, and what is stored of each chunk."""
    data = json.loads((DATA / f"{name}.json").read_text())
    heard = []
    for index, pair in enumerate(data["events"]):
        event, clear = pair["event"], pair["decrypted"]
        heard.append(
            HeardEvent(
                room_id=ROOM,
                event_id=EventId(event["event_id"]),
                event=event | clear if clear else event,
                position=Position(100 + index),
                encrypted=clear is not None,
                clear_relation=event["content"].get("m.relates_to") if clear else None,
            )
        )
    return heard, {event_id: _media(event_id, media) for event_id, media in data["media"].items()}


def _media(event_id: str, media: dict[str, Any]) -> ChunkStored:
    pages = {key: value for key, value in media.items() if key not in ("bytes", "sha256")}
    return ChunkStored(ChunkId(event_id), BlobKey(media["sha256"]), media["bytes"], with_pages(OggFacts(**pages)))


def replayed(name: str) -> World:
    """Tell a capture to the machine, each chunk fetched as soon as it was sent."""
    heard, media = captured(name)
    world: World | None = None
    for each in heard:
        event = dialects.read(each)
        if isinstance(event, BroadcastStarted):
            begun = machine.begin(event, room_id=ROOM, event_id=each.event_id, position=each.position, now=NOON)
            world = World(begun)
        elif world and isinstance(event, RoomEvent):
            world.tell(event, each.event_id, each.position)
            if FetchChunk(chunk_id_of(each.event_id)) in world.effects:
                world.tell(media[each.event_id])
    assert world is not None
    return world
