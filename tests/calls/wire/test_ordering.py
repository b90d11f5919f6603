"""Messages that come out of order, twice, not at all, or by the thousand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import Answered, AnswerSelected, Candidates, Device, HungUp, LegId, Message, Offered, Received
from bot.calls.wire.ordering import (
    MOST_LEGS_OF_A_USER,
    MOST_USERS,
    MOST_WAITING,
    MOST_WAITING_OF_A_USER,
    MOST_WAITING_OF_ALL,
    PATIENCE,
    Ordering,
)
from storage.records import UserId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
OFFER = Offered("v=0")


def said(
    seq: int | None, message: Message | None = None, *, user: str = "ann", device_id: str = "DEV", leg: str = "leg"
) -> Received:
    device = Device(UserId(f"@{user}:hs"), device_id, "session")
    return Received("conf", device, LegId(leg), message or Candidates(()), seq)


def seqs(messages: tuple[Received, ...]) -> list[int | None]:
    return [message.seq for message in messages]


def test_messages_in_order_pass_at_once() -> None:
    """Messages in their order pass as they come, and those without a number too."""
    ordering = Ordering()
    came = [said(0, OFFER), said(1), said(None), said(2)]
    assert [ordering.take(message, NOW) for message in came] == [(message,) for message in came]
    assert ordering.due is None


def test_a_message_that_came_early_waits() -> None:
    """A hang-up that overtook its invite follows it, and each number passes once."""
    ordering = Ordering()
    assert ordering.take(said(2, HungUp()), NOW) == ()
    assert ordering.take(said(1), NOW) == ()
    assert seqs(ordering.take(said(0, OFFER), NOW)) == [0, 1, 2]
    assert [ordering.take(said(seq), NOW) for seq in (0, 1, 2)] == [(), (), ()]
    assert seqs(ordering.take(said(3), NOW)) == [3]


@pytest.mark.parametrize("message", [OFFER, Answered("v=0")])
def test_a_leg_begins_with_the_number_of_its_invite_or_answer(message: Message) -> None:
    """A leg begins at the number of its invite or answer, as Hydrogen counts; what is older is dropped."""
    ordering = Ordering()
    assert ordering.take(said(17), NOW) == ()
    assert ordering.take(said(11), NOW) == ()
    assert seqs(ordering.take(said(15, message), NOW)) == [15]
    assert seqs(ordering.take(said(16), NOW)) == [16, 17]
    assert ordering.take(said(14), NOW) == ()
    assert seqs(ordering.take(said(0, message, leg="another"), NOW)) == [0]


def test_a_number_that_never_comes_is_given_up() -> None:
    """After ten seconds the numbers that are missing are given up; what came later waits for its own ten seconds."""
    ordering = Ordering()
    ordering.take(said(0, OFFER), NOW)
    ordering.take(said(5), NOW)
    ordering.take(said(9), NOW + timedelta(seconds=4))
    assert ordering.due == NOW + PATIENCE
    assert ordering.overdue(NOW + PATIENCE - timedelta(seconds=0.1)) == ()
    assert seqs(ordering.overdue(NOW + PATIENCE)) == [5]
    assert ordering.due == NOW + timedelta(seconds=4) + PATIENCE
    assert seqs(ordering.take(said(6, AnswerSelected("x")), NOW + PATIENCE)) == [6]
    assert seqs(ordering.overdue(NOW + timedelta(seconds=14))) == [9]
    assert ordering.take(said(7), NOW + timedelta(seconds=14)) == ()
    assert ordering.due is None


def test_huge_numbers_fill_no_memory() -> None:
    """A device that sends numbers far apart has so many messages kept and no more, and others are not disturbed."""
    ordering = Ordering()
    ordering.take(said(0, OFFER, user="bob"), NOW)
    ordering.take(said(1, OFFER), NOW)
    for number in range(5000):
        assert ordering.take(said(99_999_999_999 - number, leg=f"leg{number % 3}"), NOW) == ()
    assert len(ordering.overdue(NOW + PATIENCE)) == MOST_WAITING
    assert seqs(ordering.take(said(1, user="bob"), NOW)) == [1]
    assert seqs(ordering.take(said(2), NOW)) == [2]


def test_what_waits_is_bounded_in_all() -> None:
    """A user who claims many devices, and many users, have so many messages kept and no more; what is in order passes,
    and what was kept of the forgotten is let go."""
    ordering = Ordering()
    for number in range(2000):
        ordering.take(said(1000, device_id=f"D{number % 50}", leg=f"leg{number}"), NOW)
    assert len(ordering.overdue(NOW + PATIENCE)) <= MOST_WAITING_OF_A_USER
    for number in range(4000):
        ordering.take(said(number + 5, user=f"u{number % 200}"), NOW)
    assert seqs(ordering.take(said(0, OFFER, user="bob"), NOW)) == [0]
    assert len(ordering.overdue(NOW + PATIENCE)) == MOST_WAITING_OF_ALL
    assert ordering.due is None


def test_many_legs_push_out_only_their_own() -> None:
    """A user who begins legs without end has the oldest forgotten; many users push out who said nothing for long."""
    ordering = Ordering()
    ordering.take(said(7, OFFER, user="bob"), NOW)
    for number in range(MOST_LEGS_OF_A_USER * 3):
        ordering.take(said(7, OFFER, leg=f"leg{number}"), NOW)
    assert ordering.take(said(8, leg="leg0"), NOW) == ()
    assert seqs(ordering.take(said(8, leg=f"leg{MOST_LEGS_OF_A_USER * 3 - 1}"), NOW)) == [8]
    assert seqs(ordering.take(said(8, user="bob"), NOW)) == [8]
    for number in range(MOST_USERS * 2):
        ordering.take(said(7, OFFER, user=f"u{number}"), NOW)
        assert seqs(ordering.take(said(9 + number, user="bob"), NOW)) == [9 + number]
    assert ordering.take(said(8, user="u0"), NOW) == ()


@given(
    st.integers(0, 1000).flatmap(
        lambda first: st.tuples(st.just(first), st.lists(st.integers(first, first + 12), min_size=1, max_size=40))
    )
)
def test_any_order_and_any_duplicates_give_the_messages_once_in_order(case: tuple[int, list[int]]) -> None:
    """Whatever order and duplicates, each number passes once and in its order, at last after ten seconds."""
    first, numbers = case
    ordering, passed = Ordering(), []
    for seq in (*numbers, first):
        passed += seqs(ordering.take(said(seq, OFFER if seq == first else None), NOW))
    passed += seqs(ordering.overdue(NOW + PATIENCE))
    assert passed == sorted({*numbers, first})
    assert ordering.due is None
