"""Group calls in a room's state: those that go on, who is in them, and the bot's own entry."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import Call, Device, Member
from bot.calls.wire import msc3401_state
from storage.records import CallProtocol, EventId, Position, RoomId, StateEvent, UserId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
US = Device(UserId("@bot:hs"), "BOTDEV", "bot-session")
JOINED = frozenset({UserId("@bot:hs"), UserId("@ann:hs"), UserId("@bob:hs")})
HOUR = timedelta(hours=1)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def state(kind: str, key: str, content: Mapping[str, Any], *, sender: str = "@ann:hs", age: float = 60) -> StateEvent:
    sent = NOW - timedelta(seconds=age)
    return StateEvent(
        RoomId("!a:hs"),
        kind,
        key,
        UserId(sender),
        content,
        Position(int(1e6 - age)),
        EventId(f"$event-{key}-{age}"),
        sent,
    )


def started(call_id: str = "conf", change: Mapping[str, Any] | None = None, *, age: float = 60) -> StateEvent:
    shape = {"m.intent": "m.prompt", "m.type": "m.voice", "dataChannelsEnabled": False, "io.element.ptt": False}
    return state("org.matrix.msc3401.call", call_id, {**shape, **(change or {})}, age=age)


def device(name: str = "ANNDEV", *, until: datetime = NOW + HOUR, **change: Any) -> dict[str, Any]:
    feeds = [{"purpose": "m.usermedia"}]
    return {"device_id": name, "session_id": f"s-{name}", "expires_ts": ms(until), "feeds": feeds, **change}


def entry(user: str, *devices: Any, call_id: str = "conf", sender: str | None = None, age: float = 30) -> StateEvent:
    content = {"m.calls": [{"m.call_id": call_id, "m.devices": list(devices)}]}
    return state("org.matrix.msc3401.call.member", user, content, sender=sender or user, age=age)


def members(*rows: StateEvent, joined: frozenset[UserId] = JOINED) -> list[tuple[str, str]]:
    call = msc3401_state.calls_of([started(), *rows], joined, US, NOW)[0]
    return [(member.device.user_id, member.device.device_id) for member in call.members]


def test_a_call_is_read_with_its_members() -> None:
    """A call has the devices whose four fields are there, each with its session, expiry and event."""
    ann = entry("@ann:hs", device("ANNDEV"), device("ANNTWO"))
    call = msc3401_state.calls_of([ann, started("conf", {"io.element.ptt": True})], JOINED, US, NOW)
    assert call == (
        Call(
            CallProtocol.MSC3401,
            "conf",
            EventId("$event-conf-60"),
            tuple(
                Member(
                    Device(UserId("@ann:hs"), name, f"s-{name}"),
                    ann.event_id,
                    NOW + HOUR,
                    NOW - timedelta(seconds=30),
                )
                for name in ("ANNDEV", "ANNTWO")
            ),
            push_to_talk=True,
        ),
    )


def test_several_calls_come_newest_first() -> None:
    """The newest of several calls comes first, and one that is recorded counts too; terminated ones, and those of an
    unknown intent or type, are none."""
    rows = [
        started("old", age=90),
        started("new", age=10),
        started("ended", {"m.terminated": "call_ended"}, age=5),
        started("odd", {"m.intent": "m.whisper"}, age=4),
        started("odder", {"m.type": ["m.voice"]}, age=3),
        state("org.matrix.msc3401.call", "redacted", {}, age=2),
    ]
    assert [call.call_id for call in msc3401_state.calls_of(rows, JOINED, US, NOW, {"old"})] == ["new", "old"]


def test_only_calls_that_count_are_read() -> None:
    """Members can begin any number of calls, and be in all. One counts that somebody is in, beside an empty newer one
    and those that are recorded."""
    ids = [f"c{n}" for n in range(100)]
    rows = [started(call_id, age=n + 1) for n, call_id in enumerate(ids)]
    rows += [
        entry("@ann:hs", device(until=NOW), call_id="c1"),
        state(
            "org.matrix.msc3401.call.member",
            "@bob:hs",
            {"m.calls": [{"m.call_id": call_id, "m.devices": [device("BOBDEV")]} for call_id in ids[2:]]},
            sender="@bob:hs",
        ),
    ]
    found = msc3401_state.calls_of(rows, JOINED, US, NOW, {"c60", "c1"})
    assert [(call.call_id, len(call.members)) for call in found] == [("c0", 0), ("c1", 0), ("c2", 1), ("c60", 1)]


@pytest.mark.parametrize("field", ["device_id", "session_id", "expires_ts", "feeds"])
def test_a_device_without_one_of_its_fields_is_not_in_the_call(field: str) -> None:
    """A device that lacks a field, or has it of another type, is not in the call; its user's others are."""
    without = {key: value for key, value in device("ANNDEV").items() if key != field}
    assert members(entry("@ann:hs", without, device("ANNTWO"))) == [("@ann:hs", "ANNTWO")]
    assert members(entry("@ann:hs", {**device(), field: {}}, device("ANNTWO"))) == [("@ann:hs", "ANNTWO")]


