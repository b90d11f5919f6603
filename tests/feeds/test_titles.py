"""Titles of episodes and channels that nobody named."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.feeds.shown import person, shown, title_of
from bot.feeds.titles import (
    MOST_PERSONS,
    channel_title,
    credited_title,
    default_title,
    persons,
    speaker,
    speakers,
)
from bot.recording.lengths import spoken_length
from storage.records import Credit, Recording, UserId
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


def a_session(*names: str | None, **changes: Any) -> Recording:
    """Return a session in which people of these names are heard, in this order."""
    heard = tuple(Credit(UserId(f"@{number}:hs"), name) for number, name in enumerate(names))
    return a_recording(at=BEGAN, broadcaster=heard[0].user_id, broadcaster_name=names[0], speakers=heard, **changes)


def test_a_title_names_the_other_speakers() -> None:
    """The default title of a session names whoever began it; beside it stand the others."""
    assert credited_title(a_session("Ann"), BERLIN) == "Ann, 20 November 2026, 14:05"
    assert credited_title(a_session("Ann", "Ben"), BERLIN) == "Ann, 20 November 2026, 14:05, with Ben"
    assert credited_title(a_session("Ann", "Ben", title="Soup"), BERLIN) == "Soup, by Ann and Ben"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["Ann"], "Ann"),
        (["Ann", "Ben"], "Ann and Ben"),
        (["Ann", "Ben", "Cem"], "Ann, Ben and Cem"),
        (["Ann", "Ben", "Cem", "Dora", "Eva"], "Ann, Ben and 3 others"),
        (["Ann", "Ben", "Cem", "@dora:hs"], "Ann, Ben and 2 others"),
        (["@ann:hs", "Ben"], "Ben and 1 other"),
        ([None, "@ann:hs"], "Somebody and 1 other"),
        (["Ann", "Ann"], "Ann and 1 other"),
    ],
)
def test_speakers_in_one_line(names: list[str | None], line: str) -> None:
    """A line names the first speakers and counts the others; none stands there as an MXID."""
    assert speakers(a_session(*names)) == line


def test_a_list_of_speakers_has_every_name_once() -> None:
    """Feeds and tags list each name, up to a bound."""
    assert persons(a_session("Ann", "@ben:hs", "Ann", None)) == ("Ann", "Somebody")
    assert len(persons(a_session(*(f"Name {number}" for number in range(200))))) == MOST_PERSONS


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


HEBREW, ARABIC = "\u05d3\u05e0\u05d4", "\u0645\u0631\u062d\u0628\u0627"


def test_names_from_right_to_left_stand_apart_from_what_is_beside_them() -> None:
    """Each Hebrew or Arabic name, and a title, stands in an isolate of its own; dates, words and other names outside of
    it; a name that stands alone has none."""
    said = a_session(HEBREW, "Ben", ARABIC)
    assert speakers(said) == f"\u2068{HEBREW}\u2069, Ben and \u2068{ARABIC}\u2069"
    assert (
        credited_title(said, BERLIN)
        == f"\u2068{HEBREW}\u2069, 20 November 2026, 14:05, with Ben and \u2068{ARABIC}\u2069"
    )
    titled = a_session("Ann", title=f"{HEBREW} 7")
    assert credited_title(titled, BERLIN) == f"\u2068{HEBREW} 7\u2069, by Ann"
    assert channel_title(None, ARABIC) == f"Room of \u2068{ARABIC}\u2069"
    assert persons(said) == (HEBREW, "Ben", ARABIC)
    assert channel_title(HEBREW, None) == HEBREW


def test_notices_keep_names_from_right_to_left_apart() -> None:
    """A notice shows a Hebrew name in an isolate, also where it is cut or came with directions of its own; what was
    typed there by others opens none."""
    assert shown(HEBREW) == f"\u2068{HEBREW}\u2069"
    assert shown(f"\u202e{HEBREW}\u2068") == f"\u2068{HEBREW}\u2069"
    assert shown("\u2068Ann\u2069 \u2067") == "Ann"
    assert shown(HEBREW * 50, 10) == f"\u2068{(HEBREW * 50)[:9]}…\u2069"
    assert title_of(a_session(HEBREW, "Ben"), BERLIN) == f"\u2068{HEBREW}\u2069, 20 November 2026, 14:05, with Ben"
    assert person(ARABIC, "@a:hs") == f"\u2068{ARABIC}\u2069"
