"""Members' coming and going (Client-Server API, m.room.member). Pure."""

from bot import facts
from bot.dialects import fields
from bot.dialects.events import MembershipChanged, Reader
from bot.event_types import MEMBER
from bot.recording.model import Rejected
from storage.records import HeardEvent, UserId


def membership(heard: HeardEvent) -> MembershipChanged | Rejected | None:
    """Read a member event. None for a forgery: state out of an encrypted payload, or without a state key."""
    key = heard.event.get("state_key")
    if heard.encrypted or not isinstance(key, str):
        return None
    user = fields.user_id(key)
    if user is None:
        return Rejected("state_key")
    return MembershipChanged(user, joined=facts.membership(heard.event.get("content")) == facts.JOIN)


def change_of(heard: HeardEvent, user: UserId) -> MembershipChanged | None:
    """Return the change of this user's membership, if the event is one."""
    change = membership(heard) if fields.type_of(heard.event) == MEMBER else None
    return change if isinstance(change, MembershipChanged) and change.user == user else None


READERS: dict[str, Reader] = {MEMBER: membership}
