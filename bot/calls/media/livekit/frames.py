"""Encrypted frames of sound, as LiveKit's clients make them (livekit-client, `src/e2ee/worker/FrameCryptor.ts`). Pure.

    clear byte (the TOC of Opus) | ciphertext | tag | initialization vector | length of the vector | index of the key

The clear byte is authenticated too. An SFU that puts silence of its own between the frames of others can't encrypt it:
it appends a trailer to it that the clients of its room know (`sif_trailer` of its JoinResponse).
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

IV_BYTES = 12
OVERHEAD = 16 + IV_BYTES + 2
"""Bytes by which a frame grows when it is encrypted."""
INJECTED = bytes((0xF8, 0xFF, 0xFE)) + bytes(77)
"""The silence that LiveKit's SFU puts into streams, where a microphone is muted (`OpusSilenceFrame`)."""
_CLEAR = 1  # bytes
_IV = struct.Struct("!III")  # SSRC, timestamp, a counter


def key_index(frame: bytes) -> int | None:
    """Return the index of the key of an encrypted frame; None for a frame that is not encrypted."""
    return frame[-1] if len(frame) >= _CLEAR + OVERHEAD and frame[-2] == IV_BYTES else None


def is_injected(frame: bytes, trailer: bytes) -> bool:
    """Tell whether a frame is silence of the SFU. `trailer`: of its room; empty: it has none."""
    return frame == INJECTED or (trailer != b"" and frame.endswith(trailer))


def open_frame(frame: bytes, cipher: AESGCM) -> bytes | None:
    """Decrypt a frame that has a `key_index`; None if this is not its key."""
    iv = frame[-2 - IV_BYTES : -2]
    try:
        return frame[:_CLEAR] + cipher.decrypt(iv, frame[_CLEAR : -2 - IV_BYTES], frame[:_CLEAR])
    except InvalidTag:
        return None


class Sealer:
    """The encryption of our own frames with one key. `count`: a random number, where the counter begins."""

    def __init__(self, index: int, cipher: AESGCM, count: int) -> None:
        self._index = index
        self._cipher = cipher
        self._count = count

    def seal(self, frame: bytes, ssrc: int, timestamp: int) -> bytes:
        """Encrypt the frame of an RTP packet with this SSRC and timestamp."""
        self._count += 1
        iv = _IV.pack(ssrc, timestamp, self._count & 0xFFFFFFFF)
        sealed = self._cipher.encrypt(iv, frame[_CLEAR:], frame[:_CLEAR])
        return frame[:_CLEAR] + sealed + iv + bytes((IV_BYTES, self._index))
