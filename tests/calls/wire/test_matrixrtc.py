"""Calls of MatrixRTC in a room's state and sticky events: who is in them, and where their sound is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import facts
from bot.calls.model import Call, Device, Member, Transport
from bot.calls.wire import matrixrtc
from bot.dialects import rtc
from storage.records import CallProtocol, EventId, HeardEvent, Position, RoomId, StateEvent, UserId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ROOM = RoomId("!a:hs")
ANN, BOB, EVE = UserId("@ann:hs"), UserId("@bob:hs"), UserId("@eve:hs")
US = Device(UserId("@bot:hs"), "BOTDEV", "bot-session")
JOINED = frozenset({US.user_id, ANN, BOB, EVE})
HOUR = timedelta(hours=1)
SFU, OTHER_SFU = "https://sfu.hs/livekit/jwt", "https://sfu.other"


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def focus(url: object = SFU) -> dict[str, Any]:
    return {"type": "livekit", "livekit_service_url": url, "livekit_alias": ROOM}


def in_state(
    user: str = ANN, device: str = "DEV", *, age: float = 60, key: str | None = None, sender: str = "", **change: Any
) -> StateEvent:
    """An entry as js-sdk writes it in compatibility mode. `change`: fields that differ; None: without the field."""
    content: dict[str, Any] = {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": device,
        "membershipID": f"{user}:{device}",
        "expires": 4 * 3600 * 1000,
        "m.call.intent": "audio",
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [focus()],
        **change,
    }
    content = {name: value for name, value in content.items() if value is not None}
    return row("org.matrix.msc3401.call.member", key or f"_{user}_{device}_m.call", sender or user, content, age)


def row(kind: str, key: str, sender: str, content: Mapping[str, Any], age: float) -> StateEvent:
    sent = NOW - timedelta(seconds=age)
    at = Position(int(1e6 - age))
    return StateEvent(ROOM, kind, key, UserId(sender), content, at, EventId(f"${key}-{age}"), sent)


def sticky_content(user: str = ANN, device: str = "DEV", member_id: str = "uuid", **change: Any) -> dict[str, Any]:
    """The content of a sticky event as js-sdk writes it in Matrix 2.0 mode."""
    content: dict[str, Any] = {
        "application": {"type": "m.call", "m.call.intent": "audio"},
        "slot_id": "m.call#ROOM",
        "transports": {"published": [{"type": "livekit", "livekit_service_url": SFU}], "can_subscribe": ["livekit"]},
        "member": {"id": member_id, "user_id": user, "device_id": device},
        "versions": [],
        "msc4354_sticky_key": member_id,
        **change,
    }
    return {name: value for name, value in content.items() if value is not None}


def sticky(
    user: str = ANN,
    device: str = "DEV",
    member_id: str = "uuid",
    *,
    age: float = 30,
    content: Any = None,
    **change: Any,
) -> StateEvent:
    """A sticky event as it is kept."""
    said = sticky_content(user, device, member_id, **change) if content is None else content
    event: dict[str, Any] = {
        "type": "org.matrix.msc4143.rtc.member",
        "event_id": f"$sticky-{member_id}-{age}",
        "sender": user,
        "origin_server_ts": ms(NOW - timedelta(seconds=age)),
        "msc4354_sticky": {"duration_ms": 3_600_000},
        "content": said,
    }
    heard = HeardEvent(ROOM, EventId(event["event_id"]), event)
    until = rtc.sticky_until(heard, NOW)
    kept = rtc.kept_sticky(heard, until) if until is not None else None
    assert kept is not None
    return kept


def the_call(*rows: StateEvent, us: Device = US) -> Call:
    (call,) = matrixrtc.calls_of(rows, JOINED, us, NOW)
    return call


def devices(*rows: StateEvent) -> list[tuple[str, str]]:
    return [(member.device.user_id, member.device.session_id) for member in the_call(*rows).members]


def urls(*rows: StateEvent) -> list[str | None]:
    return [member.transport.service_url if member.transport else None for member in the_call(*rows).members]


def test_a_call_is_read_with_its_members_of_both_modes() -> None:
    """The call of a room has the devices that state and sticky events list, each with its membership, expiry,
    transport, and its name there."""
    ann, bob = in_state(age=60), sticky(BOB, "BOBDEV", "bob-uuid", age=30)
    since = NOW - timedelta(seconds=60)
    legacy = Device(ANN, "DEV", "@ann:hs:DEV")
    new = Device(BOB, "BOBDEV", "bob-uuid")
    hashed = "phUI5KdT/nWcpy+fDpLSBr9PEsTCpGuwVuc/0xzBDJI"
    assert the_call(bob, ann) == Call(
        CallProtocol.MATRIXRTC,
        "m.call#ROOM",
        ann.event_id,
        (
            Member(legacy, ann.event_id, since + 4 * HOUR, since, Transport(SFU), "@ann:hs:DEV", Transport(SFU)),
            Member(new, bob.event_id, NOW + HOUR - timedelta(seconds=30), None, Transport(SFU), hashed, Transport(SFU)),
        ),
    )


def test_a_room_where_nobody_is_in_the_call_any_more_has_an_empty_one() -> None:
    """A room in whose call somebody was has a call without members, and no event; any other room has none."""
    left = row("org.matrix.msc3401.call.member", "_@ann:hs_DEV_m.call", ANN, {}, 10)
    assert the_call(left) == Call(CallProtocol.MATRIXRTC, "m.call#ROOM", None, ())
    assert the_call(sticky(content={"msc4354_sticky_key": "uuid"})).members == ()
    of_msc3401 = row("org.matrix.msc3401.call.member", ANN, ANN, {"m.calls": []}, 10)
    assert matrixrtc.calls_of([of_msc3401], JOINED, US, NOW) == ()


@pytest.mark.parametrize(
    "key", ["_@ann:hs_DEV_m.call", "@ann:hs_DEV_m.call", "_@ann:hs_DEV", "@ann:hs_DEV", "_@ann:hs_DEV_m.callROOM"]
)
def test_state_keys_of_all_clients_are_read(key: str) -> None:
    """An entry is read under the keys of present and older clients."""
    assert devices(in_state(key=key)) == [(ANN, "@ann:hs:DEV")]


@pytest.mark.parametrize("key", ["_@bob:hs_DEV_m.call", "@ann:hs", "DEV", "", "__@ann:hs_DEV_m.call"])
def test_an_entry_under_a_strange_key_is_nobody(key: str) -> None:
    """An entry under another user's key, or one that names nobody, puts nobody into the call."""
    assert matrixrtc.calls_of([in_state(key=key or "_")], JOINED, US, NOW) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"application": "m.whiteboard"},
        {"application": None},
        {"call_id": "breakout"},
        {"call_id": ["x"]},
        {"device_id": None},
        {"device_id": "with space"},
        {"focus_active": None},
        {"focus_active": {"type": 5}},
        {"foci_preferred": {"type": "livekit"}},
        {"foci_preferred": [focus(), "sfu"]},
        {"created_ts": "yesterday"},
        {"created_ts": True},
        {"scope": 5},
        {"m.calls": []},
    ],
)
def test_a_malformed_entry_is_nobody(change: Mapping[str, Any]) -> None:
    """An entry of another application or call, or with a field that makes no sense, is nobody; others are."""
    assert devices(in_state(**change), in_state(BOB)) == [(BOB, "@bob:hs:DEV")]


