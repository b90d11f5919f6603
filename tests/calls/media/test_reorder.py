"""The order of packets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.media.reorder import WAIT, WINDOW, Ordered, Reorder
from bot.calls.media.rtp import RtpPacket
from storage.records import Samples

PACKET = 960


def packet(number: int, arrived: int | None = None, ssrc: int = 1) -> RtpPacket:
    place = number * PACKET
    return RtpPacket(111, number % 65536, place % 2**32, ssrc, b"", Samples(place if arrived is None else arrived))


def pushed(reorder: Reorder, packets: list[RtpPacket]) -> list[Ordered]:
    return [ordered for each in packets for ordered in reorder.push(each)]


@given(
    first=st.sampled_from([0, 7, 65530]),
    displaced=st.lists(st.integers(0, WINDOW - 2), min_size=1, max_size=60),
    lost=st.sets(st.integers(1, 58)),
    twice=st.sets(st.integers(0, 59)),
)
def test_only_lost_packets_are_missing(first: int, displaced: list[int], lost: set[int], twice: set[int]) -> None:
    """Packets that overtake each other, come twice or cross the end of the sequence numbers all leave once and in
    order; exactly those that never came are counted as lost."""
    came = [number for number in range(len(displaced)) if number not in lost]
    order = sorted(came[1:], key=lambda number: number + displaced[number])
    arrivals = [each for number in (0, *order) for each in [first + number] * (1 + (number in twice))]
    reorder = Reorder()
    left = pushed(reorder, [packet(number, 1000 + index) for index, number in enumerate(arrivals)]) + reorder.flush()
    assert [each.packet.sequence for each in left] == [(first + number) % 65536 for number in came]
    assert [each.begins for each in left] == [True] + [False] * (len(left) - 1)
    gaps = [later - earlier - 1 for earlier, later in pairwise(came)]
    assert [each.lost for each in left] == [0, *gaps]


def test_a_hole_is_waited_for_only_so_long() -> None:
    """Behind a hole, packets wait until their time is up, even if no further one comes; then the rest goes at once."""
    reorder = Reorder()
    assert len(pushed(reorder, [packet(0), packet(2), packet(3)])) == 1
    due = reorder.due
    assert due == 2 * PACKET + WAIT
    assert reorder.expire(Samples(due - 1)) == []
    assert [(each.packet.sequence, each.lost) for each in reorder.expire(due)] == [(2, 1), (3, 0)]
    assert reorder.due is None
    assert reorder.push(packet(1, due)) == []  # too late


def test_many_packets_end_the_wait() -> None:
    """A hole is given up when the window is full."""
    reorder = Reorder()
    left = pushed(reorder, [packet(0), *(packet(number, PACKET) for number in range(2, WINDOW + 2))])
    assert [each.packet.sequence for each in left] == [0, *range(2, WINDOW + 2)]


def test_an_outage_counts_as_lost() -> None:
    """Ten seconds that never came are counted to the packet."""
    reorder = Reorder()
    left = pushed(reorder, [packet(0), *(packet(number) for number in range(501, 520))])
    assert [each.lost for each in left[:3]] == [0, 500, 0]


@pytest.mark.parametrize(("ahead", "ssrc"), [(30_000, 1), (500, 2)])
def test_another_stream_is_believed_when_confirmed(ahead: int, ssrc: int) -> None:
    """A packet of another SSRC, or far from the sequence, changes nothing; two in a row are the new stream, and
    nothing of it is lost."""
    strangers = [packet(ahead + number, ssrc=ssrc) for number in range(4)]
    mixed = [packet(0), strangers[0], packet(1), packet(3), strangers[2], strangers[1], strangers[3]]
    reorder = Reorder()
    left = pushed(reorder, mixed)
    assert [each.packet for each in left] == [packet(0), packet(1), packet(3), *strangers[1:]]
    assert [each.begins for each in left] == [True, False, False, True, False, False]
    assert [each.lost for each in left] == [0, 0, 1, 0, 0, 0]


def test_interleaved_streams_are_heard_as_one() -> None:
    """When two streams alternate, the first goes on undisturbed."""
    reorder = Reorder()
    mixed = [packet(number, ssrc=ssrc) for number in range(50) for ssrc in (1, 2)]
    assert [each.packet for each in pushed(reorder, mixed)] == [packet(number) for number in range(50)]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 40) | st.integers(65500, 65535) | st.integers(0, 65535)),
        max_size=120,
    )
)
def test_any_packets_are_survived(arrivals: list[tuple[int, int]]) -> None:
    """Whatever comes, no packet leaves twice, and few wait."""
    reorder, left = Reorder(), 0
    for index, (ssrc, number) in enumerate(arrivals):
        left += len(reorder.push(packet(number, index, ssrc)))
        assert index + 1 - left >= 0
        assert len(reorder._held) <= WINDOW
    left += len(reorder.flush())
    assert left <= len(arrivals)