def test_who_is_not_there_is_not_in_the_call() -> None:
    """Expired devices, users who left the room, forged entries, other calls' and MatrixRTC's members are left out, and
    the bot's own device too."""
    rtc = {"application": "m.call", "device_id": "X", "focus_active": {}, "foci_preferred": []}
    assert (
        members(
            entry("@ann:hs", device(until=NOW)),
            entry("@carl:hs", device("CARLDEV")),
            entry("@bob:hs", device("BOBDEV"), sender="@ann:hs"),
            entry("@bot:hs", device("BOTDEV")),
            state("org.matrix.msc3401.call.member", "_@ann:hs_X_m.call", rtc),
        )
        == []
    )
    assert members(entry("@ann:hs", device(), call_id="another")) == []
    assert members(entry("@bot:hs", device("BOTDEV"), device("OTHER"))) == [("@bot:hs", "OTHER")]


def test_the_last_entry_of_a_device_counts() -> None:
    """A device that is listed twice is in the call once, with its last session."""
    rows = [started(), entry("@ann:hs", device(session_id="first"), device(session_id="second"))]
    (call,) = msc3401_state.calls_of(rows, JOINED, US, NOW)
    assert [member.device.session_id for member in call.members] == ["second"]


def test_members_are_bounded() -> None:
    """Devices of one user beyond a bound are left out, so that one user can't fill a call."""
    assert len(members(entry("@ann:hs", *[device(f"D{n}") for n in range(500)]))) == msc3401_state.MOST_DEVICES


# ---- the bot's own entry


def test_the_bot_stands_beside_its_users_other_devices() -> None:
    """Entering adds this device beside others of the bot's user that have not expired; leaving removes it alone."""
    others = entry("@bot:hs", device("OTHER"), device("GONE", until=NOW), device("BOTDEV", session_id="before"))
    content = msc3401_state.entered(others.content, US, "conf", NOW)
    ours = device("BOTDEV", session_id="bot-session")
    assert content == {"m.calls": [{"m.call_id": "conf", "m.devices": [device("OTHER"), ours]}]}
    gone = {"m.calls": [{"m.call_id": "conf", "m.devices": [device("OTHER")]}]}
    assert msc3401_state.left(content, US, NOW) == gone


def test_the_bot_is_in_one_call_at_a_time() -> None:
    """Entering a call takes the bot out of another, and leaving the last one empties the list."""
    before = msc3401_state.entered(None, US, "before", NOW)
    content = msc3401_state.entered(before, US, "conf", NOW)
    assert content == {"m.calls": [{"m.call_id": "conf", "m.devices": [device("BOTDEV", session_id="bot-session")]}]}
    assert msc3401_state.left(content, US, NOW) == {"m.calls": []}
    assert msc3401_state.left({"application": "m.call"}, US, NOW) == {"m.calls": []}


def test_the_own_entry_is_written_again_in_time() -> None:
    """The bot's entry is fresh for 45 minutes, and not at all once somebody overwrote it or in another session."""
    content = msc3401_state.entered(None, US, "conf", NOW)
    assert msc3401_state.is_fresh(content, US, "conf", NOW + timedelta(minutes=44))
    assert not msc3401_state.is_fresh(content, US, "conf", NOW + timedelta(minutes=45))
    assert not msc3401_state.is_fresh(content, US, "another", NOW)
    assert not msc3401_state.is_fresh(content, Device(US.user_id, "BOTDEV", "after a crash"), "conf", NOW)
    assert not msc3401_state.is_fresh({"m.calls": []}, US, "conf", NOW)
    assert msc3401_state.is_listed(content, US)
    assert not msc3401_state.is_listed(msc3401_state.left(content, US, NOW), US)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    call=st.dictionaries(st.sampled_from(["m.intent", "m.type", "m.terminated", "io.element.ptt"]), json),
    calls=json | st.lists(st.dictionaries(st.sampled_from(["m.call_id", "m.devices"]), json), max_size=2),
    devices=json | st.lists(st.dictionaries(st.sampled_from(["device_id", "expires_ts", "feeds"]), json), max_size=2),
    field=st.sampled_from(["device_id", "session_id", "expires_ts", "feeds"]),
    value=json,
)
def test_no_state_raises(call: Any, calls: Any, devices: Any, field: str, value: Any) -> None:
    """State of any JSON is read, and the bot's own entry can be written into it and taken out."""
    contents = [
        {"m.calls": calls},
        {"m.calls": [{"m.call_id": "conf", "m.devices": devices}]},
        {"m.calls": [{"m.call_id": "conf", "m.devices": [{**device(), field: value}]}]},
    ]
    for content in contents:
        row = state("org.matrix.msc3401.call.member", "@ann:hs", content)
        msc3401_state.calls_of([started("conf", call), started(), row], JOINED, US, NOW)
        written = msc3401_state.entered(content, US, "conf", NOW)
        assert msc3401_state.is_fresh(written, US, "conf", NOW)
        assert not msc3401_state.is_listed(msc3401_state.left(written, US, NOW), US)
