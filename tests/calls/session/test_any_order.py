"""The session machine, whatever happens in whatever order."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.calls.model import (
    Answered,
    AnswerMade,
    AnswerSelected,
    Candidate,
    Candidates,
    Device,
    HungUp,
    LegConnected,
    LegEnded,
    LegFailed,
    LegId,
    LegMuted,
    LegReached,
    LegUnreadable,
    Member,
    Message,
    Muted,
    Offered,
    OfferMade,
    Over,
    Received,
    Renegotiated,
    Seen,
    SessionEvent,
    SoundHeard,
    TimePassed,
)
from bot.calls.session import machine
from bot.calls.session.state import Setup
from storage.records import CallProtocol, UserId
from tests.calls.session.observer import Observer
from tests.calls.session.stories import ANN, MATRIXRTC, MXVC, NOW, OTHER_SFU, SETUP, SFU, ZOE, member

DEVICES = (
    ANN,
    replace(ANN, session_id="a2"),
    ZOE,
    replace(ZOE, device_id="ZZ"),
    Device(UserId("@other:hs"), "A"),
)
MESSAGES: tuple[Message, ...] = (
    Offered("v=0"),
    Offered("v=0", muted=True),
    Answered("v=0"),
    Candidates((Candidate("candidate:1", "0", 0),) * 3),
    AnswerSelected("M"),
    AnswerSelected("X"),
    Renegotiated(is_offer=True, sdp="v=0", muted=True),
    Renegotiated(is_offer=False, sdp="v=0"),
    Muted(audio=True),
    Muted(audio=False),
    HungUp(),
    HungUp("ice_failed"),
)
OF_LEGS: tuple[Callable[[LegId], SessionEvent], ...] = (
    lambda leg: OfferMade(leg, "v=0"),
    lambda leg: AnswerMade(leg, "v=0"),
    lambda leg: AnswerMade(leg, "v=0", again=True),
    LegConnected,
    LegConnected,
    SoundHeard,
    LegEnded,
    lambda leg: LegFailed(leg, "bad_sdp"),
    lambda leg: LegMuted(leg, muted=True),
    lambda leg: LegMuted(leg, muted=False),
    LegReached,
    LegUnreadable,
    lambda leg: LegUnreadable(leg, unencrypted=True),
)

seen = st.tuples(
    st.lists(st.sampled_from(DEVICES), max_size=4, unique_by=lambda device: (device.user_id, device.device_id)),
    st.sets(st.sampled_from([ANN.user_id, ZOE.user_id]), max_size=1),
    st.sampled_from([None, None, 30]),
)
messages = st.tuples(st.sampled_from(DEVICES), st.integers(0, 5), st.sampled_from(MESSAGES), st.booleans())
of_legs = st.tuples(st.sampled_from(OF_LEGS), st.integers(0, 3))
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0.1, 1.5, 3, 20, 61]),
        st.one_of(messages, of_legs, seen, of_legs, messages, st.just(TimePassed())),
    ),
    max_size=30,
)


def event_of(setup: Setup, drawn: Any, legs: list[LegId], now_s: float) -> SessionEvent:
    """Make an event out of what was drawn. `legs`: those that are open, the newest first."""
    known = [*legs, LegId("L"), LegId("K"), LegId("T"), LegId("U"), LegId("V"), LegId("W")]
    match drawn:
        case (Device() as device, int(n), message, bool(encrypted)):
            leg = LegId("") if not setup.call_id else known[n]
            return Received(setup.call_id, device, leg, message, encrypted=encrypted)
        case (make, int(n)):
            event: SessionEvent = make(known[n])
            return event
        case (list(devices), set(declined), expires):
            at = None if expires is None else NOW + timedelta(seconds=now_s + expires)
            return Seen(tuple(_listed(setup, device, at) for device in devices), frozenset(declined))
    return TimePassed()


def _listed(setup: Setup, device: Device, at: datetime | None) -> Member:
    """List a device; one of MatrixRTC sends its sound elsewhere while its membership expires."""
    if setup.protocol is not CallProtocol.MATRIXRTC:
        return member(device, expires_at=at)
    return member(device, expires_at=at, transport=OTHER_SFU if at else SFU, identity=device.device_id)


SETUPS = {"plain": SETUP, "encrypted": replace(SETUP, encrypted=True), "mxvc": MXVC, "matrixrtc": MATRIXRTC}


@settings(max_examples=100)
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
@given(steps=steps)
def test_promises_hold_in_any_order(setup: Setup, steps: list[tuple[float, object]]) -> None:
    """A device has one leg at most, every stem is closed once, nothing is done to a closed leg, and time goes on."""
    observer, session, now_s = Observer(), machine.begin(setup, NOW), 0.0
    for pause_s, drawn in [(0, ([ANN, ZOE], set(), None)), *steps]:
        now_s += pause_s
        now = NOW + timedelta(seconds=now_s)
        event = event_of(setup, drawn, list(reversed(observer.open)), now_s)
        session, effects = machine.step(session, event, now)
        observer.watch(session, effects, now)
    session, effects = machine.step(session, Over(), now)
    observer.watch(session, effects, now)


@settings(max_examples=50)
@pytest.mark.parametrize("setup", [SETUP, MATRIXRTC], ids=["plain", "matrixrtc"])
@given(steps=steps)
def test_the_bot_leaves_in_the_end(setup: Setup, steps: list[tuple[float, object]]) -> None:
    """Whatever happened: when all have left and time passes, the bot leaves too, after a bounded number of looks."""
    observer, session, now_s = Observer(), machine.begin(setup, NOW), 0.0
    for pause_s, drawn in [*steps, (0, ([], set(), None))]:
        now_s += pause_s
        now = NOW + timedelta(seconds=now_s)
        session, effects = machine.step(session, event_of(setup, drawn, list(reversed(observer.open)), now_s), now)
        observer.watch(session, effects, now)
    empty = now + setup.empty
    for _ in range(2 + len(steps)):
        if not session.is_over:
            now = effects[-1].at  # type: ignore[union-attr]
            session, effects = machine.step(session, TimePassed(), now)
            observer.watch(session, effects, now)
    assert session.is_over
    assert now <= empty
