"""Problems of a running bot, by its vital signs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot import health
from bot.health import Problem, Report, Vitals

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
WELL = Vitals(now=NOW, started_at=NOW - timedelta(days=1), heard_at=NOW, free_bytes=2 << 30, min_free_bytes=1 << 30)
AN_HOUR_AGO = NOW - timedelta(hours=1)


def names(vitals: Vitals) -> list[str]:
    return [problem.what for problem in health.problems(vitals)]


def test_nothing_is_wrong() -> None:
    """A bot that hears its homeserver and has space has no problem."""
    assert names(WELL) == []


@pytest.mark.parametrize(
    ("signs", "wrong"),
    [
        ({"heard_at": NOW - timedelta(minutes=2)}, []),
        ({"heard_at": AN_HOUR_AGO}, ["homeserver"]),
        ({"heard_at": None}, ["homeserver"]),
        ({"heard_at": None, "started_at": NOW - timedelta(minutes=1)}, []),
        ({"heard_at": AN_HOUR_AGO, "hears": False}, []),
        ({"heard_at": AN_HOUR_AGO, "refused": True}, ["refused"]),
        ({"heard_at": NOW, "unkept_since": AN_HOUR_AGO}, ["wishes"]),
        ({"heard_at": NOW, "unkept_since": NOW - timedelta(minutes=14)}, []),
        ({"unhandled_since": AN_HOUR_AGO}, ["events"]),
        ({"unwritten_since": NOW - timedelta(seconds=59)}, []),
        ({"unwritten_since": NOW - timedelta(minutes=1)}, ["calls"]),
        ({"due_since": NOW - timedelta(minutes=14), "due_kind": "fetch"}, []),
        ({"due_since": AN_HOUR_AGO, "due_kind": "fetch"}, ["jobs"]),
        ({"running_since": AN_HOUR_AGO, "running_kind": "encode"}, []),
        ({"running_since": NOW - timedelta(hours=6), "running_kind": "encode", "due_since": AN_HOUR_AGO}, ["jobs"]),
        ({"keyless": 3, "keyless_since": AN_HOUR_AGO}, ["keys"]),
        ({"keyless": 3, "keyless_since": NOW - timedelta(minutes=10)}, []),
        ({"unanswered_since": NOW - timedelta(seconds=5)}, ["database"]),
        ({"media_away_since": NOW}, []),
        ({"media_away_since": AN_HOUR_AGO}, ["media"]),
        ({"free_bytes": 1 << 20}, ["disk"]),
        ({"full_rooms": 2}, ["rooms"]),
    ],
)
def test_problems(signs: dict[str, Any], wrong: list[str]) -> None:
    """Each problem has its sign, which has to last where it often passes by itself."""
    assert names(replace(WELL, **signs)) == wrong
    assert set(wrong) <= set(health.NAMES)


def test_a_database_that_hangs() -> None:
    """A bot whose database has not answered for half a minute does not work."""
    assert not health.is_stuck(replace(WELL, unanswered_since=NOW - timedelta(seconds=29)))
    assert health.is_stuck(replace(WELL, unanswered_since=NOW - timedelta(seconds=30)))


def test_words() -> None:
    """A problem says how bad it is, and what to do."""
    (problem,) = health.problems(replace(WELL, due_since=AN_HOUR_AGO, due_kind="fetch"))
    assert problem.detail == "A job (fetch) has been due for 60 minutes."
    assert problem.since == AN_HOUR_AGO
    for length, words in (
        (timedelta(days=3), "3 days"),
        (timedelta(hours=5), "5 hours"),
        (timedelta(seconds=5), "5 s"),
    ):
        (problem,) = health.problems(replace(WELL, unanswered_since=NOW - length))
        assert words in problem.detail


def test_strangers_learn_little() -> None:
    """Without details, a report says what is wrong and since when, and nothing else."""
    report = Report(works=True, heard_at=NOW, problems=(Problem("disk", "1 MiB is free.", "Free some.", NOW),))
    at = "2026-11-30T12:00:00+00:00"
    shown = {"status": "ok", "homeserver_last_heard": at, "problems": [{"what": "disk", "since": at}]}
    assert report.to_json(details=False) == shown
    more = {"what": "disk", "since": at, "detail": "1 MiB is free.", "do": "Free some."}
    assert report.to_json(details=True)["problems"] == [more]
