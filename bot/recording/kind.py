"""The functions that a kind of recording decides on. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from bot.recording.ledger import LayOut, Ledger
from bot.recording.model import Outcome, RecordingEvent, Spoken
from bot.recording.policy import Limits
from bot.recording.speakers import Speaker, speakers, taking_part
from storage.records import SAMPLE_RATE, Chunk, EventId, Mark, Position, Recorded, Recording, Samples, UserId


class Machine(Protocol):
    """The machine of one kind of recording: a state and an event in, the new state and its effects out."""

    def __call__(
        self,
        recording: Recording,
        chunks: tuple[Chunk, ...],
        event: RecordingEvent,
        *,
        now: datetime,
        limits: Limits,
        event_id: EventId | None = None,
        position: Position | None = None,
        asked: bool = True,
    ) -> Outcome: ...


Named = Callable[[str | None], str]
"""The name to show for a display name: never an MXID, `Somebody` where there is none."""

Chapters = Callable[[Recording, Iterable[Chunk], Ledger, str | None, Named], tuple[Mark, ...]]

BREATH = Samples(SAMPLE_RATE)
"""The length of a pause up to which it is a part of the speech around it: between words and sentences."""


class Speech(NamedTuple):
    """A stretch of speech in a stem, on the clock of the call."""

    stem: int
    begin: Samples
    end: Samples


@dataclass(frozen=True, slots=True)
class Kind:
    """The parts of a recording that its kind decides."""

    step: Machine
    lay_out: LayOut
    chapters: Chapters  # of recording, chunks, ledger, the title that people gave it, and the names to show
    several_speakers: bool  # each chunk may be somebody else's
    related: bool  # its events relate to the first: the homeserver is asked for all of them before any counts as
    # missing, and one that lost its relation is looked for
    recorded_with: frozenset[Recorded]  # one runs only while its room has any of these switched on
    replayed: bool = True  # it is handed back as one voice message, where the room wants that
    speakers: Callable[[Recording, Iterable[Chunk], Ledger], tuple[Speaker, ...]] = speakers  # in the audio
    taking_part: Callable[[Recording, Iterable[Chunk]], frozenset[UserId]] = taking_part  # whose sound it has or awaits
    spoken: Callable[[Recording, Iterable[Speech]], Spoken] | None = None  # who speaks in it, where the mix tells that
    stems: bool = False  # its sound is in stems, which the engine of calls writes while it runs
    goes_on: bool = False  # also when nobody who takes part may be recorded: others may come
