"""Media of the homeserver, and the containers of sound. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from storage.records.ids import MxcUri


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


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The address of a chunk's media; `file` is None in rooms without encryption."""

    mxc: MxcUri
    file: EncryptedFile | None = None
