"""Members' coming and going (Client-Server API, m.room.member). Pure."""

from bot import rules
from bot.dialects import fields
from bot.dialects.events import MembershipChanged, Reader
from bot.recording.model import Rejected
from storage.records import HeardEvent

MEMBER = "m.room.member"


def membership(heard: HeardEvent) -> MembershipChanged | Rejected | None:
    """Read a member event. None for a forgery: state out of an encrypted payload, or without a state key."""
    key = heard.event.get("state_key")
    if heard.encrypted or not isinstance(key, str):
        return None
    user = fields.user_id(key)
    if user is None:
        return Rejected("state_key")
    return MembershipChanged(user, joined=rules.membership(heard.event.get("content")) == "join")


READERS: dict[str, Reader] = {MEMBER: membership}
