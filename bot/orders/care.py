"""Orders about files that are to go, or that are lost. Pure."""

import hashlib
from dataclasses import dataclass

from bot.orders.order import OfRecording, OfRoom, Order
from storage.records import BlobKey, JobKind, RecordingId


@dataclass(frozen=True, slots=True)
class Forget(Order):
    """Remove blobs that nothing refers to any more. Another set of blobs is another job. `recording`: the one whose
    sound they hold, where they stay for a while."""

    kind = JobKind("forget")
    lasting = True
    blobs: tuple[BlobKey, ...]
    recording: RecordingId | None = None

    @property
    def subject(self) -> str:
        return hashlib.sha256("".join(self.blobs).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CheckEpisode(OfRecording):
    """Compare the file of an episode with its row: where it is gone or cut, list it nowhere until it is made again, and
    tell its room. The web orders it when it meets such a file."""

    kind = JobKind("check_episode")
    anywhere = True
    lasting = True


@dataclass(frozen=True, slots=True)
class Mend(OfRecording):
    """Bring back the files of a recording that are lost or damaged: fetch its chunks, make everything else again.
    `track`: rows of its track can't be read, so the track is made again too."""

    kind = JobKind("mend")
    track: bool = False


@dataclass(frozen=True, slots=True)
class MendRoom(OfRoom):
    """Make the pictures of a room again that are lost or damaged."""

    kind = JobKind("mend_room")


@dataclass(frozen=True, slots=True)
class ForgetStems(OfRecording):
    """Remove the files into which the stems of a deleted call were written."""

    kind = JobKind("forget_stems")
    lasting = True
