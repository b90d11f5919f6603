"""Readers of single fields."""

from datetime import UTC, datetime

import pytest

from bot.dialects.fields import sent_at


@pytest.mark.parametrize(
    ("milliseconds", "time"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_795_167_651_847, datetime(2026, 11, 20, 9, 40, 51, 847_000, UTC)),
        (253_402_300_799_500, datetime(9999, 12, 31, 23, 59, 59, 500_000, UTC)),
        (253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
    ],
)
def test_a_time_is_an_integer_of_milliseconds(milliseconds: int, time: datetime) -> None:
    """Every millisecond that a datetime can say is a time."""
    assert sent_at({"origin_server_ts": milliseconds}) == time


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "now",
        "1700000000000",
        True,
        -1,
        253_402_300_800_000,
        10**30,
        float("nan"),
        1.5,
        1700000000000.0,
        [],
    ],
)
def test_junk_is_no_time(junk: object) -> None:
    """Anything but an integer is no time, floats included, since canonical JSON has none."""
    assert sent_at({"origin_server_ts": junk}) is None


def test_an_event_without_a_time_has_none() -> None:
    """A missing time is no error."""
    assert sent_at({}) is None
