"""Keys that devices send each other, as matrix-js-sdk does, hostile ones, and our own."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import Device, KeyTold
from bot.calls.session.own_keys import ShareKey, UseKey
from bot.calls.wire import matrixrtc_keys
from bot.event_types import RTC_KEYS
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import DeviceId, RoomId, UserId

CAPTURES = Path(__file__).parents[2] / "data" / "matrixrtc"
ROOM = RoomId("!room:hs")
ANN = UserId("@ann:hs")
KEY = bytes(range(16))
CONTENT: dict[str, Any] = {
    "keys": {"index": 3, "key": "AAECAwQFBgcICQoLDA0ODw=="},
    "member": {"claimed_device_id": "PHONE", "id": "@ann:hs:PHONE"},
    "room_id": "!room:hs",
    "session": {"application": "m.call", "call_id": "", "scope": "m.room"},
    "sent_ts": 1_790_000_000_000,
}


def signal(content: Any = CONTENT, **changes: Any) -> Signal:
    sealed = Signal(ANN, RTC_KEYS, content, True, DeviceId("PHONE"), ("curve", "ed"))
    return replace(sealed, **changes)


def test_a_key_is_read() -> None:
    """A key as js-sdk sends it is read, with the device that sealed it."""
    assert matrixrtc_keys.read(signal(), ROOM) == KeyTold(Device(ANN, "PHONE"), 3, KEY)


@pytest.mark.parametrize("mode", ["legacy", "compatibility", "matrix_2_0_encrypted"])
def test_keys_of_clients_are_read(mode: str) -> None:
    """The keys that js-sdk gave to a device in a call are read, in each mode of Element Call."""
    told = json.loads((CAPTURES / f"{mode}.json").read_text())["keys"]
    read = [
        matrixrtc_keys.read(signal(each, device_id=DeviceId("ANNDEVICE")), RoomId(each["room_id"])) for each in told
    ]
    expected = [bytes(range(16 * number, 16 * number + 16)) for number in range(3)]
    assert read == [KeyTold(Device(ANN, "ANNDEVICE"), index, key) for index, key in enumerate(expected)]


def test_a_key_is_not_shown() -> None:
    """Representations, which may come into a log, show no key: neither of a message nor of what it says."""
    assert repr(KEY) not in repr(matrixrtc_keys.read(signal(), ROOM))
    assert CONTENT["keys"]["key"] not in repr(signal())
    assert repr(KEY) not in repr((ShareKey(0, KEY), UseKey(0, KEY)))


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("type", {"type": "m.call.invite"}),
        ("clear", {"encrypted": False, "sealed_by": None, "device_id": None}),
        ("clear", {"sealed_by": None}),
        ("clear", {"room_id": ROOM}),
        ("device", {"device_id": DeviceId("OTHER")}),
        ("device", {"device_id": None}),
    ],
)
def test_only_the_device_itself_tells_its_key(rule: str, changes: dict[str, Any]) -> None:
    """A key counts only if Olm keys of the device that it names sealed it."""
    assert matrixrtc_keys.read(signal(**changes), ROOM) == Rejected(rule)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("other_room", {"room_id": "!other:hs"}),
        ("other_room", {"room_id": None}),
        ("other_call", {"session": {"application": "m.game", "call_id": "", "scope": "m.room"}}),
        ("other_call", {"session": {"application": "m.call", "call_id": "breakout", "scope": "m.room"}}),
        ("other_call", {"session": {"application": "m.call", "call_id": "", "scope": "m.user"}}),
        ("device", {"member": {"id": "@ann:hs:PHONE"}}),
        ("device", {"member": "PHONE"}),
        ("key", {"keys": [CONTENT["keys"]]}),
        ("key", {"keys": {"index": 256, "key": CONTENT["keys"]["key"]}}),
        ("key", {"keys": {"index": -1, "key": CONTENT["keys"]["key"]}}),
        ("key", {"keys": {"index": True, "key": CONTENT["keys"]["key"]}}),
        ("key", {"keys": {"index": 0, "key": "AAEC"}}),
        ("key", {"keys": {"index": 0, "key": "A" * 1000}}),
        ("key", {"keys": {"index": 0, "key": "not base64, but long enough"}}),
        ("key", {"keys": {"index": 0, "key": "\ud800" * 24}}),
        ("key", {"keys": {"index": 0}}),
    ],
)
def test_malformed_keys_are_refused(rule: str, changes: dict[str, Any]) -> None:
    """Keys of another room or call, and malformed ones, are refused by name."""
    assert matrixrtc_keys.read(signal({**CONTENT, **changes}), ROOM) == Rejected(rule)


@pytest.mark.parametrize(
    "changes",
    [
        {"session": {"application": "m.call", "call_id": "ROOM"}},
        {"session": None},
        {"keys": {"index": 3.0, "key": "AAECAwQFBgcICQoLDA0ODw"}},
        {"sent_ts": "yesterday"},
        {"member": {"claimed_device_id": "PHONE"}},
    ],
)
def test_other_ways_to_write_a_key_are_read(changes: dict[str, Any]) -> None:
    """Fields that say nothing new may be left out, and base64 may be without padding."""
    assert matrixrtc_keys.read(signal({**CONTENT, **changes}), ROOM) == KeyTold(Device(ANN, "PHONE"), 3, KEY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CONTENT, "key", "index"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(CONTENT)), JSON))
def test_any_content_is_survived(changes: dict[str, Any]) -> None:
    """Whatever a stranger sends is a key or has a name."""
    assert isinstance(matrixrtc_keys.read(signal({**CONTENT, **changes}), ROOM), KeyTold | Rejected)


def test_our_key_is_written_as_js_sdk_does() -> None:
    """The bot's own key has the fields of js-sdk, and is read by the same rules."""
    us, now = Device(ANN, "PHONE", "@ann:hs:PHONE"), datetime.fromtimestamp(1_790_000_000, UTC)
    assert matrixrtc_keys.write(3, KEY, us, ROOM, now) == (RTC_KEYS, CONTENT)
