"""The kinds of recordings. Pure.

A kind is a module and a line in this table. All other code is the same for all kinds, and uses this table: nothing
outside a kind's own modules looks at `Recording.kind`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bot.recording.broadcast import layout as broadcast_layout
from bot.recording.broadcast import machine as broadcast_machine
from bot.recording.broadcast import pauses
from bot.recording.call import layout as call_layout
from bot.recording.call import machine as call_machine
from bot.recording.call import speakers as call_speakers
from bot.recording.call import turns as call_turns
from bot.recording.kind import Kind
from bot.recording.ledger import Ledger
from bot.recording.session import layout as session_layout
from bot.recording.session import machine as session_machine
from bot.recording.session import turns
from storage.records import Chunk, Recorded, Recording, RecordingKind

_MESSAGES = Kind(
    session_machine.step,
    session_layout.lay_out,
    turns.chapters,
    several_speakers=True,
    related=False,
    recorded_with=frozenset({Recorded.MESSAGES}),
)

KINDS: Mapping[RecordingKind, Kind] = {
    RecordingKind.VOICE_BROADCAST: Kind(
        broadcast_machine.step,
        broadcast_layout.lay_out,
        pauses.chapters,
        several_speakers=False,
        related=True,
        recorded_with=frozenset({Recorded.BROADCASTS}),
    ),
    RecordingKind.VOICE_MESSAGES: _MESSAGES,
    RecordingKind.WALKIE_TALKIE: replace(
        _MESSAGES,
        recorded_with=frozenset({Recorded.BROADCASTS, Recorded.MESSAGES}),
        replayed=False,  # its sound is in the room already
    ),
    RecordingKind.CALL: Kind(
        call_machine.step,
        call_layout.lay_out,
        call_turns.chapters,
        several_speakers=True,
        related=False,
        recorded_with=frozenset({Recorded.CALLS}),
        speakers=call_speakers.speakers,
        taking_part=call_speakers.taking_part,
        spoken=call_turns.spoken,
        stems=True,
        goes_on=True,
    ),
}


def kind_of(recording: Recording) -> Kind:
    return KINDS[recording.kind]


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Return the ledger: the place of every chunk and gap. The order in which the chunks come doesn't matter."""
    return kind_of(recording).lay_out(recording, chunks)
