"""Events as people hear them."""

from dataclasses import dataclass

from storage.records import Json


@dataclass(frozen=True, slots=True)
class Received:
    """An event of a room as this person's device read it; `sealed`: it had no key for it."""

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
        """It is this user's, and says this."""
        member = self.type == "m.room.member" and self.event.get("state_key") == user_id
        return member and self.content.get("membership") == membership

    def is_notice_of(self, user_id: str) -> bool:
        """A bot's message (m.notice) of this user."""
        return self.sender == user_id and self.content.get("msgtype") == "m.notice"
