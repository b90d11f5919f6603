"""The events of a walkie-talkie (MSC4002): requests for the floor, and permits. Pure.

Requests are sent in clear in encrypted rooms too: who lacks the power of a speaker can send nothing encrypted there.
A permit that makes no sense permits nothing: the one before it is no longer in the room either.
"""

from datetime import datetime, timedelta

from bot.dialects import fields
from bot.dialects.events import FloorRequested, PermitWritten, Reader
from bot.event_types import PERMIT, REQUEST
from bot.recording.model import Rejected
from storage.records import DeviceId, HeardEvent, UserId

MOST_DEVICES = 100
"""The most devices of a permit that are read."""
BY_BOT = "_"
"""The beginning of the state key of a permit that a bot wrote for a member; the user id follows."""


def request(heard: HeardEvent) -> FloorRequested | Rejected | None:
    """Read a request for the floor; None for state of this type, and for a request that was redacted."""
    if "state_key" in heard.event or "redacted_because" in fields.mapping(heard.event.get("unsigned")):
        return None
    sender = fields.sender_of(heard.event)
    if sender is None or heard.encrypted:
        return Rejected("sender" if sender is None else "encrypted_request")
    device = fields.device_id(fields.mapping(heard.event.get("content")).get("device_id"))
    return FloorRequested(sender, device, fields.sent_at(heard.event))


def permit(heard: HeardEvent) -> PermitWritten | Rejected | None:
    """Read a member's own permit. None for one that a bot wrote for a member, since the bot knows its own, and for a
    forgery: no state, or state out of an encrypted payload."""
    key = heard.event.get("state_key")
    if heard.encrypted or not isinstance(key, str) or key.startswith(BY_BOT):
        return None
    sender = fields.sender_of(heard.event)
    if sender is None or sender != key:
        return Rejected("state_key")
    content = fields.mapping(heard.event.get("content"))
    expires_ts = content.get("expires_ts")
    expires_ms = fields.whole(expires_ts, 0, fields.LAST_TIME_MS)
    is_clear = expires_ts is None or expires_ms is not None
    receive, send = (is_clear and content.get(name) is True for name in ("receive", "send"))
    return PermitWritten(sender, receive, send, _time(expires_ms), _devices(content.get("devices")))


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else fields.EPOCH + timedelta(milliseconds=ms)


def _devices(value: object) -> tuple[DeviceId, ...] | None:
    """Return the devices that a permit names; None: it is for all."""
    if value is None:
        return None
    listed = value[:MOST_DEVICES] if isinstance(value, list) else []
    return tuple(name for device in listed if (name := fields.device_id(device)) is not None)


def key_for(user_id: UserId) -> str:
    """Return the state key under which the bot writes a member's permit."""
    return f"{BY_BOT}{user_id}"


READERS: dict[str, Reader] = {REQUEST: request, PERMIT: permit}