def test_who_is_not_in_the_room_is_not_in_the_call() -> None:
    """Entries of users who left the room do not count, nor those of the bot's user, as of an earlier login."""
    rows = [in_state(), sticky(BOB), in_state(US.user_id, "BOTDEV"), in_state(US.user_id, "PHONE"), in_state("@zoe:hs")]
    (call,) = matrixrtc.calls_of(rows, JOINED - {BOB}, US, NOW)
    assert [member.identity for member in call.members] == ["@ann:hs:DEV"]


def test_entries_expire() -> None:
    """An entry in state lasts from when its member came, by its own word or the homeserver's, for as long as it says,
    or four hours; a sticky one as long as its event is sticky."""
    day = 24 * 3600
    assert devices(in_state(age=4 * 3600)) == []
    assert devices(in_state(age=4 * 3600 - 1, expires=None)) == [(ANN, "@ann:hs:DEV")]
    assert devices(in_state(age=4 * 3600 - 1, expires="a while")) == [(ANN, "@ann:hs:DEV")]
    assert devices(in_state(age=60, created_ts=ms(NOW - 5 * HOUR))) == []
    assert devices(in_state(age=60, created_ts=ms(NOW - 5 * HOUR), expires=6 * 3600 * 1000)) == [(ANN, "@ann:hs:DEV")]
    assert devices(in_state(age=day, expires=1e300)) == [(ANN, "@ann:hs:DEV")]
    assert devices(in_state(age=day, expires=float("nan"))) == []
    (call,) = matrixrtc.calls_of([sticky(age=60)], JOINED, US, NOW + HOUR - timedelta(seconds=60))
    assert call.members == ()


