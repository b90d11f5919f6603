"""The room of an SFU: who is in it, and which of their tracks is their microphone."""

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from livekit.protocol import models

from bot.calls.media.door import Refused

MOST_PARTICIPANTS = 1000
MOST_INFOS = 2 * MOST_PARTICIPANTS  # in one message
MOST_TRACKS = 16  # of one participant
MOST_CHARACTERS = 512  # of an identity or an id
_SOURCES = (models.TrackSource.MICROPHONE, models.TrackSource.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Microphone:
    """A track with what somebody says. `encrypted`: its frames are, as its sender says."""

    track: str
    muted: bool
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in the room. `sid`: the id of this stay; `version`: a number that rises with each change of it."""

    sid: str
    version: int
    microphone: Microphone | None


class Room:
    """The room, without the participant that we are."""

    def __init__(self, own: str) -> None:
        self._own = own
        self.participants: dict[str, Participant] = {}
        self._owners: dict[str, str] = {}  # by the track of their microphone

    def owner(self, track: str) -> str | None:
        """Return the participant whose microphone a track is."""
        return self._owners.get(track)

    def update(self, infos: Collection[models.ParticipantInfo]) -> set[str]:
        """Take what the SFU says of participants; return the identities of those who changed. Raises Refused."""
        if len(infos) > MOST_INFOS:  # known before they are made objects of
            raise Refused("too_many")
        return {info.identity for info in infos if self._take(info)}

    def _take(self, info: models.ParticipantInfo) -> bool:
        identity, before = info.identity, self.participants.get(info.identity)
        if not identity or identity == self._own or max(len(identity), len(info.sid)) > MOST_CHARACTERS:
            return False
        gone = info.state == models.ParticipantInfo.DISCONNECTED
        if before is None:
            if gone or len(self.participants) >= MOST_PARTICIPANTS:
                return False
        elif before.sid == info.sid:
            if info.version < before.version:
                return False
        elif gone:
            return False  # of a stay before this one
        if before is not None and before.microphone is not None:
            self._owners.pop(before.microphone.track, None)
        if gone:
            del self.participants[identity]
            return True
        track = before.microphone.track if before is not None and before.microphone is not None else ""
        after = self.participants[identity] = Participant(info.sid, info.version, _microphone(info.tracks, track))
        if after.microphone is not None:
            self._owners[after.microphone.track] = identity
        return after != before


def _microphone(tracks: Iterable[models.TrackInfo], before: str) -> Microphone | None:
    """Choose a microphone, or where there is none, sound of an unknown source: of several one that is not muted, and
    rather the track that it was `before`."""
    found = [
        track
        for track in itertools.islice(tracks, MOST_TRACKS)
        if track.type == models.TrackType.AUDIO and track.source in _SOURCES and 0 < len(track.sid) <= MOST_CHARACTERS
    ]
    if not found:
        return None
    best = min(found, key=lambda track: (_SOURCES.index(track.source), track.muted, track.sid != before))
    return Microphone(best.sid, best.muted, best.encryption != models.Encryption.NONE)
