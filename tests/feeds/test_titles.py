"""Titles of episodes and channels that nobody named."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bot.feeds.titles import channel_title, credited_title, default_title, speaker
from bot.recording.lengths import spoken_length
from tests.factories import a_recording

BEGAN = datetime(2026, 11, 20, 13, 5, 59, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_default_title_is_name_and_local_time() -> None:
    """An unnamed episode is titled by its speaker and local time."""
    assert default_title("Alice", BEGAN, BERLIN) == "Alice, 20 November 2026, 14:05"


@pytest.mark.parametrize("name", [None, "", " \u202e\x00 ", "@alice:example.org", "Alice (@alice:example.org)"])
def test_nobody_is_named_by_an_mxid(name: str | None) -> None:
    """A speaker without a name that can be shown is Somebody."""
    assert default_title(name, BEGAN, ZoneInfo("UTC")) == "Somebody, 20 November 2026, 13:05"


def test_a_given_title_has_the_speakers_name_beside_it() -> None:
    """The name follows a title that people gave; the default title has it already."""
    said = a_recording(at=BEGAN, broadcaster_name="Alice")
    assert credited_title(said, BERLIN) == "Alice, 20 November 2026, 14:05"
    assert credited_title(replace(said, title="Soup"), BERLIN) == "Soup, by Alice"
    assert credited_title(replace(said, title="Soup", broadcaster_name="@a:hs"), BERLIN) == "Soup, by Somebody"


def test_a_name_is_itself() -> None:
    """A display name stays as it is, also one that begins with Somebody."""
    assert speaker("Somebody Else") == "Somebody Else"


def test_room_is_called_by_its_name_or_first_speaker() -> None:
    """A channel has the room's name, else the first speaker's, never an MXID."""
    assert channel_title("Kitchen", "Alice") == "Kitchen"
    assert channel_title(" \n", "Alice") == "Room of Alice"
    assert channel_title(None, "@alice:example.org") == "Room of Somebody"
    assert channel_title(None, None) == "A room"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0, "0 s"), (41_400, "41 s"), (59_600, "1 min"), (312_000, "5 min 12 s"), (7_440_000, "2 h 4 min"),
     (3_600_000, "1 h")],
)  # fmt: skip
def test_lengths_are_words(milliseconds: int, words: str) -> None:
    """A length is written in words, rounded to the second."""
    assert spoken_length(milliseconds) == words
