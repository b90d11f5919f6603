"""A recorded call, told one event after another. Its slices are ten seconds long unless a test says otherwise."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.recording.call import machine
from bot.recording.call.layout import WINDOW, lay_out
from bot.recording.ledger import Ledger
from bot.recording.model import Effect, Erase, Outcome, RecordingEvent, SlicesKept, StemClosed, StemOpened, Tick
from bot.recording.policy import Limits
from storage.records import (
    CallProtocol,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Container,
    EventId,
    LeftBy,
    Position,
    Recording,
    RecordingId,
    RecordingState,
    Samples,
    Stem,
    Timing,
    UserId,
)
from tests.recording.world import LIMITS, NOON, ROOM, SECOND, blob, seconds

ANN, BEN = UserId("@ann:hs"), UserId("@ben:hs")
STARTED = EventId("$call")


def begun(now: datetime = NOON) -> Recording:
    """Return the recording of a call that Ann began, as it is stored."""
    begin = machine.begin(
        protocol=CallProtocol.MSC3401,
        call_id="call",
        room_id=ROOM,
        event_id=STARTED,
        position=Position(1),
        broadcaster=ANN,
        broadcaster_name="Ann",
        now=now,
    )
    return replace(begin, id=RecordingId(1), code="kfmtra", number=1)


def stem(number: int, who: UserId = ANN, device: str = "DEV", joined_s: float = 0) -> Stem:
    joined = Samples(round(joined_s * SECOND))
    return Stem(number, who, device, who[1:4].capitalize(), joined, Position(1), serial=number)


def slice_of(
    number: int, n: int, who: UserId = ANN, *, position: int = 2, length: int = WINDOW, media: str | None = None
) -> Chunk:
    """Return the n-th slice of a stem, from 0, which fills its window. Each has its own sound, or the one named."""
    return Chunk(
        id=ChunkId(f"call-1-{number}-{n}"),
        recording_id=RecordingId(1),
        event_id=None,
        sender=who,
        position=Position(position),
        state=ChunkState.STORED,
        blob=blob(media or f"{number}-{n}"),
        bytes=1000,
        facts=ChunkFacts(Container.OGG_OPUS, Timing.EXACT, Samples(length), 48_000, 1),
        stem=number,
        at=Samples(n * WINDOW),
    )


def closed(number: int, left_s: float, by: LeftBy = LeftBy.LEFT) -> StemClosed:
    left = Samples(round(left_s * SECOND))
    return StemClosed(number, left, by, received=left, lost=Samples(0), blob=blob(f"stem-{number}"), bytes=5000)


@dataclass
class Call:
    """A call whose recording began at noon."""

    limits: Limits = LIMITS
    now: datetime = NOON
    recording: Recording = field(default_factory=begun)
    chunks: tuple[Chunk, ...] = ()
    effects: list[Effect] = field(default_factory=list)  # of the last event
    ignored: str | None = None  # of the last event

    def tell(self, event: RecordingEvent) -> Outcome:
        outcome = machine.step(self.recording, self.chunks, event, now=self.now, limits=self.limits)
        self.recording, self.effects, self.ignored = outcome.recording, list(outcome.effects), outcome.ignored
        self.chunks = () if Erase() in outcome.effects else outcome.chunks
        return outcome

    def join(self, who: UserId = ANN, device: str = "DEV", joined_s: float = 0) -> int:
        """Open a stem, and return its number."""
        number = len(self.recording.stems) + 1
        self.tell(StemOpened(stem(number, who, device, joined_s)))
        return number

    def keep(self, *slices: Chunk) -> Outcome:
        return self.tell(SlicesKept(slices))

    def wait(self, for_s: float) -> Outcome:
        self.now += seconds(for_s)
        return self.tell(Tick())

    @property
    def state(self) -> RecordingState:
        return self.recording.state

    @property
    def ledger(self) -> Ledger:
        return lay_out(self.recording, self.chunks)
