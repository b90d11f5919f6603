"""The floor: one holder at a time, for a bounded time, and everybody who waits gets it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.walkie import machine
from bot.walkie.model import (
    Asked,
    FloorEvent,
    GaveBack,
    Lapsed,
    Locked,
    Spoke,
    SwitchedOff,
    SwitchedOn,
    Tick,
    TookBack,
    is_too_late,
)
from storage.columns import Floors
from storage.records import EventId, Floor, FloorPhase, Position, RoomId, UserId, Walkie

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ANN, BOB, CAT, DAN = USERS = tuple(UserId(f"@{name}:hs") for name in ("ann", "bob", "cat", "dan"))
FLOOR_S, GUARD_S = 60, 1
NEW = Walkie(RoomId("!r:hs"), on=True, floor_s=FLOOR_S, guard_s=GUARD_S)


def asked(user: UserId, number: int = 1) -> Asked:
    return Asked(user, EventId(f"${user}{number}"), Position(number))


def after(*events: FloorEvent, begins: Walkie = NEW, now: datetime = NOW) -> Floor:
    for event in events:
        begins = replace(begins, floor=machine.step(begins, event, now))
    return begins.floor


def waiting(floor: Floor) -> list[UserId]:
    return [request.user for request in floor.queue]


def test_the_first_who_asks_has_the_floor() -> None:
    """A free floor is given at once, for the time of the settings; whoever asks later waits, each once."""
    floor = after(asked(ANN), asked(BOB), asked(CAT), asked(BOB, 2), asked(ANN, 2))
    assert (floor.holder, floor.until) == (ANN, NOW + timedelta(seconds=FLOOR_S))
    assert waiting(floor) == [BOB, CAT]


def test_the_next_waits_for_the_lock_and_the_guard_time() -> None:
    """A floor that was taken back goes to the next once the homeserver has locked it and the guard time is over."""
    released = after(asked(ANN), asked(BOB), Spoke(ANN), Tick())
    assert (released.phase, released.holder) == (FloorPhase.RELEASING, None)
    walkie = replace(NEW, floor=released)
    assert machine.step(walkie, Locked(7), NOW) == released
    guarded = replace(NEW, floor=machine.step(walkie, Locked(1), NOW))
    assert (guarded.floor.phase, guarded.floor.holder) == (FloorPhase.GUARD, None)
    assert machine.step(guarded, Tick(), NOW) == guarded.floor
    assert machine.step(guarded, Tick(), NOW + timedelta(seconds=GUARD_S)).holder == BOB


def test_without_guard_time_the_next_follows_the_lock() -> None:
    """With a guard time of nothing the next has the floor as soon as it is locked."""
    walkie = replace(NEW, guard_s=0.0)
    assert after(asked(ANN), asked(BOB), Spoke(ANN), Locked(1), begins=walkie).holder == BOB


def test_only_the_holder_ends_the_floor() -> None:
    """Words and departures of others end nobody's floor; they take them out of the queue."""
    floor = after(asked(ANN), asked(BOB), asked(CAT), asked(DAN), TookBack(BOB), GaveBack(CAT), Lapsed(DAN), Spoke(BOB))
    assert (floor.holder, waiting(floor)) == (ANN, [])


def test_a_request_taken_back_ends_no_floor() -> None:
    """The holder's reaction may be gone: the bot itself takes it away."""
    assert after(asked(ANN), TookBack(ANN)).holder == ANN


def test_switching_off_ends_the_floor_and_the_queue() -> None:
    """Nobody has the floor and nobody waits; a new one begins behind the holder of before."""
    off = after(asked(ANN), asked(BOB), SwitchedOff())
    assert (off.holder, off.queue, off.phase) == (None, (), FloorPhase.RELEASING)
    assert machine.step(replace(NEW, on=False, floor=off), asked(CAT), NOW) == off
    again = after(SwitchedOn(), asked(CAT), begins=replace(NEW, floor=off))
    assert (again.holder, waiting(again)) == (None, [CAT])


def test_requests_that_are_late_count_for_nothing() -> None:
    """Ten seconds late is in time, more is not; a request of the past, or of an unknown time, never is."""
    assert not is_too_late(NOW - timedelta(seconds=10), NOW)
    assert is_too_late(NOW - timedelta(seconds=10.1), NOW)
    assert is_too_late(NOW, NOW, history=True)
    assert is_too_late(None, NOW)


def test_a_floor_that_is_switched_off_needs_no_look() -> None:
    """The guard time after the last turn ends nothing."""
    off = replace(NEW, on=False, floor=after(asked(ANN), SwitchedOff()))
    guarded = replace(off, floor=machine.step(off, Locked(1), NOW))
    assert guarded.floor.phase is FloorPhase.GUARD
    assert machine.next_look(guarded) is None


