"""Ranges and conditions, whatever a client writes into them."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bot.web.conditions import Representation, ResponsePlan, plan_response

FILE = Representation("abc", 1000, datetime(2026, 11, 20, 14, 5, tzinfo=UTC))
numbers = st.one_of(st.just(""), st.integers(0, 2000).map(str), st.text("0123456789", max_size=30))
ranges = st.one_of(
    st.tuples(numbers, numbers).map(lambda pair: f"bytes={pair[0]}-{pair[1]}"),
    st.text(max_size=30),
    st.text("bytes=0123456789-, \t", max_size=40),
)
conditions = st.dictionaries(
    st.sampled_from(["If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]),
    st.one_of(st.text(max_size=40), st.sampled_from(['"abc"', 'W/"abc"', "*", "Fri, 20 Nov 2026 14:05:00 GMT",
                                                     "Fri, 99 Nov 99999 14:05:00 GMT"])),
)  # fmt: skip


@given(ranges, conditions)
def test_any_request_gets_a_piece_of_the_file_or_none(asked: str, headers: dict[str, str]) -> None:
    """Whatever the headers say, a body lies within the file, and only a 200 is all of it."""
    plan = plan_response("GET", {"Range": asked, **headers}, FILE)
    if plan.status == 206:
        assert 0 <= plan.start < plan.start + plan.count <= FILE.size
    elif plan.status == 200:
        assert plan == ResponsePlan(200, 0, FILE.size)
    else:
        assert plan.status in (304, 412, 416)
        assert plan.count == 0


@given(st.integers(0, 999), st.integers(0, 2000))
def test_a_range_inside_the_file_is_met(first: int, length: int) -> None:
    """A range that begins inside the file is answered to its end or the file's."""
    plan = plan_response("GET", {"Range": f"bytes={first}-{first + length}"}, FILE)
    assert plan == ResponsePlan(206, first, min(length + 1, FILE.size - first))


def test_no_date_meets_no_condition() -> None:
    """A file whose date nobody knows is changed for whoever asks by a date, and a broken date in If-Range is none."""
    undated = replace(FILE, modified=None)
    assert plan_response("GET", {"If-Modified-Since": "Fri, 20 Nov 2099 14:05:00 GMT"}, undated).status == 200
    assert plan_response("GET", {"Range": "bytes=0-1", "If-Range": "tomorrow"}, undated).status == 200


def test_head_has_no_ranges() -> None:
    """HEAD ignores ranges and gives the length of the whole file."""
    assert plan_response("HEAD", {"Range": "bytes=0-1"}, FILE) == ResponsePlan(200, 0, 1000)
