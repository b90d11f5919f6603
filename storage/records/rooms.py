"""Rooms: what is recorded and published of each, and for how long it is kept. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from storage.records.ids import BlobKey, EventId, Position, RoomId, UserId


class Visibility(StrEnum):
    PRIVATE = "private"
    PUBLIC = "public"


class Announce(StrEnum):
    """The way in which a room is told of its recordings: the command `announce`."""

    ON = "on"  # a notice when one begins, and one when it is published
    QUIET = "quiet"  # a reaction when one begins, a notice when it is published
    OFF = "off"  # only the state event `org.aircheck.room`


class Recorded(StrEnum):
    """Kinds of what a room records, each switched on by itself, as the state event `org.aircheck.room` names them."""

    BROADCASTS = "broadcasts"
    MESSAGES = "messages"
    CALLS = "calls"


class HistoryVisibility(StrEnum):
    """m.room.history_visibility (Client-Server API, room history visibility)."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class PodcastTexts:
    """A room's own description of its podcast; None: the default, from the room or the settings."""

    title: str | None = None
    description: str | None = None
    author: str | None = None
    language: str | None = None
    category: str | None = None
    explicit: bool | None = None
    stems: bool | None = None  # the feed offers the sound of each speaker of a call; None: it does not


@dataclass(frozen=True, slots=True)
class Retention:
    """The time that a room's recordings stay: so many days, or so many episodes; forever when both are None."""

    days: int | None = None
    episodes: int | None = None

    def within(self, max_days: int | None) -> "Retention":
        """Return the shorter of this rule and so many days. Days and episodes can't be compared: episodes stay."""
        if max_days is None or self.episodes is not None:
            return self
        return Retention(days=max_days if self.days is None else min(self.days, max_days))

    def or_longer(self, other: "Retention") -> "Retention":
        """Return a rule that ends nothing that either rule keeps. As days and episodes can't be compared, that is none
        of the two."""
        if self.days is not None and other.days is not None:
            return Retention(days=max(self.days, other.days))
        if self.episodes is not None and other.episodes is not None:
            return Retention(episodes=max(self.episodes, other.episodes))
        return Retention()

    def __str__(self) -> str:
        """Return it as commands and the state event `org.aircheck.room` say it."""
        if self.days is not None:
            return f"{self.days} days"
        return "forever" if self.episodes is None else f"{self.episodes} episodes"


class RuleKind(StrEnum):
    DAYS = "days"  # of the room
    EPISODES = "episodes"  # of the room
    MAX_DAYS = "max_days"  # of the administrator: retention.max_days


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """The rule by which a recording goes: older than `most` days, or beyond the newest `most` episodes."""

    kind: RuleKind
    most: int


class Behind(StrEnum):
    """The state of a room that was restored from a backup."""

    WALKED = "walked"  # what happened since the backup is being read
    UNWALKED = "unwalked"  # the room's history could not be read as far back as the backup
    ASKED = "asked"  # so each recording is compared with the homeserver
    OUT = "out"  # the bot was not in the room when the backup was made; whether it is now is not known


@dataclass(frozen=True, slots=True)
class Room:
    room_id: RoomId
    key: str  # random; names the room in public addresses
    podcast_guid: str  # podcast:guid, for ever; empty until the room is public for the first time
    joined: bool  # the bot is in the room
    recording_on: bool  # voice broadcasts
    visibility: Visibility
    public_since: Position | None
    encrypted: bool
    direct: bool  # is_direct on the invite
    inviter: UserId | None
    revision: int  # rises with each change that a feed or page shows
    changed_at: datetime
    cover: BlobKey | None = None  # the picture, a square JPEG; None until it is made
    cover_of: str | None = None  # the source of the picture: an mxc address, or the name that was drawn
    told_at: Position | None = Position(
        0
    )  # position of the notice or command that began recording; None: still awaited
    told_by: EventId | None = None  # that notice
    messages_since: Position | None = None  # voice messages behind this position are recorded; None: none are
    messages_wait: bool = False  # they will be, once the notice is in the room
    calls_on: bool = False  # the bot joins the room's calls and records them
    call_wanted: bool = False  # `record call`: the call that runs now is recorded, and no other
    # policies: who set each, and when, is in the log of changes (`storage.changes`)
    announce: Announce = Announce.QUIET
    language: str | None = None  # in which the bot speaks here; None: `feeds.language`
    retention: Retention = Retention()
    review: bool = False  # new episodes wait for approval
    replay: bool = False  # finished recordings are handed back as voice messages
    speakers: tuple[UserId, ...] | None = None  # only they are recorded; None: everybody
    podcast: PodcastTexts = PodcastTexts()
    own_cover: BlobKey | None = None  # the podcast's picture that a moderator chose
    own_cover_event: EventId | None = None  # the message that it was posted in; its redaction ends the cover
    own_cover_room: RoomId | None = None  # the room of that message, which may be an earlier one of the podcast's
    own_cover_sender: UserId | None = None
    closed_since: Position | None = None  # the room closed itself to strangers: what begins after is not public
    studio: bool = True  # whoever may broadcast here can have a studio
    studio_events: bool = False  # what is made in a studio is sent into the room as the events of MSC3888, too
    behind: Behind | None = None  # restored from a backup, and what happened since then is not known yet

    def without_own_cover(self) -> "Room":
        return replace(self, own_cover=None, own_cover_event=None, own_cover_room=None, own_cover_sender=None)

    @property
    def records(self) -> bool:
        """Whether broadcasts that begin now are recorded: recording is on, and the room was told."""
        return self.recording_on and self.told_at is not None

    def records_transmission(self, position: Position) -> bool:
        """Return whether a transmission of a walkie-talkie at this position is recorded."""
        told = self.told_at is not None and position > self.told_at
        return (self.recording_on and told) or self.records_message(position)

    def records_message(self, position: Position) -> bool:
        """Return whether a voice message at this position is recorded."""
        return self.messages_since is not None and position > self.messages_since

    @property
    def switched_on(self) -> frozenset[Recorded]:
        """The kinds that are switched on, whether the room was told or not."""
        broadcasts = {Recorded.BROADCASTS} if self.recording_on else set()
        messages = {Recorded.MESSAGES} if self.messages_on else set()
        return frozenset(broadcasts | messages | ({Recorded.CALLS} if self.calls_on else set()))

    @property
    def messages_on(self) -> bool:
        """Whether the recording of voice messages is switched on, whether the room was told or not."""
        return self.messages_wait or self.messages_since is not None

    @property
    def recorded(self) -> frozenset[Recorded]:
        """The kinds that are recorded now."""
        return self.switched_on - self.awaits_notice

    @property
    def awaits_notice(self) -> frozenset[Recorded]:
        """The kinds that are switched on, and not recorded only because the room was not told yet."""
        untold = {Recorded.BROADCASTS: self.told_at is None, Recorded.MESSAGES: self.messages_since is None}
        return frozenset(kind for kind in self.switched_on if untold.get(kind))  # each call has a notice of its own

    @property
    def publishes(self) -> bool:
        """Whether broadcasts that begin now are public."""
        return self.visibility is Visibility.PUBLIC and self.closed_since is None

    def opens(self, position: Position) -> bool:
        """Return whether what begins at this position is public."""
        return (
            self.visibility is Visibility.PUBLIC
            and position > (self.public_since or 0)
            and (self.closed_since is None or position < self.closed_since)
        )

    @property
    def waits(self) -> bool:
        """Whether something is not recorded only because the room was not told yet."""
        return self.joined and bool(self.awaits_notice)