def test_members_of_the_oldest_selection_send_where_the_oldest_member_does() -> None:
    """With `oldest_membership` a member sends to the transport of the oldest member, which may be the bot; with any
    other selection to the first of its own."""
    oldest = {"type": "livekit", "focus_selection": "oldest_membership"}
    bob = in_state(BOB, focus_active=oldest, foci_preferred=[focus(OTHER_SFU)], age=30)
    assert urls(in_state(age=60), bob) == [SFU, SFU]
    assert urls(in_state(age=20), bob) == [OTHER_SFU, SFU]
    assert urls(in_state(age=20, created_ts=ms(NOW - HOUR)), bob) == [SFU, SFU]
    assert urls(sticky(age=60), bob) == [SFU, SFU]
    assert urls(in_state(US.user_id, "BOTDEV", age=60), bob) == [SFU]
    assert urls(in_state(foci_preferred=[], age=60), bob) == [None, None]
    odd = {"type": "livekit", "focus_selection": "nearest"}
    assert urls(in_state(focus_active=odd)) == [None]


@pytest.mark.parametrize(
    "url", [5, None, "", "ftp://sfu", "https://", "sfu.hs", "https://a b", "https://s/" + "x" * 2000]
)
def test_a_member_without_a_usable_transport_is_in_the_call(url: object) -> None:
    """A member whose transport is none that can be used stays in the list, without it."""
    transports = [{"type": "livekit", "livekit_service_url": url}, focus()]
    assert urls(in_state(foci_preferred=transports), sticky(BOB, transports={"published": transports})) == [None, None]
    assert urls(in_state(foci_preferred=[{"type": "full-mesh"}]), sticky(BOB, transports={"published": []})) == [
        None,
        None,
    ]


def test_a_device_counts_once() -> None:
    """The state of a device with a sticky event does not count, whichever is newer; of several the newest counts, by
    whatever key, and a sticky one of a member who left hides no state."""
    assert devices(in_state(age=5), sticky(age=30)) == [(ANN, "uuid")]
    assert devices(sticky(member_id="old", age=60), sticky(member_id="new", age=30)) == [(ANN, "new")]
    assert devices(in_state(key="@ann:hs_DEV", membershipID="old", age=90), in_state()) == [(ANN, "@ann:hs:DEV")]
    left = sticky(content={"msc4354_sticky_key": "uuid"})
    assert devices(in_state(), left) == [(ANN, "@ann:hs:DEV")]
    assert devices(in_state(device="A", age=9), in_state(device="B")) == [(ANN, "@ann:hs:B"), (ANN, "@ann:hs:A")]


