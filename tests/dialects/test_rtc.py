"""Transports and sticky member events of MatrixRTC: what is kept of them, and for how long."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dialects import rtc
from storage.records import EventId, HeardEvent, RoomId, SessionId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=59)
SFU = "https://sfu.hs/jwt"


def event(**change: Any) -> dict[str, Any]:
    return {
        "type": "org.matrix.msc4143.rtc.member",
        "event_id": "$e",
        "sender": "@ann:hs",
        "origin_server_ts": int(NOW.timestamp() * 1000) - 60_000,
        "msc4354_sticky": {"duration_ms": 3_600_000},
        "content": {
            "application": {"type": "m.call"},
            "slot_id": "m.call#ROOM",
            "transports": {"published": [{"type": "livekit", "livekit_service_url": f"{SFU}/"}]},
            "member": {"id": "uuid", "user_id": "@ann:hs", "device_id": "DEV"},
            "versions": [],
            "msc4354_sticky_key": "uuid",
        },
        **change,
    }


def heard(raw: dict[str, Any], **change: Any) -> HeardEvent:
    return HeardEvent(RoomId("!a:hs"), EventId("$e"), raw, **change)


def until(**change: Any) -> timedelta | None:
    found = rtc.sticky_until(heard(event(**change)), NOW)
    return None if found is None else found - NOW


def test_little_of_a_member_event_is_kept() -> None:
    """A member event is kept under its sender and sticky key, without what the bot has no use for."""
    kept = rtc.kept_sticky(heard(event()), UNTIL)
    assert kept is not None
    assert (kept.type, kept.sender, kept.event_id) == (event()["type"], "@ann:hs", "$e")
    assert kept.state_key == rtc.digest("@ann:hs", "uuid")
    assert kept.content == {
        "expires_ts": int((NOW + timedelta(minutes=59)).timestamp() * 1000),
        "slot_id": "m.call#ROOM",
        "member_id": "uuid",
        "device_id": "DEV",
        "service_url": SFU,
    }


def test_transports_are_read_in_the_place_of_older_clients_too() -> None:
    """The transport of a member is read where js-sdk 42 puts it; an event without any such list makes no sense."""
    content = {key: value for key, value in event()["content"].items() if key != "transports"}
    older = content | {"rtc_transports": [{"type": "livekit", "livekit_service_url": "https://old"}]}
    kept = [rtc.kept_sticky(heard(event(content=each)), UNTIL) for each in (older, content)]
    assert [each and each.content.get("service_url") for each in kept] == ["https://old", None]
    assert [each and each.content.get("device_id") for each in kept] == ["DEV", None]


def test_of_a_member_who_left_the_time_alone_is_kept() -> None:
    """The event by which a member leaves, and one that makes no sense, replace the one before; one without a sticky key
    does not, nor one whose id is too long."""
    for content in ({}, {"slot_id": "m.call"}, {"member": {"user_id": "@bob:hs"}}):
        change = event()["content"] | content if content else {"msc4354_sticky_key": "uuid"}
        kept = rtc.kept_sticky(heard(event(content=change)), UNTIL)
        assert kept is not None
        assert (list(kept.content), kept.state_key) == (["expires_ts"], rtc.digest("@ann:hs", "uuid"))
    without = {key: value for key, value in event()["content"].items() if key != "msc4354_sticky_key"}
    assert rtc.kept_sticky(heard(event(content=without)), UNTIL) is None
    assert rtc.kept_sticky(replace(heard(event()), event_id=EventId("$" + "x" * 300)), UNTIL) is None


def test_a_sealed_event_is_kept() -> None:
    """A sticky event that can't be decrypted is kept until its key comes, without the parts that decryption does not
    need; one of another type, or much longer than a member's, is not."""
    content = {"algorithm": "a", "ciphertext": "c", "session_id": "s"}
    sealed = event(type="m.room.encrypted", content={**content, "m.relates_to": {"x": "y" * 9000}}, unsigned={})
    kept = rtc.kept_sticky(heard(sealed, session_id=SessionId("s"), encrypted=True), UNTIL)
    assert kept is not None
    assert (kept.type, rtc.expiry(kept)) == ("org.aircheck.sticky.sealed", UNTIL)
    again = rtc.sealed_sticky(kept)
    assert again is not None
    needed = {name: sealed[name] for name in ("type", "event_id", "sender", "origin_server_ts")}
    assert (again.event, again.session_id, again.event_id) == ({**needed, "content": content}, "s", "$e")
    long = event(type="m.room.encrypted", content={**content, "ciphertext": "c" * 9000})
    assert rtc.kept_sticky(heard(long, session_id=SessionId("s"), encrypted=True), UNTIL) is None
    redacted = replace(kept, content={}, sent_at=NOW)
    assert (rtc.sealed_sticky(redacted), rtc.expiry(redacted)) == (None, NOW + timedelta(hours=1))
    assert rtc.kept_sticky(heard(event(type="m.room.message")), UNTIL) is None


def test_how_long_an_event_is_sticky() -> None:
    """An event is sticky for as long as the homeserver says, else from its time on, an hour at most; state never is."""
    assert until() == timedelta(minutes=59)
    assert until(unsigned={"msc4354_sticky_duration_ttl_ms": 5000}) == timedelta(seconds=5)
    assert until(unsigned={"msc4354_sticky_duration_ttl_ms": 10**15}) == timedelta(hours=1)
    assert until(unsigned={"msc4354_sticky_duration_ttl_ms": 0}) is None
    assert until(origin_server_ts=10**13) == timedelta(hours=1)
    assert until(origin_server_ts="now", msc4354_sticky={"duration_ms": 10**15}) == timedelta(hours=1)
    assert until(msc4354_sticky={"duration_ms": 60_000}) is None
    assert until(msc4354_sticky={"duration_ms": "long"}) is None
    assert until(msc4354_sticky=None) is None
    assert until(state_key="") is None


@pytest.mark.parametrize(
    ("address", "same"),
    [
        (SFU, SFU),
        ("HTTPS://SFU.hs:443/jwt//", SFU),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[::1]:7/", "https://[::1]:7"),
        ("https://user:secret@sfu.hs", None),
        ("https://sfu.hs/?a=b", None),
        ("https://sfu.hs/#a", None),
        ("https://sfu.hs:port", None),
        ("https://sfu.hs:99999", None),
        ("https://[sfu", None),
        ("javascript:alert(1)", None),
        ("https://sfu.hs/\nx", None),
    ],
)
def test_addresses_of_one_service_are_equal(address: str, same: str | None) -> None:
    """Addresses of the same token service are one, however they are written; one that clients can't use is none."""
    assert rtc.service_address(address) == same


@given(st.text() | st.integers() | st.lists(st.text()) | st.text().map("https://{}".format))
def test_any_address_is_read(address: object) -> None:
    """Whatever stands for an address, reading it gives one of HTTP or none, which reads as itself."""
    read = rtc.service_address(address)
    assert read is None or rtc.service_address(read) == read
