"""Chunks of recordings, and the facts read from their bytes. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.ids import BlobKey, ChunkId, DurationMs, EventId, Position, RecordingId, Samples, SessionId, UserId
from storage.records.media import Container, MediaSource

KEY_WITHHELD = "withheld:"
"""The beginning of a chunk's reason when its speaker's client does not share the key. The client's code is appended."""


OUT_OF_TURN = "out_of_turn"
"""A chunk's reason when its sender did not have the floor of the walkie-talkie."""


class ChunkState(StrEnum):
    STORED = "stored"
    WAITING_FOR_KEY = "waiting_for_key"
    WAITING_FOR_MEDIA = "waiting_for_media"  # being fetched, or not available so far
    DAMAGED = "damaged"  # no audio, or a hash that does not match
    MISSING = "missing"  # never seen; appears only in the ledger, never in a row
    DUPLICATE = "duplicate"  # another chunk with its number is in the audio; decided by the ledger
    REDACTED = "redacted"
    REFUSED = "refused"  # too large, too long, or not ours to keep
    AWAY = "away"  # the bot was not in the call; appears only in the ledger
    UNRECORDED = "unrecorded"  # the speaker's microphone gave no sound; appears only in the ledger
    CANDIDATE = "candidate"  # a voice message of the speaker that may be a lost chunk; not in the ledger


class Timing(StrEnum):
    EXACT = "exact"  # the length is known to the sample
    ESTIMATED = "estimated"  # the container does not state its padding


@dataclass(frozen=True, slots=True)
class OggFacts:
    """The proof in the pages of one Ogg Opus chunk. Granules are those of the whole run (RFC 7845)."""

    serial: int
    first_page: int  # number of the first audio page
    last_page: int
    start_granule: int  # granule before the first packet; a run begins at 0
    end_granule: int  # of the last page; below start + packets when the end is trimmed
    eos: bool
    pre_skip: Samples
    packet_samples: Samples  # sum of all packets' durations, and of the silence for lost packets between them
    contiguous: bool  # page numbers run on without a hole inside the chunk
    head_sha256: str  # of the OpusHead packet: another head, another run
    agrees: bool = True  # granules agree with the packets; else they prove nothing
    begins: bool | None = None  # the sound directly follows the headers; None: not known, in an old row
    last_samples: Samples | None = None  # packets of the last page with any; None: not known

    @property
    def begins_run(self) -> bool:
        """Whether this chunk holds the first sound of the stream. Headers of more than one page move the first page of
        sound, but not its granule."""
        if self.begins is not None:
            return self.begins
        return self.first_page <= 2 or self.start_granule == 0

    def end_trim(self, begins_at: int | None = None) -> Samples:
        """Return the samples that the granule of the last page cuts off the end of a stream (RFC 7845, section 4.4), at
        most the samples of that page. A last page that is alone in its chunk shows only its end: `begins_at` is the end
        granule of the chunk before it."""
        begin = self.start_granule if begins_at is None else max(begins_at, self.start_granule)
        surplus = begin + self.packet_samples - self.end_granule
        most = self.packet_samples if self.last_samples is None else self.last_samples
        return Samples(surplus if self.eos and self.agrees and 0 <= surplus <= most else 0)


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch inside a chunk whose sound is damaged or lost, or was never recorded. Silence stands for it."""

    at: Samples  # from the first sample of the chunk; Ogg Opus: of its packets, with the pre-skip
    samples: Samples


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """The facts read from a stored chunk's bytes; the sender's claims are not believed."""

    container: Container
    timing: Timing
    samples: Samples  # decoded alone, at 48 kHz (an Ogg Opus chunk: packets less pre-skip less end trim)
    sample_rate: int  # of the source
    channels: int
    ogg: OggFacts | None = None
    holes: tuple[Hole, ...] = ()  # in order, without overlap; their samples are counted above
    told: Samples | None = None  # the length that the file claims, if it differs from the counted one
    unrecorded: tuple[Hole, ...] = ()  # as `holes`: what a microphone did not give; nothing of the chunk is lost


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a recording's media, by one sender. Jobs and the ledger refer to its id, redactions to its event."""

    id: ChunkId
    recording_id: RecordingId
    event_id: EventId | None  # None: the chunk came in no event of its own
    sender: UserId
    position: Position
    state: ChunkState
    reason: str | None = None  # a short code: not_found, hash_mismatch, too_large, not_audio, …
    source: MediaSource | None = None  # None until decrypted, and once the media can't be fetched any more
    session_id: SessionId | None = None
    announced_ms: DurationMs | None = None
    announced_bytes: int | None = None
    sent_at: datetime | None = None  # origin_server_ts, the sender's word; in sessions clamped (`session.joining`)
    blob: BlobKey | None = None  # decrypted bytes; for a chunk that is not stored, the bytes that can't be used
    bytes: int | None = None
    facts: ChunkFacts | None = None
    answer: str | None = None  # names the last answer of the homeserver that could not be used
    # of sessions alone
    sender_name: str | None = None  # the sender's display name when they sent it
    transmission: EventId | None = None  # the start of the voice broadcast that it is a part of
    # of calls alone: a slice of a stem
    stem: int | None = None  # the stem's number
    at: Samples | None = None  # where its sound begins on the clock of the call
    # of a voice broadcast alone
    sequence: int | None = None  # None: not yet decrypted, or the client gave none
    attached: bool = False  # sent as a plain voice message; its sound proved that it is a chunk
