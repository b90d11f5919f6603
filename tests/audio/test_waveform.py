"""Waveforms."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.waveform import SLOT, compact, joined, msc3246, peaks
from storage.records import Samples
from tests.audio.sounds import signal


def test_scale() -> None:
    """A peak is the highest sample of any channel in 255ths of full scale, one for each 10 ms that begins."""
    sound = np.zeros((SLOT * 3 + 1, 2), np.float32)
    sound[3, 0], sound[SLOT + 9, 1], sound[SLOT * 2, 0], sound[-1] = 0.5, -1.0, 7.0, 0.001
    assert list(peaks(sound)) == [128, 255, 255, 0]
    assert peaks(sound[:0]) == b""
    assert list(peaks(sound[:4, :1])) == [128]


def test_pieces_on_the_grid() -> None:
    """Pieces of whole slots join to the peaks of the whole sound."""
    sound = signal(SLOT * 100)[:, None]
    parts = (sound[: SLOT * 40], sound[SLOT * 40 :])
    assert joined((Samples(len(part)), peaks(part)) for part in parts) == peaks(sound)


@given(st.lists(st.integers(0, 2000), max_size=40))
def test_no_error_adds_up(lengths: list[int]) -> None:
    """Each of many pieces begins within 5 ms of its place, and the row has the length of all."""
    pieces = [(Samples(length), bytes([1] * -(-length // SLOT))) for length in lengths]
    last = (Samples(SLOT * 3), b"\7\7\7")
    row = joined([*pieces, last])
    total = sum(lengths)
    assert len(row) == -(-(total + SLOT * 3) // SLOT)
    assert abs(row.index(7) * SLOT - total) <= SLOT // 2


def test_shared_slot() -> None:
    """The higher peak stays in a slot that two pieces share."""
    assert list(joined([(Samples(SLOT + 100), b"\1\5"), (Samples(SLOT), b"\3")])) == [1, 5, 0]
    assert list(joined([(Samples(SLOT + 300), b"\1\5"), (Samples(SLOT), b"\3")])) == [1, 5, 3]


def test_wrong_length() -> None:
    """Peaks of another length are refused."""
    with pytest.raises(ValueError):
        joined([(Samples(SLOT + 1), b"\1")])


@pytest.mark.parametrize(("slots", "bars"), [(0, 30), (1, 30), (100, 30), (4500, 45), (720_000, 120)])
def test_bars_of_a_message(slots: int, bars: int) -> None:
    """A message has 30 to 120 bars of 0 to 1024, one for each second within these bounds."""
    values = msc3246(bytes(range(256)) * (slots // 256) + bytes(range(slots % 256)))
    assert len(values) == bars
    assert all(type(value) is int and 0 <= value <= 1024 for value in values)
    assert max(values) == (1024 if slots > 1 else 0)


def test_bars_follow_the_sound() -> None:
    """A bar is the mean of its peaks, and the highest bar is full."""
    row = bytes([10] * 3000 + [0] * 3000 + [40] * 3000 + [20] * 3000)
    assert msc3246(row) == [256] * 30 + [0] * 30 + [1024] * 30 + [512] * 30
    assert base64.b64decode(compact(row, 4)) == bytes([64, 0, 255, 128])
    assert base64.b64decode(compact(b"", 4)) == bytes(4)
    assert len(base64.b64decode(compact(row))) == 400
