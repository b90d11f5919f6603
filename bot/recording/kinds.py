"""The kinds of recordings, and the functions that differ between them. Pure.

A kind is a module and a line in this table. All other code is the same for all kinds, and uses this table: nothing
outside a kind's own modules looks at `Recording.kind`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.recording.broadcast import layout, machine, pauses
from bot.recording.ledger import LayOut, Ledger
from bot.recording.model import Outcome, RecordingEvent
from bot.recording.policy import Limits
from storage.records import Chunk, EventId, Mark, Position, Recording, RecordingKind


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


Chapters = Callable[[Recording, Iterable[Chunk], Ledger, str | None], tuple[Mark, ...]]


@dataclass(frozen=True, slots=True)
class Kind:
    """The parts of a recording that its kind decides."""

    step: Machine
    lay_out: LayOut
    chapters: Chapters  # of recording, chunks, ledger and the title that people gave it
    related: bool  # its events relate to the first: the homeserver is asked for all of them before any counts as
    # missing, and one that lost its relation is looked for


KINDS: Mapping[RecordingKind, Kind] = {
    RecordingKind.VOICE_BROADCAST: Kind(machine.step, layout.lay_out, pauses.chapters, related=True),
}


def kind_of(recording: Recording) -> Kind:
    return KINDS[recording.kind]


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Return the ledger: the place of every chunk and gap. The order in which the chunks come doesn't matter."""
    return kind_of(recording).lay_out(recording, chunks)