def test_a_clock_that_is_set_back_extends_neither_turn_nor_guard_time() -> None:
    """Both end then; a clock that is a little behind changes nothing."""
    held = after(asked(ANN), asked(BOB))
    walkie = replace(NEW, floor=held)
    assert machine.step(walkie, Tick(), NOW - timedelta(seconds=2)) == held
    back = NOW - timedelta(hours=1)
    assert machine.step(walkie, Tick(), back).phase is FloorPhase.RELEASING
    guarded = replace(NEW, floor=after(asked(ANN), asked(BOB), Spoke(ANN), Locked(1)))
    assert machine.step(guarded, Tick(), NOW - timedelta(seconds=2)).holder is None
    assert machine.step(guarded, Tick(), back).holder == BOB


@pytest.mark.parametrize(("length", "fit"), [(20, machine.MOST_WAITING), (1000, 32)])
def test_a_queue_has_an_end(length: int, fit: int) -> None:
    """When so many wait that the floor event could hold no more, one more gets no place; those who wait keep theirs."""
    users = [UserId(f"@{number}".ljust(length, "x")) for number in range(machine.MOST_WAITING + 10)]
    floor = after(asked(ANN), *map(asked, users))
    assert waiting(floor) == users[:fit]


events = st.one_of(
    st.sampled_from(USERS).flatmap(
        lambda user: st.sampled_from(
            (asked(user), asked(user), asked(user), TookBack(user), GaveBack(user), Spoke(user), Lapsed(user))
        )
    ),
    st.sampled_from((Tick(), SwitchedOff(), SwitchedOn())),
    st.sampled_from(("locked", "restart")),
    st.integers(0, 90),
)


class Room:
    """A room whose homeserver lowers and raises members when it is told to, and whose clock goes on."""

    def __init__(self) -> None:
        self.walkie = replace(NEW, on=False)
        self.now = NOW
        self.raised: set[UserId] = set()

    def do(self, what: FloorEvent | str | int) -> None:
        match what:
            case int():
                self._pass_by(what)
            case "locked":
                self._homeserver()
            case "restart":
                column = Floors()
                stored = column.process_bind_param(self.walkie.floor, None)  # type: ignore[arg-type]
                read = column.process_result_value(stored, None)  # type: ignore[arg-type]
                assert read == self.walkie.floor
                self._apply(Tick())
            case SwitchedOn() if self.walkie.on:
                pass
            case SwitchedOn() | SwitchedOff():
                self.walkie = replace(self.walkie, on=isinstance(what, SwitchedOn))
                self._apply(what)
            case _:
                assert not isinstance(what, str)
                self._apply(what)
        floor = self.walkie.floor
        assert (floor.holder is not None) == (floor.phase is FloorPhase.HELD)
        assert len(set(waiting(floor))) == len(floor.queue)
        assert floor.holder not in waiting(floor)
        assert self.walkie.on or not (floor.holder or floor.queue)

    def _apply(self, event: FloorEvent) -> None:
        self.walkie = replace(self.walkie, floor=machine.step(self.walkie, event, self.now))

    def _pass_by(self, seconds: int) -> None:
        end = self.now + timedelta(seconds=seconds)
        while (due := machine.next_look(self.walkie)) is not None and due <= end:
            self.now = max(self.now, due)
            self._apply(Tick())
            floor = self.walkie.floor
            assert floor.until is None or self.now < floor.until
        self.now = end

    def _homeserver(self) -> None:
        """Bring the levels up to the floor, as the job does, and report a release."""
        floor = self.walkie.floor
        if floor.holder is None:
            self.raised.clear()
        else:
            self.raised.add(floor.holder)
        assert len(self.raised) <= 1
        if floor.phase is FloorPhase.RELEASING:
            self._apply(Locked(floor.serial))


@given(st.lists(events, max_size=40))
def test_one_holder_for_a_bounded_time_and_nobody_waits_for_ever(story: list[FloorEvent | str | int]) -> None:
    """Whatever is asked, said, taken back, switched or restarted: the homeserver never has two members raised, no floor
    outlasts its time, and once the homeserver follows, everybody who waits has the floor in turn."""
    room = Room()
    room.do(SwitchedOn())
    for what in story:
        room.do(what)
    if not room.walkie.on:
        return
    expected = waiting(room.walkie.floor)
    had: list[UserId] = []
    for _ in count():
        room.do("locked")
        holder = room.walkie.floor.holder
        if holder is not None and (not had or had[-1] != holder):
            had.append(holder)
        if room.walkie.floor.phase is FloorPhase.FREE:
            break
        assert len(had) <= len(USERS) + 1
        room.do(1)
    assert had[-len(expected) :] == expected if expected else True
