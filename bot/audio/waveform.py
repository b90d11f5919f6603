"""The waveform of a sound: peaks of 10 ms, joined from its pieces' peaks, and drawn as any number of bars.

A peak is one byte: the highest sample of any channel in 255ths of full scale, rounded. Below -54 dBFS it is 0.
"""

import base64
from collections.abc import Iterable

import numpy as np

from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE, Samples

SLOT = SAMPLE_RATE // 100  # samples
_FEWEST, _MOST = 30, 120


def peaks(pcm: Pcm) -> bytes:
    """Return the peaks of a piece: one byte for each 10 ms that it begins."""
    whole = len(pcm) // SLOT * SLOT
    slots = np.ascontiguousarray(pcm[:whole]).reshape(-1, SLOT * pcm.shape[1])
    highest = np.maximum(slots.max(axis=1), -slots.min(axis=1))
    if whole < len(pcm):
        highest = np.append(highest, np.abs(pcm[whole:]).max())
    return bytes(np.rint(np.minimum(highest, 1) * 255).astype(np.uint8))


def joined(pieces: Iterable[tuple[Samples, bytes]]) -> bytes:
    """Join the peaks of pieces in a row, given with the pieces' lengths: one byte for each 10 ms of their sum.

    A piece that begins within a slot of 10 ms is moved to the nearer border of the slot, so that errors don't add up.
    Raises ValueError for peaks that don't fit the length of their piece.
    """
    row = bytearray()
    begins = 0
    for samples, some in pieces:
        if len(some) != _slots(samples):
            raise ValueError(f"{len(some)} peaks do not fit {samples} samples")
        place = (begins + SLOT // 2) // SLOT  # never after the end of the row
        common = min(len(row) - place, len(some))
        row[place : place + common] = map(max, row[place:], some[:common])
        row += some[common:]
        begins += samples
    return bytes(row[: _slots(begins)].ljust(_slots(begins), b"\0"))


def whole(pieces: Iterable[tuple[Samples, bytes | None]]) -> bytes:
    """Join the peaks of pieces as `joined`; a piece that was not decoded yet (None) is silent."""
    return joined((samples, known or bytes(_slots(samples))) for samples, known in pieces)


def stretch(row: bytes, first: Samples, samples: Samples) -> bytes:
    """Return the peaks of a part of a row."""
    return row[first // SLOT : _slots(first + samples)]


def _slots(samples: int) -> int:
    return -(-samples // SLOT)


def msc3246(row: bytes) -> list[int]:
    """Return bars from 0 to 1024, one for each second within the bounds of the proposal. Clients draw this range, which
    the proposal had at first: https://github.com/matrix-org/matrix-spec-proposals/pull/3246."""
    return _bars(row, min(max(len(row) * SLOT // SAMPLE_RATE, _FEWEST), _MOST), 1024)


def compact(row: bytes, count: int = 400) -> str:
    """Return this number of bars, one byte each, in base64."""
    return base64.b64encode(bytes(_bars(row, count, 255))).decode("ascii")


def _bars(row: bytes, count: int, full: int) -> list[int]:
    """Return bars of which the highest is `full`. A bar is the mean of its peaks, since nearly every minute has a loud
    maximum. Where there are fewer peaks than bars, the peaks are stretched."""
    if not any(row):
        return [0] * count
    sums = np.concatenate([np.zeros(1), np.cumsum(np.frombuffer(row, np.uint8), dtype=np.float64)])
    means = np.diff(np.interp(np.linspace(0, len(row), count + 1), np.arange(len(sums)), sums))
    heights: list[int] = np.rint(means / means.max() * full).astype(int).tolist()
    return heights
