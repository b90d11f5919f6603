"""The one check: who may see what. Every request asks here and nowhere else. Pure.

No answer is remembered: leaving, a kick, a ban or `publish private` closes an address with the next request, rejoining
opens it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bot.facts import is_joined
from bot.recording.chunks import is_removed
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.rules import deciding_member, may_hear
from bot.studio import life
from storage.records import (
    Chunk,
    Episode,
    HistoryVisibility,
    Listener,
    Position,
    Reach,
    Recording,
    RecordingId,
    Room,
    RoomId,
    StateEvent,
    Studio,
    StudioSource,
    Visibility,
)


class Family(StrEnum):
    """The two families of addresses that stand side by side."""

    PUBLIC = "public"  # /r/<room key>/
    PERSONAL = "personal"  # /p/<token>/


class Verdict(StrEnum):
    """The access to an address."""

    OPEN = "open"
    CLOSED = "closed"  # 404: it never was, or is not public
    ENDED = "ended"  # 410: an address of one member that was good once
    LATER = "later"  # 503: the rooms' state, or what happened since a backup, was not read yet


class Ending(StrEnum):
    """The reason for which a personal address is good no more."""

    REPLACED = "replaced"  # for good: the listener has a new one, or gets one when they ask
    BOT_LEFT = "bot_left"  # until it is back in the room
    LISTENER_LEFT = "listener_left"  # or was removed; until they join again


@dataclass(frozen=True, slots=True)
class Claim:
    """The room, listener and memberships that the archive has for an address.

    The address may be that of a room that was upgraded since. `room` is then its present heir, which alone decides who
    has access; `before` are the earlier rooms, whose history visibility still holds for their recordings.
    """

    family: Family
    room: Room | None  # as `storage.heirs.podcast` gives it
    listener: Listener | None = None  # of a personal address
    member: StateEvent | None = None  # the listener's m.room.member in that room
    replaced: bool = False  # a personal address without a listener that was good once
    before: Mapping[RoomId, StateEvent | None] = field(default_factory=dict)  # and in the earlier rooms
    named: RoomId | None = None  # the room that the address was made for; None: the first of the line
    reviews: frozenset[RecordingId] = frozenset()
    """Recordings that wait for approval and are within the listener's reach before it: for a moderator all, for others
    those in which they spoke."""

    @property
    def joined_at(self) -> tuple[Position | None, ...]:
        """Positions of the listener's joins, one for each room; None where they are not in. Listeners with the same
        positions hear the same."""
        members = (self.member, *self.before.values())
        return tuple(member.position if member and is_joined(member) else None for member in members)


@dataclass(frozen=True, slots=True)
class Access:
    """A claim with its verdict, as `decide` gives it."""

    verdict: Verdict
    claim: Claim

    @property
    def room(self) -> Room:
        """The room of an open access."""
        assert self.claim.room is not None
        return self.claim.room

    @property
    def ending(self) -> Ending:
        """The reason for which an ended access is closed."""
        if self.claim.listener is None:
            return Ending.REPLACED
        gone = self.claim.room is None or not self.claim.room.joined
        return Ending.BOT_LEFT if gone else Ending.LISTENER_LEFT


def decide(claim: Claim, *, fresh: bool) -> Access:
    """Decide whether the address is open. `fresh`: the rooms' state was read since this process began."""
    if claim.room is not None and claim.room.behind is not None:
        # Restored from a backup: redactions and departures since then are not known yet.
        return Access(Verdict.LATER, claim)
    return Access(_public(claim) if claim.family is Family.PUBLIC else _personal(claim, fresh=fresh), claim)


def _public(claim: Claim) -> Verdict:
    return Verdict.OPEN if claim.room and claim.room.visibility is Visibility.PUBLIC else Verdict.CLOSED


def _personal(claim: Claim, *, fresh: bool) -> Verdict:
    if claim.listener is None:
        return Verdict.ENDED if claim.replaced else Verdict.CLOSED
    if claim.room is None:
        return Verdict.ENDED
    if not fresh:
        # The member may have been banned while the bot was away: old state opens nothing.
        return Verdict.LATER
    return Verdict.OPEN if is_joined(claim.member) and claim.room.joined else Verdict.ENDED


