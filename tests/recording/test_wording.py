"""The words for a recording, by its kind."""

from string import Formatter

import pytest

from bot.recording.kinds import KINDS
from bot.recording.wording import OF_ALL, TOLD, WORDS, name_of, told
from storage.records import CallProtocol, RecordingKind
from tests.factories import a_recording


@pytest.mark.parametrize("kind", RecordingKind)
def test_every_kind_has_its_words(kind: RecordingKind) -> None:
    """Each kind has every notice, and says nothing of another kind. A session goes on without what is redacted."""
    words = WORDS[kind]
    untold = {"removed"} if KINDS[kind].several_speakers else set()
    assert set(words.told) | set(OF_ALL) == TOLD - untold
    texts = [words.begun, words.gone, words.waiting, words.parts, *words.told.values(), *words.no_end.values()]
    assert any("broadcast" in text for text in texts) == (kind is RecordingKind.VOICE_BROADCAST)
    assert [name for _, name, _, _ in Formatter().parse(words.begun) if name] == ["who"]


def test_a_notice_is_the_one_of_the_kind() -> None:
    """A notice about a recording names what was recorded; some are the same for all."""
    messages = a_recording(kind=RecordingKind.VOICE_MESSAGES)
    assert told(messages, "limit").startswith("These voice messages are longer")
    assert told(messages, "room_full") == OF_ALL["room_full"]


def test_calls_are_named_by_how_people_know_them() -> None:
    """Each protocol has a name of its own; the other kinds have one name."""
    names = {name_of(a_recording(kind=RecordingKind.CALL, protocol=protocol)) for protocol in CallProtocol}
    assert names == {"Group call", "Voice channel", "Element Call"}
    assert name_of(a_recording(kind=RecordingKind.VOICE_MESSAGES)) == "Voice messages"
