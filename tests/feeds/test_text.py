"""Cleaning of text that strangers wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.feeds import mxids
from bot.feeds.text import clean_line, clean_text, escaped, paragraphs

LINES = {
    "white space": ("  two \t words\n here ", "two words here"),
    "control characters": ("a\x00b\x1bc\x7f", "abc"),
    "lone surrogate": ("a\ud800b", "ab"),
    "bidi override": ("abc\u202egpj.exe\u2066x\u2069", "abcgpj.exex"),
    "private use": ("a\ue000b\U000f0000c", "abc"),
    "noncharacters": ("a\ufffeb\ufdd0c\U0001ffffd", "abcd"),
    "emoji with a joiner": ("\U0001f469\u200d\U0001f680 ok", "\U0001f469\u200d\U0001f680 ok"),
    "accents": ("Zoë, 日本, مرحبا", "Zoë, 日本, مرحبا"),
    "an MXID": ("Talk with @bob:example.org, live", "Talk with Somebody, live"),
    "an MXID in a link": ("see https://matrix.to/#/@bob:example.org/x", "see https://matrix.to/#/Somebody/x"),
    "an MXID with something invisible in it": ("@bo\u202eb:h.org", "Somebody"),
    "an MXID that appears when another one goes": ("@x,@bob:b.org:c.org", "Somebody"),
    "no MXID": ("mail@home: at 10:30", "mail@home: at 10:30"),
}


@pytest.mark.parametrize("case", LINES)
def test_line_is_fit_to_show(case: str) -> None:
    """A line keeps what can be shown and loses what misleads or names an account."""
    given_text, wanted = LINES[case]
    assert clean_line(given_text) == wanted


def test_long_line_is_cut_with_an_ellipsis() -> None:
    """A line that is too long is cut to exactly the limit."""
    assert clean_line("x" * 300) == "x" * 254 + "…"
    assert clean_line("x" * 255) == "x" * 255


def test_a_long_blank_is_nothing() -> None:
    """A text that begins with more white space than is looked at has nothing to show."""
    assert clean_line(" " * 7000 + "x") == ""


def test_text_keeps_its_paragraphs() -> None:
    """Line ends of every kind become one kind, with at most one empty line in a row."""
    assert clean_text("a\r\nb\u2028c\n\n\n\n d ") == "a\nb\nc\n\nd"


@given(st.text(st.characters(codec=None), max_size=200), st.integers(20, 400))
def test_paragraphs_stay_in_their_budget(text: str, budget: int) -> None:
    """Paragraphs stay within their bytes and never end inside a tag."""
    html = paragraphs(text, budget)
    assert len(html.encode()) <= budget
    assert html == "" or (html.startswith("<p>") and html.endswith("</p>"))
    assert len(escaped(text, budget).encode()) <= budget


@given(st.text(st.characters(codec=None), max_size=60))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Clean text stays as it is and names nobody."""
    once = clean_text(text)
    assert clean_text(once) == once
    assert not mxids.holds(once)
