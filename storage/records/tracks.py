"""Tracks: the MP3 frames of recordings, and the pieces that they are made of. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from storage.records.ids import BlobKey, RecordingId, Samples
from storage.records.media import Container


@dataclass(frozen=True, slots=True)
class Track:
    """The MP3 frames of a recording, as far as they are made."""

    recording_id: RecordingId
    channels: int
    kbps: int  # of a channel
    target_lufs: float | None
    start_db: float | None  # the gain at its beginning; None: decided by its first piece
    generation: int  # rises when existing frames have changed
    live_from: datetime | None = None  # when its first segment was due; moved later whenever sound was late


class StemPart(NamedTuple):
    """The sound of one stem in a window of a call: a slice, and the end of the slice before it that reaches in. A
    tuple, since a call of six hours has 17,000 of them, which are compared and hashed again and again."""

    stem: int  # the stem's number
    blob: BlobKey | None  # the slice; None: only the slice before it reaches in
    at: Samples  # where the slice begins, from the start of the window on
    samples: Samples  # of the slice in this window
    before: BlobKey | None = None  # the slice that it continues: a decoder needs its last packets
    lead: Samples = Samples(0)  # samples of `before` that lie in this window, directly before `at`
    follows: int | None = None  # the stem that its user had before it: its level begins where that one's ended


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a track (a chunk, a gap, or a window of a call) and its level. `gains` is None until the level is
    decided."""

    ordinal: int
    key: str  # of its samples before the gain: the same key means the same samples
    samples: Samples
    blob: BlobKey | None  # None: silence, or a window of a call
    container: Container
    continues: bool
    gains: bytes | None = None  # int16, hundredths of a dB at the borders of 100 ms hops; a window's: `bot.audio.mix`
    level: str | None = None  # the level state that it hands to the next piece
    off_by: Samples = Samples(0)  # surplus of decoded samples over the ledger's, which was cut; negative: filled
    parts: tuple[StemPart, ...] = ()  # of a window of a call: the stems in it
    kept: bytes | None = None  # as `gains`: of the stems that were decided before the window changed


@dataclass(frozen=True, slots=True)
class Extent:
    """Some frames of a track and the blob that holds them."""

    first: int
    frames: int
    blob: BlobKey
    offset: int  # bytes