@dataclass(frozen=True, slots=True)
class StudioClaim:
    """The studio that the archive has for an address below `/studio/`, and the right to it."""

    studio: Studio | None
    room: Room | None = None  # the studio's
    allowed: bool = False  # its member may broadcast into the room now (`bot.studio.rights`)


@dataclass(frozen=True, slots=True)
class StudioAccess:
    """A claim with its verdict, as `decide_studio` gives it."""

    verdict: Verdict
    claim: StudioClaim

    @property
    def studio(self) -> Studio:
        """The studio of an open access."""
        assert self.claim.studio is not None
        return self.claim.studio

    @property
    def room(self) -> Room:
        """The room of an open access."""
        assert self.claim.room is not None
        return self.claim.room


def decide_studio(
    claim: StudioClaim, now: datetime, *, fresh: bool, source: StudioSource = StudioSource.PAGE
) -> StudioAccess:
    """Decide whether the address of a studio is open: for as long as something is taken by it. `fresh`: as `decide`."""
    return StudioAccess(_studio(claim, now, source, fresh=fresh), claim)


def _studio(claim: StudioClaim, now: datetime, source: StudioSource, *, fresh: bool) -> Verdict:
    if claim.studio is None or claim.studio.source is not source:
        return Verdict.CLOSED  # the password of a source client is no address, and the other way round
    if life.is_closed(claim.studio, now):
        return Verdict.ENDED
    if not fresh or (claim.room is not None and claim.room.behind is not None):
        # The member may have been banned, or have lost their power, while the bot was away.
        return Verdict.LATER
    return Verdict.OPEN if claim.allowed and claim.room is not None else Verdict.ENDED


def may_hear_recording(access: Access, recording: Recording) -> bool:
    """Return whether an open access reaches this recording."""
    claim, room_id = access.claim, recording.room_id
    if access.verdict is not Verdict.OPEN or not (room_id == access.room.room_id or room_id in claim.before):
        return False
    if not recording.state.may_have_audio or (recording.unreviewed and recording.id not in claim.reviews):
        return False
    if claim.family is Family.PUBLIC:
        return recording.public
    return may_hear_since(access, room_id, recording.history_visibility, recording.position)


def may_hear_since(access: Access, room_id: RoomId, visibility: HistoryVisibility, position: Position) -> bool:
    """Return whether an open access by a personal address reaches what began at a position in one of its rooms, under a
    history visibility, and so all that began later under the same."""
    return may_hear(visibility, position, _member(access.claim, room_id, visibility))


def reaches(access: Access) -> tuple[Reach, ...]:
    """Return what an open access reaches in each of its rooms, the newest room first, as the database is asked for it.
    Rooms of which it reaches nothing are left out; `may_hear_recording` has the last word on each recording."""
    claim = access.claim
    before_all = Position(-(2**62))
    found = []
    for room_id in (access.room.room_id, *reversed(tuple(claim.before))):
        if claim.family is Family.PUBLIC:
            found.append(Reach(room_id, tuple(HistoryVisibility), only_public=True))
            continue
        members = {each: _member(claim, room_id, each) for each in HistoryVisibility}
        always = tuple(each for each, member in members.items() if may_hear(each, before_all, member))
        member = members[HistoryVisibility.JOINED]
        since = member.position if member is not None and is_joined(member) else None
        if always or since is not None:
            found.append(Reach(room_id, always, since))
    return tuple(found)


def _member(claim: Claim, room_id: RoomId, visibility: HistoryVisibility) -> StateEvent | None:
    """Return the membership that decides on recordings of a room."""
    return deciding_member(visibility, claim.before.get(room_id, claim.member), claim.member)


def may_list_recording(access: Access, recording: Recording) -> bool:
    """Return whether a feed may list this recording: none lists what waits for approval, also not its speaker's."""
    return not recording.unreviewed and may_hear_recording(access, recording)


def may_serve_audio(recording: Recording, episode: Episode, chunks: Sequence[Chunk]) -> bool:
    """Return whether the audio of an episode may still be served.

    While a late chunk is joined in, the old audio goes on being served: some apps keep the error page of an enclosure
    that is gone for a minute. If a chunk's sound was removed, audio is served only if it was made without that chunk.
    """
    if not any(map(is_removed, chunks)):
        return True
    return episode.fingerprint == fingerprint(lay_out(recording, chunks))
