"""The one check: who may see what. Every request asks here and nowhere else.

`decide` and `may_hear_it` are pure functions of records. Nothing is remembered of an answer: leaving, a kick, a
ban or `publish private` close an address with the next request, rejoining opens it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bot.recording.ledger import fingerprint, lay_out
from bot.rules import may_hear, membership
from storage.records import (
    Chunk,
    ChunkState,
    Episode,
    HistoryVisibility,
    Listener,
    Position,
    Recording,
    Room,
    RoomId,
    StateEvent,
    Visibility,
)


class Family(StrEnum):
    PUBLIC = "public"  # /r/<room key>/
    PERSONAL = "personal"  # /p/<token>/


class Verdict(StrEnum):
    OPEN = "open"
    CLOSED = "closed"  # 404: the same answer for what never was, what ended and what one may not have
    LATER = "later"  # 503: nobody can say yet


@dataclass(frozen=True, slots=True)
class Claim:
    """What an address turned out to name, as the archive has it: a room, which may be the heir of others that were
    upgraded. It gives the rights, but for their recordings; the address may be one of theirs."""

    family: Family
    room: Room | None  # as `storage.heirs.podcast` gives it
    listener: Listener | None = None  # of a personal address
    member: StateEvent | None = None  # the listener's m.room.member in that room
    before: Mapping[RoomId, StateEvent | None] = field(default_factory=dict)  # and in those that it continues

    @property
    def came(self) -> tuple[Position | None, ...]:
        """When the listener came into each of the rooms; None: they are not in. Two with the same hear the same."""
        members = (self.member, *self.before.values())
        return tuple(member.position if member and _joined(member) else None for member in members)


@dataclass(frozen=True, slots=True)
class Access:
    verdict: Verdict
    claim: Claim

    @property
    def room(self) -> Room:
        """Of an open access."""
        assert self.claim.room is not None
        return self.claim.room


def decide(claim: Claim, *, fresh: bool) -> Access:
    """Whether the address is open. `fresh`: the rooms' state was read since this process began."""
    return Access(_public(claim) if claim.family is Family.PUBLIC else _personal(claim, fresh=fresh), claim)


def _public(claim: Claim) -> Verdict:
    return Verdict.OPEN if claim.room and claim.room.visibility is Visibility.PUBLIC else Verdict.CLOSED


def _personal(claim: Claim, *, fresh: bool) -> Verdict:
    if claim.listener is None or claim.room is None:
        return Verdict.CLOSED
    if not fresh:
        # The member may have been banned while we were away: what we knew then opens nothing.
        return Verdict.LATER
    return Verdict.OPEN if _joined(claim.member) and claim.room.joined else Verdict.CLOSED


def _joined(member: StateEvent | None) -> bool:
    return member is not None and membership(member.content) == "join"


def may_hear_it(access: Access, recording: Recording) -> bool:
    """Whether this recording is within what an open access reaches."""
    claim, where = access.claim, recording.room_id
    if access.verdict is not Verdict.OPEN or not (where == access.room.room_id or where in claim.before):
        return False
    if not recording.state.may_have_audio:
        return False
    if claim.family is Family.PUBLIC:
        return recording.public
    # Of an earlier room one hears what one can read there; what the whole world reads needs no membership there.
    open_to_all = recording.history_visibility is HistoryVisibility.WORLD_READABLE
    member = claim.member if where == access.room.room_id or open_to_all else claim.before[where]
    return may_hear(recording.history_visibility, recording.position, member)


def audio_holds(recording: Recording, episode: Episode, chunks: Sequence[Chunk]) -> bool:
    """Whether the audio that was made may still be heard.

    While a late chunk is joined in, the audio so far goes on being served: an enclosure that is gone for a minute
    is an error page kept for ever by some apps. With a redacted chunk it is served only if it was made without it.
    """
    if not any(chunk.state is ChunkState.REDACTED for chunk in chunks):
        return True
    return episode.fingerprint == fingerprint(lay_out(recording, chunks))
