"""The language in which the bot speaks."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bot import language
from bot.language import configure, plural, speaking, spoken_date, spoken_number, spoken_time
from bot.recording import wrong_lengths

MOMENT = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    yield
    configure("en")


def test_the_default_holds_where_no_language_was_chosen() -> None:
    """Outside of `speaking`, and with None in it, the bot speaks the language of the settings."""
    configure("pt-BR")
    assert language.current() == "pt-BR"
    with speaking("de"):
        assert language.current() == "de"
        with speaking(None):
            assert language.current() == "pt-BR"
    assert language.current() == "pt-BR"


async def test_a_thread_speaks_the_language_of_its_task() -> None:
    """Pages and feeds are rendered in threads, in the room's language."""
    with speaking("de"):
        assert await asyncio.to_thread(language.current) == "de"


@pytest.mark.parametrize(
    ("tag", "date", "number"),
    [
        ("en", "20 November 2026", "4,000.5"),
        ("de", "20. November 2026", "4.000,5"),
        ("de-AT", "20. November 2026", "4.000,5"),
        ("pt-BR", "20 November 2026", "4,000.5"),
        ("tlh", "20 November 2026", "4,000.5"),
        ("../../etc", "20 November 2026", "4,000.5"),
    ],
)
def test_dates_and_numbers_are_those_of_the_language(tag: str, date: str, number: str) -> None:
    """A language without a catalogue has English texts, and English dates and numbers in them."""
    with speaking(tag):
        assert spoken_date(MOMENT, BERLIN) == date
        assert spoken_time(MOMENT, BERLIN) == f"{date}, 14:05"
        assert spoken_number(4000.5, 1) == number.replace("\xa0", " ")


def test_german_is_spoken() -> None:
    """Texts, their forms, lengths and numbers are German; a text that the catalogue lacks stays English."""
    with speaking("de-AT"):
        assert language.written() == "de-AT"
        assert language._("complete") == "vollständig"
        assert plural("{count} recording", "{count} recordings", 2) == "2 Aufnahmen"
        assert wrong_lengths.seconds(72_000) == "1,5 s"
        assert language._("Nobody ever says this.") == "Nobody ever says this."
        assert plural("{count} egg", "{count} eggs", 1) == "1 egg"


def test_a_form_is_chosen_by_the_number() -> None:
    """A text has one form for 1 and another for other numbers, and further values."""
    assert [plural("{count} egg of {who}", "{count} eggs of {who}", count, who="Ann") for count in (1, 2)] == [
        "1 egg of Ann",
        "2 eggs of Ann",
    ]
