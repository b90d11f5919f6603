"""Names and titles that people wrote are harmless in the bot's answers."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.feeds.shown import SHOWN_CHARACTERS, person, shown

HOSTILE = st.text(st.sampled_from("@room:hs\u202e\u2066\u200f\u200e\u061c\n\r\t\x00\u2028 aRoOM＠\ud800\ue000é"))


@given(HOSTILE)
def test_names_are_one_short_line_without_pings(text: str) -> None:
    """No control, direction or private-use character, line end or @room is left of any text."""
    for line in (shown(text), person(text, "@a:hs"), person(None, f"@{text}:hs")):
        assert len(line) <= SHOWN_CHARACTERS
        assert "@room" not in line.lower()
        assert not any(unicodedata.category(character) in {"Cc", "Cs", "Co", "Zl", "Zp"} for character in line)
        assert not set(line) & set("\u202e\u2066\u200f\u200e\u061c")
    assert person(text, "@a:hs")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Mira", "Mira"),
        ("  Mira\n\nB. ", "Mira B."),
        ("👩‍👧 Mira", "👩‍👧 Mira"),
        (None, "@a:hs"),
        ("", "@a:hs"),
        ("\u200f", "@a:hs"),
        ("@mod:hs", "@a:hs"),
        ("@room", "room"),
        ("@@ROOM", "ROOM"),
        ("@\u202eroom", "room"),
        ("x" * 99, "x" * 79 + "…"),
    ],
)
def test_a_person_is_named_or_identified(name: str | None, line: str) -> None:
    """A person goes by display name, or by their own id where the name is empty or looks like an id."""
    assert person(name, "@a:hs") == line


def test_an_id_is_made_harmless_too() -> None:
    """A historical id with any character in it is made harmless."""
    assert person(None, "@room:hs") == "room:hs"
    assert person(None, "@\u202ea\nb:hs") == "@ab:hs"