def test_sticky_events_of_a_closed_slot_do_not_count() -> None:
    """While a room's state says that the slot of its call is closed, entries in state count alone."""

    def slot(content: Mapping[str, Any], key: str = "m.call#ROOM") -> StateEvent:
        return row("org.matrix.msc4143.rtc.slot", key, ANN, content, 10)

    is_open = {"status": "open", "application": {"type": "m.call"}}
    rows = [in_state(), sticky(BOB, member_id="uuid")]
    assert len(devices(*rows, slot(is_open))) == 2
    assert len(devices(*rows, slot({}, key="m.call#OTHER"))) == 2
    for content in ({}, {**is_open, "status": "closed"}, {**is_open, "application": {"type": "m.game"}}):
        assert devices(*rows, slot(content)) == [(ANN, "@ann:hs:DEV")]


def test_a_membership_in_state_is_the_same_when_its_entry_is_renewed() -> None:
    """A renewed entry keeps the time at which its membership began."""
    first, renewed = in_state(age=60), in_state(age=5, created_ts=ms(NOW - timedelta(seconds=60)))
    assert the_call(first).members[0].since == the_call(renewed).members[0].since


def test_no_device_is_heard_under_the_name_of_another() -> None:
    """A device in state whose name at an SFU may be another user's is in the call, and is not heard."""
    spoofing = the_call(in_state(ANN, "8448:D"), us=US)
    assert [member.transport for member in spoofing.members] == [None]
    (by_sticky,) = the_call(sticky(ANN, "8448:D")).members
    assert by_sticky.transport == Transport(SFU)


def test_who_says_to_be_the_oldest_takes_no_places() -> None:
    """Users take turns, in the order in which their entries came, whatever these say of their age; who is left out is
    told."""
    early = [UserId(f"@early{n}:hs") for n in range(10)]
    greedy = [in_state(user, f"D{n}", age=100, created_ts=0, expires=1e300) for user in early for n in range(33)]
    users = [*early, ANN]
    (call,) = matrixrtc.calls_of([*greedy, in_state(ANN, age=5)], users, US, NOW)
    assert len(call.members) == matrixrtc.MOST_MEMBERS
    assert call.members[-1].device.user_id == ANN
    assert len(call.left_out) == 11


def test_members_are_bounded() -> None:
    """So many devices of one user are read, and so many in all, those that came first."""
    crowd = [in_state(ANN, f"D{n}", age=1000 - n) for n in range(40)]
    assert len(devices(*crowd, in_state(BOB))) == matrixrtc.MOST_DEVICES + 1
    users = [UserId(f"@u{n}:hs") for n in range(20)]
    crowd = [in_state(user, f"D{n}", age=1000 - n) for n in range(20) for user in users]
    (call,) = matrixrtc.calls_of(crowd, users, US, NOW)
    assert len(call.members) == matrixrtc.MOST_MEMBERS
    assert {member.device.device_id for member in call.members} == {f"D{n}" for n in range(16)}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([SFU, "livekit"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["application", "call_id", "device_id", "membershipID", "expires", "created_ts", "focus_active", "scope"]
STICKY_FIELDS = ["application", "slot_id", "transports", "rtc_transports", "member"]


@given(
    st.dictionaries(st.sampled_from([*FIELDS, "foci_preferred"]), JUNK, max_size=3),
    st.dictionaries(st.sampled_from(STICKY_FIELDS), JUNK, max_size=2),
)
def test_hostile_content_harms_nobody(change: dict[str, Any], sticky_change: dict[str, Any]) -> None:
    """Whatever an entry holds, the others are read, and what is read of it is valid."""
    content = {**in_state(EVE).content, **change}
    hostile = row("org.matrix.msc3401.call.member", "_@eve:hs_DEV_m.call", EVE, content, 5)
    other = sticky(EVE, "DEV2", content={**sticky_content(EVE, "DEV2"), **sticky_change})
    call = the_call(in_state(age=20), hostile, other)
    by_user = {member.device.user_id for member in call.members}
    assert ANN in by_user
    for member in call.members:
        assert member.expires_at is not None
        assert NOW < member.expires_at <= facts.EPOCH + timedelta(milliseconds=facts.LAST_TIME_MS)
        assert member.device.device_id.isprintable()
        assert member.identity
        assert member.transport is None or member.transport.service_url.startswith(("http://", "https://"))
