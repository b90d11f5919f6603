"""Captures of calls of MatrixRTC by matrix-js-sdk (tests/data/matrixrtc), read as the bot reads them."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import facts
from bot.calls.model import Device, Member, Transport
from bot.calls.wire import matrixrtc, matrixrtc_own
from bot.dialects import rtc
from bot.dialects.state import kept_state
from storage.records import EventId, HeardEvent, Position, RoomId, SessionId, StateEvent, UserId
from tests.lab import DATA

ROOM = RoomId("!kitchen:example.org")
ANN, BEN, BOT = UserId("@ann:example.org"), UserId("@ben:example.org"), UserId("@bot:example.org")
US = Device(BOT, "BOTDEVICE", "session")
NOW = facts.EPOCH + timedelta(seconds=1_800_000_006)
SFU = Transport("https://rtc.example.org")
MEMBER_ID = "00000000-0000-4000-8000-000000000001"
MODES = ["legacy", "compatibility", "matrix_2_0", "matrix_2_0_encrypted"]


def capture(mode: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DATA / "matrixrtc" / f"{mode}.json").read_text())
    return read


def kept(event: dict[str, Any], decrypted: dict[str, Any] | None = None) -> StateEvent | None:
    """Read an event as the intake does, after it was decrypted to `decrypted`."""
    if "state_key" in event:
        return kept_state(ROOM, event, Position(1))
    heard = HeardEvent(ROOM, EventId(event["event_id"]), event)
    if event["type"] == "m.room.encrypted":
        heard = replace(heard, encrypted=True, session_id=SessionId(event["content"]["session_id"]))
        if decrypted is not None:
            clear = {**event, "type": "org.matrix.msc4143.rtc.member", "content": decrypted}
            heard = replace(heard, event=clear, session_id=None)
    until = rtc.sticky_until(heard, NOW)
    assert until == NOW + timedelta(milliseconds=3_599_900)
    return rtc.kept_sticky(heard, until)


def members(*rows: StateEvent | None) -> list[Member]:
    """List the members when these events came, each over the one before under its key."""
    state = {(row.type, row.state_key): row for row in rows if row is not None}
    (call,) = matrixrtc.calls_of(state.values(), {ANN, BEN, BOT}, US, NOW)
    return list(call.members)


@pytest.mark.parametrize("mode", MODES)
def test_a_member_is_in_the_call_from_joining_to_leaving(mode: str) -> None:
    """Ann is in the call once she has joined, under the name that her token gives her at the SFU, and still when she
    renews her entry; not any more once she has left."""
    data = capture(mode)
    payload = data["token"]["answer"]["jwt"].split(".")[1]
    name = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    decrypted = [*data["decrypted"], None, None, None]
    rows = [kept(event, clear) for event, clear in zip(data["events"], decrypted, strict=False)]
    is_sticky = mode.startswith("matrix_2_0")
    session = MEMBER_ID if is_sticky else f"{ANN}:ANNDEVICE"
    for number in (1, 2):
        (member,) = members(*rows[:number])
        assert member.device == Device(ANN, "ANNDEVICE", session)
        assert (member.transport, member.identity, member.event_id) == (SFU, name, f"$event{number}")
    assert members(*rows) == []


@pytest.mark.parametrize("mode", MODES)
def test_the_first_sync_of_somebody_who_comes_later_tells_who_is_there(mode: str) -> None:
    """The first sync brings entries of those who have left too: Ben alone is in the call. Encrypted ones are kept until
    their keys come."""
    data = capture(mode)
    rows = [kept(entry["event"]) for entry in data["first_sync"]]
    if mode == "matrix_2_0_encrypted":
        assert [row is not None and row.type for row in rows] == [*["org.aircheck.sticky.sealed"] * 3, rows[3].type]  # type: ignore[union-attr]
        return
    assert [member.device.user_id for member in members(*rows)] == [BEN]


def shape(value: Any) -> Any:
    """The keys of an object and those in it, and the types of the rest."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("mode", MODES)
def test_the_bots_entry_has_the_shape_of_a_clients(mode: str) -> None:
    """The bot's entry holds the fields that js-sdk writes, joining and renewed; a sticky one those of older clients
    too."""
    data = capture(mode)
    first = (data["decrypted"] or [event["content"] for event in data["events"]])[0]
    row = kept(data["events"][0], (data["decrypted"] or [None])[0])
    (call,) = matrixrtc.calls_of([row] if row else [], {ANN}, US, NOW)
    us = matrixrtc_own.own_member(call, US, sticky=mode.startswith("matrix_2_0"))
    if mode.startswith("matrix_2_0"):
        assert matrixrtc_own.uses_sticky(call)
        written = dict(matrixrtc_own.entered_sticky(us))
        assert written.pop("rtc_transports") == first["transports"]["published"]
        assert shape(written) == shape(first)
        assert shape(matrixrtc_own.left_sticky("x")) == shape(data["delayed_leave"]["body"])
        return
    written = dict(matrixrtc_own.entered(None, us, ROOM, NOW))
    assert shape(written) == shape(first)
    assert written["foci_preferred"] == first["foci_preferred"]
    assert data["delayed_leave"]["body"] == matrixrtc_own.LEFT
    assert matrixrtc_own.state_key(Device(ANN, "ANNDEVICE"), "12") == data["events"][0]["state_key"]
