"""Days as people write them."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dates import Misread, read_past_day
from bot.language import speaking

NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # a Friday; Saturday in Berlin
BERLIN = ZoneInfo("Europe/Berlin")


def read(text: str, language: str = "en", zone: str = "UTC") -> date | Misread:
    with speaking(language):
        return read_past_day(text, NOW, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-31", date(2026, 1, 31)),
        ("20260131", date(2026, 1, 31)),
        ("31.1.2026", date(2026, 1, 31)),
        ("01.02.2026", date(2026, 2, 1)),
        ("13/2/2026", date(2026, 2, 13)),
        ("2/13/2026", date(2026, 2, 13)),
        ("31 January 2026", date(2026, 1, 31)),
        ("Jan 31, 2026", date(2026, 1, 31)),
        ("March", date(2026, 3, 1)),
        ("December", date(2025, 12, 1)),
        ("2025", date(2025, 1, 1)),
        ("today", date(2026, 11, 20)),
        ("Yesterday", date(2026, 11, 19)),
        ("2 weeks ago", date(2026, 11, 6)),
        ("last monday", date(2026, 11, 16)),
        (" 2026-11-20 ", date(2026, 11, 20)),
    ],
)
def test_a_day_is_read_as_people_write_it(text: str, day: date) -> None:
    """Absolute and relative days are read in English, days before months, the newest that is past."""
    assert read(text) == day


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("gestern", date(2026, 11, 19)),
        ("vor 2 Wochen", date(2026, 11, 6)),
        ("3. März", date(2026, 3, 3)),
        ("2 weeks ago", date(2026, 11, 6)),
    ],
)
def test_a_day_is_read_in_the_rooms_language_too(text: str, day: date) -> None:
    """German words are read where German is spoken, and English ones everywhere."""
    assert read(text, "de") == day
    assert read(text, "de-AT") == day
    assert read("gestern") is Misread.UNREADABLE
    assert read("yesterday", "xx") == date(2026, 11, 19)


def test_a_day_is_one_of_the_rooms_zone() -> None:
    """Shortly before midnight UTC it is the next day in Berlin."""
    assert read("yesterday", zone="Europe/Berlin") == date(2026, 11, 20)
    assert read("2026-11-21", zone="Europe/Berlin") == date(2026, 11, 21)
    assert read("today", zone="Europe/Berlin") == date(2026, 11, 21)


@pytest.mark.parametrize(
    ("text", "day"),
    [("2090-01-01", date(2090, 1, 1)), ("1970-01-01", date(2000, 1, 1)), ("9999-12-31", date(9000, 1, 1))],
)
def test_a_full_date_is_taken_as_it_stands(text: str, day: date) -> None:
    """Whoever writes a date of ISO 8601 means it, also one of the future: nothing began after it."""
    assert read(text) == day


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1/2/2026", Misread.AMBIGUOUS),
        ("tomorrow", Misread.FUTURE),
        ("in 3 days", Misread.FUTURE),
        ("1.1.2027", Misread.FUTURE),
        ("31.12.1999", Misread.TOO_EARLY),
        ("100 years ago", Misread.TOO_EARLY),
        ("soon", Misread.UNREADABLE),
        ("12", Misread.UNREADABLE),
        ("10:30", Misread.UNREADABLE),
        ("31.2.2026", Misread.UNREADABLE),
        ("", Misread.UNREADABLE),
        ("2 weeks ago " * 1000, Misread.UNREADABLE),
    ],
)
def test_what_is_no_day_of_the_past_is_refused_with_the_reason(text: str, why: Misread) -> None:
    """Days to come, texts that name no day, and an order that may be meant in two ways are told apart."""
    assert read(text) is why


@given(st.text(st.sampled_from("0123456789./-: agodywekmonth\u0660٣²") | st.characters(), max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """Any text gives a day up to today, or a reason."""
    day = read(text)
    assert isinstance(day, Misread) or date(2000, 1, 1) <= day <= NOW.date()
