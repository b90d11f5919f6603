"""The homeserver between the speakers and the bot: a timeline, room keys and media, and what goes wrong with them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bot.errors import GiveUp, TryLater
from bot.matrix.batch import LimitedTimeline, RoomBatch, SyncBatch
from storage.records import EventId, HeardEvent, MediaSource, SessionId, UserId
from tests.interleaving.speaker import Broadcast, Piece
from tests.world import ROOM


class Fate(StrEnum):
    """Fates of a chunk's media."""

    HERE = "here"
    AWAY = "away"  # 404 now, there in the end
    BUSY = "busy"  # the server answers 429 and 5xx for a while
    GONE = "gone"  # 404 for ever
    DAMAGED = "damaged"  # no sound in it, and as long as it should be


@dataclass
class Media:
    data: bytes
    fate: Fate
    busy: int = 2  # answers

    def answer(self) -> bytes:
        """Give the media, or raise what the bot's client raises."""
        if self.fate in (Fate.AWAY, Fate.GONE):
            raise GiveUp("there is no such media", reason="not_found")
        if self.fate is Fate.BUSY and self.busy:
            self.busy -= 1
            raise TryLater("too many requests", after_s=5)
        return bytes(len(self.data)) if self.fate is Fate.DAMAGED else self.data

    def comes(self) -> None:
        """Make available everything that will ever come."""
        self.busy = 0
        if self.fate is Fate.AWAY:
            self.fate = Fate.HERE


@dataclass(eq=False)
class Told:
    """An event of the timeline. `whole`: as the bot wrote it down, whole or redacted already; None: not so far."""

    event_id: EventId
    event: dict[str, Any]  # in clear
    broadcast: Broadcast | None = None
    piece: Piece | None = None
    session: SessionId | None = None  # under whose key it is sealed
    redacts: "Told | None" = None
    redacted: bool = False
    early: bool = False  # it was redacted before it came: the homeserver gives it whole
    whole: bool | None = None

    @property
    def kind(self) -> str:
        return str(self.event["type"])

    def heard(self, *, readable: bool, history: bool) -> HeardEvent:
        """Return the event as the homeserver gives it now, decrypted if the bot has its key."""
        plain = HeardEvent(ROOM, self.event_id, self.event, history=history)
        if self.session is None:
            return replace(plain, event=self._with({})) if self.redacted else plain
        if self.redacted:
            return replace(plain, event=self._with({}) | {"type": "m.room.encrypted"})
        relation = self.event["content"].get("m.relates_to")
        sealed = replace(plain, encrypted=True, clear_relation=relation)
        if readable:
            return sealed
        content = {"ciphertext": "…", "session_id": self.session, "m.relates_to": relation}
        return replace(sealed, event=self._with(content) | {"type": "m.room.encrypted"}, session_id=self.session)

    def _with(self, content: dict[str, Any]) -> dict[str, Any]:
        return self.event | {"content": content}


@dataclass
class Homeserver:
    now: datetime
    timeline: list[Told] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)
    promised: set[SessionId] = field(default_factory=set)  # keys that will come
    given: set[SessionId] = field(default_factory=set)  # keys that the bot's device has

    # ---- what people do

    def tell(self, sender: UserId, kind: str, content: dict[str, Any], **more: Any) -> Told:
        event_id = EventId(f"${len(self.timeline)}")
        event: dict[str, Any] = {"type": kind, "sender": sender, "event_id": event_id, "content": content}
        event |= {"origin_server_ts": round(self.now.timestamp() * 1000)}
        event |= {name: more.pop(name) for name in ("state_key", "redacts") if name in more}
        self.timeline.append(Told(event_id, event, **more))
        return self.timeline[-1]

    def upload(self, data: bytes, fate: Fate) -> str:
        mxc = f"mxc://hs/media{len(self.media)}"
        self.media[mxc] = Media(data, fate)
        return mxc

    def redact(self, target: Told, sender: UserId) -> Told:
        target.redacted = True
        return self.tell(sender, "m.room.redaction", {}, redacts=target.event_id)

    # ---- what the bot asks

    def answer(
        self, since: int, upto: int, *, gap: int, keys: frozenset[SessionId]
    ) -> tuple[SyncBatch, Sequence[Told]]:
        """Return a sync of the events from `since` to `upto`, the first `gap` of them left out, with new keys."""
        self.given |= keys
        begin = min(since + gap, upto)
        told = self.timeline[begin:upto]
        heard = tuple(one.heard(readable=one.session in self.given, history=False) for one in told)
        left_out = LimitedTimeline(f"{since}-{begin}", str(since)) if begin > since else None
        return SyncBatch(str(upto), (RoomBatch(ROOM, True, (), heard, left_out),), new_keys=keys), told

    def page(self, cursor: str) -> tuple[Sequence[Told], tuple[HeardEvent, ...], str | None]:
        """Return the newest event that a sync left out, and the token of the next page."""
        since, begin = map(int, cursor.split("-"))
        told = self.timeline[begin - 1 : begin]
        heard = tuple(one.heard(readable=one.session in self.given, history=True) for one in told)
        return told, heard, f"{since}-{begin - 1}" if begin - 1 > since else None

    def opens(self, wrapper: HeardEvent) -> HeardEvent | None:
        """Decrypt a wrapper that the bot kept, if its device has the key."""
        if wrapper.session_id not in self.given:
            return None
        told = next(one for one in self.timeline if one.event_id == wrapper.event_id)
        return replace(wrapper, event=told.event, session_id=None)

    def download(self, source: MediaSource) -> bytes:
        return self.media[source.mxc].answer()

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
