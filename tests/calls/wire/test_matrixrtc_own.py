"""The bot's own entry in a MatrixRTC call, in both modes."""

from dataclasses import replace
from datetime import timedelta

from bot.calls.model import Device, Transport
from bot.calls.wire import matrixrtc, matrixrtc_own
from storage.records import StateEvent
from tests.calls.wire.test_matrixrtc import (
    BOB,
    HOUR,
    NOW,
    OTHER_SFU,
    ROOM,
    SFU,
    US,
    focus,
    in_state,
    row,
    sticky,
    the_call,
)

KEY = "_@bot:hs_BOTDEV_m.call"
LEGACY = Device(US.user_id, "BOTDEV", "@bot:hs:BOTDEV")


def test_the_bot_is_at_the_transport_of_the_oldest_member() -> None:
    """The bot's transport is that of the oldest member that has one; a call without any leaves it without."""
    oldest = in_state(age=60, foci_preferred=[])
    call = the_call(
        oldest, in_state(BOB, age=50, foci_preferred=[{"type": "livekit", "livekit_service_url": OTHER_SFU}])
    )
    assert matrixrtc_own.own_member(call, US, sticky=False).transport == Transport(OTHER_SFU)
    assert matrixrtc_own.own_member(the_call(oldest), US, sticky=False).transport is None


def test_the_bot_goes_where_members_are() -> None:
    """The bot stays at its SFU while a member names it and it gets in there. Else it goes to the first that is named
    where it does, also where that member follows the bot by now; and stays if there is none."""
    here, there = Transport(SFU), Transport(OTHER_SFU)
    oldest = {"type": "livekit", "focus_selection": "oldest_membership"}
    bots = in_state(US.user_id, "BOTDEV", age=90)
    follower = in_state(BOB, age=50, focus_active=oldest, foci_preferred=[focus(OTHER_SFU)])
    both, alone = the_call(bots, in_state(age=60), follower), the_call(bots, follower)
    assert alone.members[0].transport == here
    assert [matrixrtc_own.transport_in(call, here, ()) for call in (both, alone)] == [here, there]
    assert matrixrtc_own.transport_in(both, here, [here]) == there
    assert matrixrtc_own.transport_in(both, here, [here, there]) == here
    assert matrixrtc_own.transport_in(the_call(bots), here, ()) == here
    assert matrixrtc_own.transport_in(alone, None, ()) == there


def test_the_bot_uses_the_mode_of_the_call() -> None:
    """The bot is there by a sticky event where all members are, under a name that is a hash; else by state, under
    its user id and device, which older clients take for its membership."""
    mixed = the_call(sticky(), in_state(BOB))
    assert (matrixrtc_own.uses_sticky(mixed), matrixrtc_own.uses_state(mixed)) == (False, True)
    by_state = matrixrtc_own.own_member(mixed, US, sticky=False)
    assert (by_state.device, by_state.identity) == (LEGACY, "@bot:hs:BOTDEV")
    new, empty = the_call(sticky()), the_call(sticky(content={"msc4354_sticky_key": "uuid"}))
    assert (matrixrtc_own.uses_sticky(new), matrixrtc_own.uses_state(new)) == (True, False)
    assert not any((matrixrtc_own.uses_sticky(empty), matrixrtc_own.uses_state(empty)))
    by_sticky = matrixrtc_own.own_member(new, US, sticky=True)
    assert (by_sticky.device, by_sticky.identity) == (US, matrixrtc.hashed_identity(US))
    assert [matrixrtc_own.is_sticky(us) for us in (by_state, by_sticky)] == [False, True]


def test_the_entry_in_state_is_read_as_it_is_written() -> None:
    """The bot's entry in state is one that the bot reads, at its transport; a renewed one keeps the time of the first,
    and expires four hours later than now."""
    us = matrixrtc_own.own_member(the_call(in_state()), US, sticky=False)
    first = row("org.matrix.msc3401.call.member", KEY, US.user_id, matrixrtc_own.entered(None, us, ROOM, NOW), 0)
    assert matrixrtc_own.is_listed(first, US)
    assert matrixrtc_own.is_fresh(first, us, NOW)
    assert matrixrtc_own.is_fresh(first, us, NOW + 3 * HOUR - timedelta(seconds=1))
    assert not matrixrtc_own.is_fresh(first, us, NOW + 3 * HOUR)
    later = NOW + 3 * HOUR
    renewed = replace(first, content=matrixrtc_own.entered(first, us, ROOM, later), sent_at=later)
    entry = matrixrtc.entry_of(renewed)
    assert entry is not None
    assert (entry.created, entry.expires, entry.service_url) == (NOW, later + 4 * HOUR, SFU)
    (member,) = the_call(renewed, us=Device(BOB, "X")).members
    assert replace(member, event_id=None, expires_at=None, since=None, named=None) == us


def test_an_entry_that_differs_is_not_fresh() -> None:
    """An entry of another device or transport, a left one, and none, are written again; the entry of another device of
    the bot's user is not the bot's."""
    us = matrixrtc_own.own_member(the_call(in_state()), US, sticky=False)

    def fresh(own: StateEvent | None) -> bool:
        return matrixrtc_own.is_fresh(own, us, NOW)

    assert not fresh(None)
    assert not fresh(row("org.matrix.msc3401.call.member", KEY, US.user_id, matrixrtc_own.LEFT, 0))
    assert not fresh(in_state(US.user_id, "BOTDEV", foci_preferred=[]))
    assert fresh(in_state(US.user_id, "BOTDEV"))
    other = in_state(US.user_id, "PHONE")
    assert not matrixrtc_own.is_listed(other, US)
    assert not fresh(other)


def test_the_sticky_entry_is_read_as_it_is_written() -> None:
    """The bot's sticky event is one that the bot reads, for as long as it is sticky; the one by which it leaves ends
    it."""
    us = matrixrtc_own.own_member(the_call(sticky()), US, sticky=True)
    own = sticky(US.user_id, age=0, content=matrixrtc_own.entered_sticky(us))
    (member,) = the_call(own, us=Device(BOB, "X")).members
    assert (member.device, member.transport, member.identity) == (us.device, us.transport, us.identity)
    assert matrixrtc_own.is_fresh(own, us, NOW + timedelta(minutes=44))
    assert not matrixrtc_own.is_fresh(own, us, NOW + timedelta(minutes=45))
    left = sticky(US.user_id, age=0, content=matrixrtc_own.left_sticky("bot-session"))
    assert left.state_key == own.state_key
    assert not matrixrtc_own.is_listed(left, US)


def test_the_state_key_is_one_that_the_room_allows() -> None:
    """The bot's state key begins with an underscore, but in versions that keep a user's own keys for them."""
    assert matrixrtc_own.state_key(US, "12") == KEY
    assert matrixrtc_own.state_key(US, None) == KEY
    assert matrixrtc_own.state_key(US, "org.matrix.msc3757.10") == KEY[1:]
