"""The keys of one participant's sound (livekit-client, `src/e2ee/worker/ParticipantKeyHandler.ts`). Pure.

Element Call sets a ring of 256 keys, a ratchet window of 10, and HKDF. What differs from livekit-client:

- An index holds two keys. A device that leaves and comes back begins with index 0 again, and its messages may change
  places on the way; so an older key that comes late makes nothing unreadable.
- The ratchet goes on step by step through its window, as in LiveKit's native clients. (livekit-client tries the first
  step ten times.)
- An index whose keys failed more often in a row than tolerated is not given up, but its keys are ratcheted no more
  until one fits again: a frame that no key fits costs no more than any other, then.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.calls.media.livekit.frames import key_index, open_frame

RING = 256
RATCHET_WINDOW = 10
FAILURE_TOLERANCE = 10
SHORTEST_KEY, LONGEST_KEY = 16, 64
"""Bytes. matrix-js-sdk makes keys of 16."""
_KEYS_OF_INDEX = 2
_SALT = b"LKFrameEncryptionKey"
_INFO = bytes(128)
_CIPHER_BYTES, _RATCHETED_BYTES = 16, 32


def cipher_of(key: bytes) -> AESGCM:
    """Return the cipher of frames that are encrypted with this key."""
    return AESGCM(_derived(key, _CIPHER_BYTES))


def ratcheted(key: bytes) -> bytes:
    """Return the key that follows on this one when it is ratcheted."""
    return _derived(key, _RATCHETED_BYTES)


def _derived(key: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, _SALT, _INFO).derive(key)


class Keyring:
    """The keys of one participant. Not more than `RING` indices with two keys each are held."""

    def __init__(self) -> None:
        self._keys: dict[int, list[_Key]] = {}  # the one that fits best first
        self._failures: dict[int, int] = {}  # in a row

    def __bool__(self) -> bool:
        return bool(self._keys)

    def take(self, index: int, key: bytes) -> bool:
        """Take a key. Return False for one that is known at this index, or is none."""
        if not 0 <= index < RING or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
            return False
        keys = self._keys.setdefault(index, [])
        if any(known.told == key for known in keys):
            return False
        keys.insert(0, _Key(key))
        del keys[_KEYS_OF_INDEX:]
        self._failures.setdefault(index, 0)
        return True

    def open(self, frame: bytes) -> bytes | None:
        """Decrypt a frame; None if no key fits."""
        index = key_index(frame)
        if index is None or not (keys := self._keys.get(index)):
            return None
        window = 0 if self._failures[index] > FAILURE_TOLERANCE else RATCHET_WINDOW
        for key in keys:
            if (opened := key.open(frame, window)) is not None:
                if key is not keys[0]:
                    keys.reverse()
                self._failures[index] = 0
                return opened
        self._failures[index] += 1
        return None


class _Key:
    """A key, with the ciphers of the ratchet's next steps."""

    def __init__(self, told: bytes) -> None:
        self.told = told
        self._material = told  # of the last cipher
        self._ciphers: list[AESGCM] = []  # from the present step on

    def open(self, frame: bytes, window: int) -> bytes | None:
        """Decrypt a frame, with the present step or one of the next. One that fits becomes the present one."""
        for step in range(window + 1):
            if (opened := open_frame(frame, self._cipher(step))) is not None:
                del self._ciphers[:step]
                return opened
        return None

    def _cipher(self, step: int) -> AESGCM:
        while len(self._ciphers) <= step:
            if self._ciphers:
                self._material = ratcheted(self._material)
            self._ciphers.append(cipher_of(self._material))
        return self._ciphers[step]
