"""A session, told one event after another, and its messages by name."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.model import ChunkStored, Effect, Erase, Outcome, RecordingEvent, Redacted, Tick, VoiceMessage
from bot.recording.policy import Limits
from bot.recording.session import machine
from storage.records import (
    Chunk,
    ChunkId,
    DurationMs,
    EventId,
    MediaSource,
    MxcUri,
    Position,
    Recording,
    RecordingId,
    RecordingState,
    UserId,
)
from tests.recording.world import LIMITS, NOON, ROOM, blob, mp4, seconds

ANN, BEN = UserId("@ann:hs"), UserId("@ben:hs")
FIRST = EventId("$1")


def said(who: UserId = ANN, at: datetime = NOON, announced_ms: int | None = 4000) -> VoiceMessage:
    announced = None if announced_ms is None else DurationMs(announced_ms)
    name = who[1:4].capitalize()
    return VoiceMessage(who, MediaSource(MxcUri("mxc://hs/x")), announced, 1000, at, sender_name=name)


def begun(message: VoiceMessage) -> Recording:
    """Return the session that begins with this message, as it is stored."""
    line = machine.Line(thread=message.thread)
    begin = machine.begin(message, line, room_id=ROOM, event_id=FIRST, position=Position(1), said_at=NOON, now=NOON)
    return replace(begin, id=RecordingId(1), code="kfmtra", number=1)


@dataclass
class Session:
    """A session that begins with Ann's message `$1` at noon. The others are `$2`, `$3`, …"""

    limits: Limits = LIMITS
    now: datetime = NOON
    recording: Recording = field(default_factory=lambda: begun(said()))
    chunks: tuple[Chunk, ...] = ()
    effects: list[Effect] = field(default_factory=list)  # of the last event
    bare: bool = False  # without its first message
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        if not self.bare:
            self.send(ANN)

    def tell(self, event: RecordingEvent, event_id: str = "$event", position: int | None = None) -> Outcome:
        outcome = machine.step(
            self.recording,
            self.chunks,
            event,
            now=self.now,
            limits=self.limits,
            event_id=EventId(event_id),
            position=None if position is None else Position(position),
        )
        self.recording, self.effects = outcome.recording, list(outcome.effects)
        self.chunks = () if Erase() in outcome.effects else outcome.chunks
        return outcome

    def send(self, who: UserId, announced_ms: int | None = 4000, name: str | None = None) -> Outcome:
        """Send a message now; its place in the timeline is its number."""
        name = name or f"${next(self._numbers)}"
        return self.tell(said(who, self.now, announced_ms), name, int(name[1:]))

    def store(self, name: str, length_s: float = 4, media: str | None = None) -> Outcome:
        return self.tell(ChunkStored(ChunkId(name), blob(media or name), 1000, mp4(length_s)))

    def say(self, who: UserId, length_s: float = 4) -> Outcome:
        """Send a message that is fetched at once."""
        self.send(who)
        return self.store(str(self.chunks[-1].event_id), length_s)

    def redact(self, name: str) -> Outcome:
        return self.tell(Redacted(EventId(name), ANN))

    def wait(self, length_s: float) -> Outcome:
        """Let time pass, and look at the clock."""
        self.now += seconds(length_s)
        return self.tell(Tick())

    @property
    def ledger(self) -> Ledger:
        return lay_out(self.recording, self.chunks)

    @property
    def state(self) -> RecordingState:
        return self.recording.state

    def chunk(self, name: str) -> Chunk:
        return next(chunk for chunk in self.chunks if chunk.event_id == name)
