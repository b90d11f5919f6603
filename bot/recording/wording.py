"""The words for a recording, by its kind. Pure."""

from collections.abc import Mapping

from bot.language import N_, _
from bot.recording.broadcast.words import WORDS as BROADCAST
from bot.recording.call.words import CALLS
from bot.recording.kind_words import Words
from bot.recording.session.words import MESSAGES, TRANSMISSIONS
from storage.records import Recording, RecordingKind

WORDS: Mapping[RecordingKind, Words] = {
    RecordingKind.VOICE_BROADCAST: BROADCAST,
    RecordingKind.VOICE_MESSAGES: MESSAGES,
    RecordingKind.WALKIE_TALKIE: TRANSMISSIONS,
    RecordingKind.CALL: CALLS,
}

OF_ALL = {
    "room_full": N_(
        "This room's recordings take all the space they may have. Nothing new is kept until some are deleted."
    ),
    "unsent": N_(
        "I can't post this recording as a voice message: the homeserver refuses it. I try again later; the podcast has "
        "it all the same."
    ),
}
"""Notices about one recording that are the same for every kind."""
TOLD = frozenset({*OF_ALL, *BROADCAST.told})
"""The names of all notices about one recording."""


def words_of(recording: Recording) -> Words:
    return WORDS[recording.kind]


def name_of(recording: Recording) -> str:
    """Return the name of a recording's kind, in the language that is spoken now."""
    words = words_of(recording)
    return _(words.name_of(recording) if words.name_of else words.name)


def told(recording: Recording, what: str) -> str:
    """Return a notice about one recording, in the language that is spoken now; `what` is one of `TOLD`."""
    return _(OF_ALL.get(what) or words_of(recording).told[what])
