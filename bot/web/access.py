"""The one check: who may see what. Every request asks here and nowhere else. Pure.

No answer is remembered: leaving, a kick, a ban or `publish private` closes an address with the next request, rejoining
opens it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bot.facts import is_joined
from bot.recording.chunks import is_removed
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.rules import may_hear
from storage.records import (
    Chunk,
    Episode,
    HistoryVisibility,
    Listener,
    Position,
    Recording,
    RecordingId,
    Room,
    RoomId,
    StateEvent,
    Visibility,
)


class Family(StrEnum):
    """The two families of addresses that stand side by side."""

    PUBLIC = "public"  # /r/<room key>/
    PERSONAL = "personal"  # /p/<token>/


class Verdict(StrEnum):
    """The access to an address."""

    OPEN = "open"
    CLOSED = "closed"  # 404: the same answer whether it never was, has ended or is not allowed
    LATER = "later"  # 503: the rooms' state was not read yet


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
    before: Mapping[RoomId, StateEvent | None] = field(default_factory=dict)  # and in the earlier rooms
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


def decide(claim: Claim, *, fresh: bool) -> Access:
    """Decide whether the address is open. `fresh`: the rooms' state was read since this process began."""
    return Access(_public(claim) if claim.family is Family.PUBLIC else _personal(claim, fresh=fresh), claim)


def _public(claim: Claim) -> Verdict:
    return Verdict.OPEN if claim.room and claim.room.visibility is Visibility.PUBLIC else Verdict.CLOSED


def _personal(claim: Claim, *, fresh: bool) -> Verdict:
    if claim.listener is None or claim.room is None:
        return Verdict.CLOSED
    if not fresh:
        # The member may have been banned while the bot was away: old state opens nothing.
        return Verdict.LATER
    return Verdict.OPEN if is_joined(claim.member) and claim.room.joined else Verdict.CLOSED


def may_hear_recording(access: Access, recording: Recording) -> bool:
    """Return whether an open access reaches this recording."""
    claim, room_id = access.claim, recording.room_id
    if access.verdict is not Verdict.OPEN or not (room_id == access.room.room_id or room_id in claim.before):
        return False
    if not recording.state.may_have_audio or (recording.unreviewed and recording.id not in claim.reviews):
        return False
    if claim.family is Family.PUBLIC:
        return recording.public
    # An earlier room's recordings follow the membership there, unless the whole world may read them.
    open_to_all = recording.history_visibility is HistoryVisibility.WORLD_READABLE
    member = claim.member if room_id == access.room.room_id or open_to_all else claim.before[room_id]
    return may_hear(recording.history_visibility, recording.position, member)


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
