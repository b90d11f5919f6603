"""The keys of MatrixRTC calls that devices send each other: read and written. Pure.

Read and written as matrix-js-sdk does at 8fec0cb6 (43.0, `src/matrixrtc/ToDeviceKeyTransport.ts`), but for one thing:
js-sdk believes the device that a message claims. Here it counts only if that device's own Olm keys sealed it.

Keys of the same index are not ordered by `sent_ts`, a clock that can be set back: the media try the last two of each.
"""

import base64
import binascii
from datetime import datetime

from bot.calls.model import Device, KeyTold
from bot.dialects import fields
from bot.event_types import RTC_KEYS
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import Json, RoomId

APPLICATION, SCOPE = "m.call", "m.room"
CALL_IDS = ("", "ROOM")
"""The ids that a room's call has, before and since slots."""
LAST_INDEX = 255
SHORTEST_KEY, LONGEST_KEY = 16, 64
"""Bytes. js-sdk makes keys of 16."""
_LONGEST_TEXT = 4 * ((LONGEST_KEY + 2) // 3)


def read(signal: Signal, room_id: RoomId) -> KeyTold | Rejected:
    """Read a key of a device's sound in the call of this room, or tell by a short name why it is none. Whether the call
    lists the device is for the receiver to check."""
    if signal.type != RTC_KEYS:
        return Rejected("type")
    if not signal.encrypted or signal.sealed_by is None or signal.room_id is not None:
        return Rejected("clear")
    content = fields.mapping(signal.content)
    if content.get("room_id") != room_id:
        return Rejected("other_room")
    if not _is_of_the_call(fields.mapping(content.get("session"))):
        return Rejected("other_call")
    claimed = fields.mapping(content.get("member")).get("claimed_device_id")
    if signal.device_id is None or claimed != signal.device_id:
        return Rejected("device")
    keys = fields.mapping(content.get("keys"))
    index, key = fields.whole(keys.get("index"), 0, LAST_INDEX), _decoded(keys.get("key"))
    if index is None or key is None:
        return Rejected("key")
    return KeyTold(Device(signal.sender, signal.device_id), index, key)


def _is_of_the_call(session: Json) -> bool:
    """Tell whether a session is the room's call. Fields that are left out contradict nothing."""
    return (
        session.get("application", APPLICATION) == APPLICATION
        and session.get("scope", SCOPE) == SCOPE
        and session.get("call_id", "") in CALL_IDS
    )


def _decoded(text: object) -> bytes | None:
    """Decode base64, padded or not."""
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        return None
    try:
        key = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if SHORTEST_KEY <= len(key) <= LONGEST_KEY else None


def write(index: int, key: bytes, us: Device, room_id: RoomId, now: datetime) -> tuple[str, Json]:
    """Return type and content of the message that gives a key of the bot's own sound to a device."""
    return RTC_KEYS, {
        "keys": {"index": index, "key": base64.b64encode(key).decode()},
        "member": {"claimed_device_id": us.device_id, "id": us.session_id},
        "room_id": room_id,
        "session": {"application": APPLICATION, "call_id": "", "scope": SCOPE},
        "sent_ts": int(now.timestamp() * 1000),
    }
