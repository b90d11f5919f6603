"""Cleaning of text that strangers wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.feeds import mxids
from bot.feeds.text import clean_line, clean_text, isolated, linked, paragraphs, plain, without_isolates

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
    assert len(plain(text, budget).encode()) <= budget


@given(st.text(st.characters(codec=None), max_size=60))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Clean text stays as it is and names nobody."""
    once = clean_text(text)
    assert clean_text(once) == once
    assert not mxids.holds(once)


HEBREW, ARABIC = "\u05d3\u05e0\u05d4", "\u0645\u0631\u062d\u0628\u0627"


def test_only_what_is_read_from_right_to_left_is_isolated() -> None:
    """A Hebrew or Arabic name stands in an isolate beside other text; every other name stays byte for byte."""
    assert isolated(HEBREW) == f"\u2068{HEBREW}\u2069"
    assert isolated(f"Radio {ARABIC}") == f"\u2068Radio {ARABIC}\u2069"
    for name in ("Alice", "Zoë", "\u65e5\u672c", "\u0410\u043d\u043d\u0430", "", "\U0001f469\u200d\U0001f680"):
        assert isolated(name) == name
    assert isolated(isolated(HEBREW)) == isolated(HEBREW)


def test_cleaning_keeps_isolates_of_ours_alone() -> None:
    """Isolates around a right-to-left name survive the cleaning of a line made with them; others, and all in a text
    that people wrote, do not."""
    line = f"{isolated(HEBREW)}, 20 November 2026"
    assert clean_line(line, isolates=True) == line
    assert clean_line(line) == without_isolates(line) == f"{HEBREW}, 20 November 2026"
    for open_one in (f"\u2068{HEBREW}", f"{HEBREW}\u2069", "\u2068Alice\u2069", "\u2068 \u2069", "a\u2068\n\u2069"):
        assert "\u2068" not in clean_line(open_one, isolates=True)
        assert "\u2069" not in clean_line(open_one, isolates=True)


@given(st.text("ab \n\u2066\u2068\u2069\u05d0\u05d1@:.", max_size=60), st.integers(8, 60))
def test_no_cut_leaves_an_isolate_open(text: str, most: int) -> None:
    """Whatever is cut, each isolate is closed, and the limits hold."""
    lines = [clean_line(text, most, isolates=True), plain(text, most), paragraphs(text, most + 20)]
    assert len(lines[0]) <= most
    assert len(lines[1].encode()) <= most
    for line in lines:
        depth = 0
        for character in line:
            depth += {"\u2068": 1, "\u2069": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0


LINKS = {
    "a full stop ends the sentence": ("see https://a.org/b.", 'see <a href="https://a.org/b">https://a.org/b</a>.'),
    "brackets": ("(http://a.org/b)", '(<a href="http://a.org/b">http://a.org/b</a>)'),
    "brackets of the address": ("http://a.org/b_(c)", '<a href="http://a.org/b_(c)">http://a.org/b_(c)</a>'),
    "an ampersand": ("https://a.org/?b&c", '<a href="https://a.org/?b&amp;c">https://a.org/?b&amp;c</a>'),
    "quotes and tags": (
        "https://a.org/\"onclick='x'<b>",
        '<a href="https://a.org/">https://a.org/</a>&quot;onclick=&#x27;x&#x27;&lt;b&gt;',
    ),
    "cut": ("https://a.org/epis…", "https://a.org/epis…"),
    "no web address": ("javascript://a.org <b>", "javascript://a.org &lt;b&gt;"),
}


@pytest.mark.parametrize("case", LINKS)
def test_web_addresses_are_links(case: str) -> None:
    """Web addresses in notes are links; everything is escaped once."""
    text, html = LINKS[case]
    assert linked(text) == html
