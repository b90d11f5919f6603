"""Events as a person's device reads them."""

from dataclasses import dataclass

from bot.event_types import MEMBER
from storage.records import Json


@dataclass(frozen=True, slots=True)
class Received:
    """An event of a room; `sealed`: the device had no key for it."""

    room_id: str
    event: Json
    sealed: bool = False

    @property
    def type(self) -> str:
        return str(self.event.get("type", ""))

    @property
    def sender(self) -> str:
        return str(self.event.get("sender", ""))

    @property
    def event_id(self) -> str:
        return str(self.event.get("event_id", ""))

    @property
    def content(self) -> Json:
        content: Json = self.event.get("content", {})
        return content

    @property
    def body(self) -> str:
        return str(self.content.get("body", ""))

    def is_membership(self, membership: str, user_id: str) -> bool:
        """Tell whether it is this user's member event with this membership."""
        member = self.type == MEMBER and self.event.get("state_key") == user_id
        return member and self.content.get("membership") == membership

    def is_notice_of(self, user_id: str) -> bool:
        """Tell whether it is an m.notice of this user."""
        return self.sender == user_id and self.content.get("msgtype") == "m.notice"
