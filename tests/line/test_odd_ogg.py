"""Ogg files that are odd or damaged, as the middle chunk of a broadcast of three, through the whole line."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from bot.audio.ogg import OggPage, read_pages, write_page
from storage.records import SAMPLE_RATE, ChunkState, RecordingState, Timing
from tests.audio.sounds import OPUS, WAV, Pcm, Studio, lag, signal
from tests.line.replay import Capture, Replay, replaying
from tests.line.speaker import Speaker, whole

CASES = Path(__file__).parents[1] / "data" / "cases"
QUIET_S = 60
BESIDE = 3 * SAMPLE_RATE  # samples of the chunks before and behind
LENGTH = 6 * SAMPLE_RATE


class Heard:
    """A recorded broadcast of three chunks: a WAV, the odd file, a WAV."""

    def __init__(self, replay: Replay, folder: Path) -> None:
        self.it = replay
        self.studio = Studio(get_ffmpeg_exe(), folder)
        self.room = Capture("plain")
        self.alice = Speaker(self.room)

    async def send(self, data: bytes) -> None:
        around = [await asyncio.to_thread(self._wav, seed) for seed in (1, 2)]
        await self.it.move_in(self.room)
        events = [self.alice.starts(), *whole(self.alice, [around[0], data, around[1]])]
        self.it.serves(self.alice.uploads)
        await self.it.tell(self.room.room, events)
        await self.it.pass_by(QUIET_S)
        self.recording = await self.it.recording(self.alice.broadcast)
        self.ledger = await self.it.ledger(self.alice.broadcast)
        episode = await self.it.audio(self.alice.broadcast)
        self.sound: Pcm = await asyncio.to_thread(self.studio.hear, episode)

    def _wav(self, seed: int) -> bytes:
        return self.studio.record(f"beside{seed}", signal(BESIDE, seed), WAV).read_bytes()

    async def status(self) -> str:
        return await self.it.ask(self.room.room, "!aircheck status")

    def assert_in_place(self, length: int) -> None:
        """Check that all three are stored, and that the first and the last are in their places."""
        assert [entry.state for entry in self.ledger.entries] == [ChunkState.STORED] * 3
        assert self.ledger.entries[1].samples == length
        assert abs(lag(signal(BESIDE, 1), self.sound[:BESIDE], SAMPLE_RATE)) <= 2
        assert abs(lag(signal(BESIDE, 2), self.sound[BESIDE + length :], SAMPLE_RATE)) <= 2


@pytest.mark.parametrize(
    ("name", "samples", "timing", "told"),
    [
        ("nul_behind", 6000 * 48, Timing.EXACT, ""),
        ("granules_at_16khz", 290_568, Timing.ESTIMATED, "holds 4.1 s more sound than its file claims"),
        ("granules_zero", 192_648, Timing.ESTIMATED, "holds 4.0 s more sound than its file claims"),
        ("sound_beside_tags", 4000 * 48, Timing.EXACT, ""),
        ("tags_marked_as_begin", 4000 * 48, Timing.EXACT, ""),
        ("empty_packet", 6000 * 48, Timing.EXACT, "sounded less than 0.1 s shorter than it should"),
        ("empty_last_page", 288_648, Timing.EXACT, ""),
    ],
)
async def test_an_odd_file_is_heard_whole(name: str, samples: int, timing: Timing, told: str, tmp_path: Path) -> None:
    """An odd file is complete with its counted length, and the room reads what its header claims otherwise."""
    async with replaying(tmp_path / "data") as replay:
        heard = Heard(replay, tmp_path)
        await heard.send((CASES / f"{name}.ogg").read_bytes())
        assert (heard.recording.state, heard.ledger.gaps) == (RecordingState.COMPLETE, ())
        assert heard.ledger.entries[1].timing is timing
        heard.assert_in_place(samples)
        middle = heard.sound[BESIDE : BESIDE + samples]
        assert np.abs(middle[: len(middle) // 4800 * 4800].reshape(-1, 4800)).max(axis=1).min() > 1e-3
        assert told in await heard.status()


def spoken(studio: Studio) -> list[OggPage]:
    """Make six seconds of speech in pages of one second."""
    return list(read_pages(io.BytesIO(studio.record("odd", signal(LENGTH, 3), OPUS).read_bytes())))


def joined(pages: list[OggPage]) -> bytes:
    return b"".join(map(write_page, pages))


@pytest.mark.parametrize("kind", ["swapped", "twice", "tag", "line ends"])
async def test_pages_that_are_all_there_are_a_whole_chunk(kind: str, tmp_path: Path) -> None:
    """Pages in any order and with foreign bytes between them are a whole chunk."""
    async with replaying(tmp_path / "data") as replay:
        heard = Heard(replay, tmp_path)
        pages = spoken(heard.studio)
        match kind:
            case "swapped":
                pages[3], pages[5] = pages[5], pages[3]
                data = joined(pages)
            case "twice":
                data = joined([*pages[:5], pages[4], *pages[5:]])
            case "tag":
                data = joined(pages) + b"TAG" + bytes(125)
            case _:
                data = b"\r\n".join(map(write_page, pages))
        await heard.send(data)
        assert (heard.recording.state, heard.ledger.gaps) == (RecordingState.COMPLETE, ())
        heard.assert_in_place(LENGTH)
        middle = heard.sound[BESIDE : BESIDE + LENGTH]
        for second in range(1, 5):
            assert abs(lag(signal(LENGTH, 3), middle, second * SAMPLE_RATE + 24_000)) <= 2


@pytest.mark.parametrize("kind", ["checksum", "missing", "cut"])
async def test_a_damaged_page_is_a_gap_of_its_length(kind: str, tmp_path: Path) -> None:
    """A damaged page is a gap of its length in ledger and room; the rest keeps its place."""
    async with replaying(tmp_path / "data") as replay:
        heard = Heard(replay, tmp_path)
        pages = spoken(heard.studio)
        index = 4 if kind != "cut" else 7  # of whole pages the last
        raw = bytearray(joined(pages))
        begin = len(joined(pages[:index]))
        match kind:
            case "checksum":
                raw[begin + 200] ^= 8
            case "missing":
                del raw[begin : len(joined(pages[: index + 1]))]
            case _:
                del raw[begin + 2000 :]
        await heard.send(bytes(raw))
        (gap,) = heard.ledger.gaps
        assert (heard.recording.state, gap.reason) == (RecordingState.INCOMPLETE, ChunkState.DAMAGED)
        skip = 312  # samples
        heard.assert_in_place(LENGTH if kind != "cut" else LENGTH - skip)
        at = BESIDE + (index - 2) * SAMPLE_RATE - skip
        if kind == "cut":
            assert at < gap.position < at + SAMPLE_RATE == gap.position + gap.samples
        else:
            assert (gap.position, gap.samples) == (at, SAMPLE_RATE)
        middle = heard.sound[BESIDE : BESIDE + LENGTH]
        for second in {1, 2, 3, 4} - {index - 2, index - 1}:
            assert abs(lag(signal(LENGTH, 3), middle, second * SAMPLE_RATE)) <= 2
        assert "arrived partly damaged" in await heard.status()
