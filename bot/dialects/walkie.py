"""Requests for the floor of a walkie-talkie (MSC4002). Pure.

They are sent in clear in encrypted rooms too: who lacks the power of a speaker can send nothing encrypted there.
"""

from bot.dialects import fields
from bot.dialects.events import FloorRequested, Reader
from bot.event_types import REQUEST
from bot.recording.model import Rejected
from storage.records import HeardEvent


def request(heard: HeardEvent) -> FloorRequested | Rejected | None:
    """Read a request for the floor; None for state of this type, and for a request that was redacted."""
    if "state_key" in heard.event or "redacted_because" in fields.mapping(heard.event.get("unsigned")):
        return None
    sender = fields.sender_of(heard.event)
    if sender is None or heard.encrypted:
        return Rejected("sender" if sender is None else "encrypted_request")
    device = fields.device_id(fields.mapping(heard.event.get("content")).get("device_id"))
    return FloorRequested(sender, device, fields.sent_at(heard.event))


READERS: dict[str, Reader] = {REQUEST: request}
