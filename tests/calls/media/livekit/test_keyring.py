"""The keys of one participant, with frames that livekit-client encrypted (tests/data/matrixrtc)."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.calls.media.livekit import frames
from bot.calls.media.livekit.frames import Sealer, key_index
from bot.calls.media.livekit.keyring import FAILURE_TOLERANCE, RATCHET_WINDOW, Keyring, cipher_of, ratcheted

CAPTURE = Path(__file__).parents[3] / "data" / "matrixrtc" / "frames.json"
OPUS = bytes([0x78]) + bytes(range(50))
KEYS = [bytes([number]) * 16 for number in range(8)]


@dataclass(frozen=True)
class Captured:
    index: int
    key: bytes
    ratchets: int
    plain: bytes
    frame: bytes


CAPTURED = [
    Captured(
        each["index"],
        base64.b64decode(each["key"]),
        each["ratchets"],
        base64.b64decode(each["plain"]),
        base64.b64decode(each["frame"]),
    )
    for each in json.loads(CAPTURE.read_text())["frames"]
]


def sealed(key: bytes, index: int = 0, ratchets: int = 0) -> bytes:
    for _ in range(ratchets):
        key = ratcheted(key)
    return Sealer(index, cipher_of(key), 1).seal(OPUS, 7, 960)


def test_frames_of_livekit_client_are_read() -> None:
    """All captured frames are read in their order, with the keys as they were told: ratcheted, rotated, and with an
    index that begins again."""
    keys = Keyring()
    for each in CAPTURED:
        if not each.ratchets:
            keys.take(each.index, each.key)
        assert key_index(each.frame) == each.index
        assert keys.open(each.frame) == each.plain
    assert ({each.ratchets for each in CAPTURED}, {each.index for each in CAPTURED}) == ({0, 1, 2}, {0, 1, 255})


@pytest.mark.parametrize("each", [each for each in CAPTURED if not each.ratchets])
def test_our_frames_are_those_of_livekit_client(each: Captured) -> None:
    """Our frame is the same, byte for byte, as that of livekit-client with this nonce."""
    ssrc, timestamp, count = frames._IV.unpack(each.frame[-14:-2])
    sealer = Sealer(each.index, cipher_of(each.key), count - 1)
    assert sealer.seal(each.plain, ssrc, timestamp) == each.frame


def test_no_nonce_is_used_twice() -> None:
    """Each frame has another nonce, also where SSRC and timestamp are the same, and where the counter wraps."""
    sealer = Sealer(0, cipher_of(KEYS[0]), 2**32 - 2)
    assert len({sealer.seal(OPUS, 7, 960)[-14:] for _ in range(10)}) == 10


def test_a_key_is_ratcheted_within_its_window() -> None:
    """A key that was ratcheted up to ten times fits, and is the present one then."""
    for ratchets in (1, RATCHET_WINDOW):
        keys = Keyring()
        keys.take(0, KEYS[0])
        assert keys.open(sealed(KEYS[0], ratchets=ratchets)) == OPUS
        assert keys.open(sealed(KEYS[0], ratchets=ratchets + RATCHET_WINDOW)) == OPUS
    keys = Keyring()
    keys.take(0, KEYS[0])
    assert keys.open(sealed(KEYS[0], ratchets=RATCHET_WINDOW + 1)) is None


def test_a_key_that_is_told_again_stays_ratcheted() -> None:
    """A key that is known changes nothing when it is told again."""
    keys = Keyring()
    assert keys.take(0, KEYS[0])
    assert keys.open(sealed(KEYS[0], ratchets=8)) == OPUS
    assert not keys.take(0, KEYS[0])
    assert keys.open(sealed(KEYS[0], ratchets=18)) == OPUS


def test_frames_that_no_key_fits_cost_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten failures a frame is tried with the keys as they are; one that fits is read all the same."""
    tried: list[Any] = []
    monkeypatch.setattr("bot.calls.media.livekit.keyring.open_frame", lambda *each: tried.append(each))
    keys = Keyring()
    keys.take(0, KEYS[0])
    for _ in range(FAILURE_TOLERANCE + 1):
        assert keys.open(sealed(KEYS[1])) is None
    assert len(tried) == (FAILURE_TOLERANCE + 1) * (RATCHET_WINDOW + 1)
    tried.clear()
    keys.take(0, KEYS[2])
    for _ in range(100):
        assert keys.open(sealed(KEYS[1])) is None
    assert len(tried) == 200
    monkeypatch.undo()
    assert keys.open(sealed(KEYS[1])) is None
    assert keys.open(sealed(KEYS[0])) == OPUS
    assert keys.open(sealed(KEYS[0], ratchets=1)) == OPUS


def test_an_index_holds_two_keys() -> None:
    """The last key is tried with the one before it, whichever came first; an older one is gone."""
    keys = Keyring()
    for key in KEYS[:3]:
        keys.take(0, key)
    assert keys.open(sealed(KEYS[0])) is None
    assert [keys.open(sealed(KEYS[number])) for number in (1, 2, 1)] == [OPUS] * 3
    keys.take(0, KEYS[3])
    assert keys.open(sealed(KEYS[1])) == OPUS
    assert keys.open(sealed(KEYS[2])) is None


@pytest.mark.parametrize(("index", "length"), [(-1, 16), (256, 16), (0, 15), (0, 65), (0, 0)])
def test_keys_that_are_none_are_refused(index: int, length: int) -> None:
    """Keys out of the ring, or of another length, are not taken."""
    assert not Keyring().take(index, bytes(length))


@pytest.mark.parametrize("frame", [b"", b"\x78", OPUS, bytes(30), bytes(28) + b"\x0c\x00", bytes(29) + b"\x0b\x00"])
def test_frames_that_are_not_encrypted_are_told_apart(frame: bytes) -> None:
    """A frame that is too short, or does not end as an encrypted one, has no key."""
    keys = Keyring()
    keys.take(0, KEYS[0])
    assert key_index(frame) is None
    assert keys.open(frame) is None


def test_a_changed_frame_is_refused() -> None:
    """A frame is authenticated, with its clear byte."""
    keys = Keyring()
    keys.take(0, KEYS[0])
    frame = sealed(KEYS[0])
    for place in (0, 1, len(frame) - 3):
        assert keys.open(frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :]) is None
