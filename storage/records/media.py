"""Media of the homeserver, and the containers of sound. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from storage.records.ids import BlobKey, MxcUri


class Container(StrEnum):
    OGG_OPUS = "ogg/opus"
    OGG_VORBIS = "ogg/vorbis"
    OGG_FLAC = "ogg/flac"
    MP4_AAC = "mp4/aac"
    ADTS_AAC = "adts/aac"
    MP3 = "mp3"
    WAV = "wav"
    CAF = "caf"
    WEBM = "webm"
    FLAC = "flac"
    AMR = "amr"
    AMR_WB = "amr-wb"
    MP4_AMR = "3gp/amr"
    MP4_AMR_WB = "3gp/amr-wb"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """An EncryptedFile v2 (Client-Server API, sending encrypted attachments); all base64 without padding."""

    key: str  # 256-bit AES key, URL-safe base64
    iv: str  # 128-bit counter block
    sha256: str  # of the encrypted bytes


OUR_BLOB = "aircheck:"
"""The beginning of the address of a chunk's media that were uploaded to us, and are a blob already."""


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The address of a chunk's media; `file` is None in rooms without encryption."""

    mxc: MxcUri  # or our own address of a blob
    file: EncryptedFile | None = None

    @classmethod
    def of_blob(cls, blob: BlobKey) -> "MediaSource":
        return cls(MxcUri(f"{OUR_BLOB}{blob}"))

    @property
    def blob(self) -> BlobKey | None:
        """The blob, where the media were uploaded to us; None for media of the homeserver."""
        return BlobKey(self.mxc.removeprefix(OUR_BLOB)) if self.mxc.startswith(OUR_BLOB) else None
