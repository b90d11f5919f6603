"""A soak's verdict finds each fault."""

from typing import Any

import pytest

from benchmarks.soaking.crowd import Truth
from benchmarks.soaking.verdict import Verdict, finish_seconds, judge, judge_notices, percentile, told_too_early
from benchmarks.soaking.ways import Way

Recording = dict[str, Any]


def truth(way: Way = Way.PLAIN) -> Truth:
    made = Truth("!r", "http://feed", way, broadcast_id="$b", sent={"aa": 1, "bb": 2, "cc": 3})
    if way is Way.CHUNK_REDACTED:
        made.taken_back.add("bb")
    return made


def chunk(sha256: str | None, state: str = "stored") -> Recording:
    return {"sha256": sha256, "state": state}


def recording(**changed: Any) -> Recording:
    chunks = [chunk("aa"), chunk("bb"), chunk("cc")]
    whole = {"id": "$b", "state": "complete", "ended_by": "stopped", "chunks": chunks, "gaps": [], "episode": {}}
    return whole | changed


def test_a_whole_archive_is_good() -> None:
    """A complete archive has no fault, also with a duplicate or a redaction."""
    assert judge([truth()], [recording()]).good
    doubled = [chunk("aa"), chunk("aa", "duplicate"), chunk("bb"), chunk("cc")]
    assert judge([truth()], [recording(chunks=doubled)]).good
    redacted = [chunk("aa"), chunk(None, "redacted"), chunk("cc")]
    found = judge([truth(Way.CHUNK_REDACTED)], [recording(state="incomplete", chunks=redacted, gaps=[{}])])
    assert (found.good, found.chunks, found.lost) == (True, 2, 0)
    unheard = [chunk("aa"), chunk(None, "missing"), chunk("cc")]
    assert judge([truth(Way.CHUNK_REDACTED)], [recording(state="incomplete", chunks=unheard, gaps=[{}])]).good
    gone = recording(state="deleted", ended_by=None, chunks=[], episode=None)
    assert judge([truth(Way.REDACTED)], [gone]).good
    assert judge([truth(Way.REDACTED)], []).good, "it was redacted before it was heard"


@pytest.mark.parametrize(
    ("recordings", "lost"),
    [
        ([], 3),
        ([recording(chunks=[chunk("aa"), chunk("cc")])], 1),
        ([recording(chunks=[chunk("aa"), chunk("bb", "waiting_for_media"), chunk("cc")])], 1),
        ([recording(chunks=[chunk("aa"), chunk(None, "missing"), chunk("xx")])], 2),
    ],
    ids=["not recorded", "one gone", "one waits", "another's sound"],
)
def test_what_is_lost_is_counted(recordings: list[Recording], lost: int) -> None:
    """A chunk that is not stored with its own bytes is lost."""
    found = judge([truth()], recordings)
    assert (found.lost, found.chunks) == (lost, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "incomplete"},
        {"ended_by": "abandoned"},
        {"episode": None},
        {"gaps": [{}]},
        {"chunks": [chunk("aa"), chunk("aa"), chunk("bb"), chunk("cc")]},
        {"chunks": [chunk("aa"), chunk("bb"), chunk("cc"), chunk(None, "missing")]},
    ],
    ids=["state", "end", "no episode", "gap", "heard twice", "something is missing"],
)
def test_a_wrong_recording_is_found(changed: Recording) -> None:
    """A recording with all chunks may still be wrong."""
    found = judge([truth()], [recording(**changed)])
    assert (found.lost, found.wrong_states) == (0, 1)


def test_redacted_sound_that_stays_is_found() -> None:
    """A redacted chunk that is still stored, and a recording that nobody made, are faults."""
    stays = recording(state="incomplete", chunks=[chunk("aa"), chunk("bb"), chunk("cc")], gaps=[{}])
    assert judge([truth(Way.CHUNK_REDACTED)], [stays]).wrong_states == 1
    assert judge([], [recording()]).wrong_states == 1


def notice(event: str | None) -> Recording:
    relation = {"m.in_reply_to": {"event_id": event}} if event else {}
    return {"content": {"m.relates_to": relation}}


@pytest.mark.parametrize(
    ("way", "announced", "others", "right"),
    [
        (Way.PLAIN, 1, 3, True),
        (Way.PLAIN, 2, 3, False),
        (Way.PLAIN, 0, 3, False),
        (Way.PLAIN, 1, 2, False),
        (Way.PLAIN, 1, 4, False),
        (Way.REDACTED, 0, 3, True),
        (Way.REDACTED, 1, 3, False),
    ],
)
def test_notices_are_counted(way: Way, announced: int, others: int, right: bool) -> None:
    """Right are one announcement of each episode, two notices of what is recorded, and one answer."""
    verdict = Verdict()
    judge_notices(verdict, truth(way), [notice("$b")] * announced + [notice(None)] * others)
    assert verdict.wrong_notices == int(not right)


@pytest.mark.parametrize(
    ("way", "body", "early"),
    [
        (Way.PLAIN, "A talk (1 min, 6 s missing) is ready", True),
        (Way.PLAIN, "A talk (1 min, complete) is ready", False),
        (Way.CRASHED, "A talk (1 min, its end may be missing) is ready", False),
    ],
)
def test_announcements_that_came_too_early_are_counted(way: Way, body: str, early: bool) -> None:
    """Early announcements count only for a broadcast's own episode that became complete."""
    said = notice("$b")
    said["content"]["body"] = body
    assert told_too_early(truth(way), [said]) is early
    other = notice("$another")
    other["content"]["body"] = body
    assert not told_too_early(truth(way), [other])


def test_finish_times_begin_with_the_last_word_or_fault() -> None:
    """A finish time begins with the last word or fault, and is never negative."""
    said = truth()
    said.last_word_at = 100.0
    assert finish_seconds(said, 90.0, 107.0) == 7.0
    assert finish_seconds(said, 105.0, 107.0) == 2.0
    assert finish_seconds(said, 110.0, 107.0) == 0.0


@pytest.mark.parametrize(("part", "value"), [(0.5, 50), (0.95, 95), (1.0, 100), (0.001, 1)])
def test_percentiles_are_of_the_nearest_rank(part: float, value: float) -> None:
    """A percentile is the value of the nearest rank."""
    assert percentile([float(number) for number in range(100, 0, -1)], part) == value
    assert percentile([], part) == 0
