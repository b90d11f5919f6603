"""Damaged chunks, and chunks with wrong headers, among whole ones."""

from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from storage.records import ChunkState, RecordingState, Timing
from tests.audio.oddities import ID3V1, ID3V2, LIVE_WEBM
from tests.audio.sounds import ADTS, CAF, FLAC, M4A, MP3, WAV, Pcm, Studio, lag, signal
from tests.lab import DATA
from tests.line.replay import Capture, Replay, replaying
from tests.line.speaker import Speaker, whole

QUIET_S = 60
LENGTH = 144_000  # samples of each whole chunk
NEAR = 5760  # 120 ms
CASES = DATA / "cases"
DAMAGED = ("mp3", "webm")  # within
LOUD = {"audio": {"loudness_lufs": None}}


def studio_in(folder: Path) -> Studio:
    return Studio(get_ffmpeg_exe(), folder)


def spoken(studio: Studio, number: int) -> bytes:
    return studio.record(f"whole-{number}", signal(LENGTH, number), WAV).read_bytes()


async def broadcast(replay: Replay, files: list[bytes]) -> Speaker:
    room = Capture("plain")
    alice = Speaker(room)
    await replay.move_in(room)
    events = [alice.starts(), *whole(alice, files)]
    replay.serves(alice.uploads)
    await replay.tell(room.room, events)
    await replay.pass_by(QUIET_S)
    return alice


def odd_files(studio: Studio) -> dict[str, bytes]:
    """Make a file of the same sound in each container."""
    forms = {"wav": WAV, "m4a": M4A, "mp3": MP3, "adts": ADTS, "caf": CAF, "flac": FLAC, "webm": LIVE_WEBM}
    made = {name: studio.record(name, signal(LENGTH, 2), form).read_bytes() for name, form in forms.items()}
    half = len(made["mp3"]) // 2
    return {
        "wav": ID3V2 + made["wav"] + b"\r\n",
        "m4a": b"\0" + made["m4a"] + ID3V1,
        "mp3": made["mp3"][:half] + bytes(700) + made["mp3"][half:],
        "adts": made["adts"][100:-100],
        "caf": made["caf"] + b"\0",
        "flac": ID3V2 + made["flac"] + ID3V1,
        "webm": made["webm"][:half] + bytes(200) + made["webm"][half + 200 :],
    }


@pytest.mark.parametrize("name", ["wav", "m4a", "mp3", "adts", "caf", "flac", "webm"])
async def test_an_odd_file_is_heard_in_its_place(name: str, tmp_path: Path) -> None:
    """An odd middle chunk is played in its place and the last one after it, with a gap of some frames at most."""
    studio = studio_in(tmp_path)
    odd = odd_files(studio)[name]
    async with replaying(tmp_path / "data", changed=LOUD) as replay:
        alice = await broadcast(replay, [spoken(studio, 1), odd, spoken(studio, 3)])
        ledger = await replay.ledger(alice.broadcast)
        assert [entry.state for entry in ledger.entries] == [ChunkState.STORED] * 3
        assert abs(ledger.samples - 3 * LENGTH) <= NEAR
        state = RecordingState.INCOMPLETE if ledger.gaps else RecordingState.COMPLETE
        assert (await replay.recording(alice.broadcast)).state is state
        assert sum(gap.samples for gap in ledger.gaps) <= (NEAR if name in DAMAGED else 0)
        heard = studio.hear(await replay.audio(alice.broadcast))
    expected: Pcm = np.concatenate([signal(LENGTH, number) for number in (1, 2, 3)])
    for place in (40_000, LENGTH + 20_000, 2 * LENGTH - 20_000, 2 * LENGTH + 40_000):
        assert abs(lag(expected, heard, place, most=9000)) <= NEAR


@pytest.mark.parametrize(
    ("name", "milliseconds", "timing"),
    [
        ("tag_behind.m4a", 6000, Timing.EXACT),
        ("size_44_too_large.wav", 2000, Timing.EXACT),
        ("cut_in_first_frame.mp3", 6000, Timing.ESTIMATED),
        ("clock_hole.webm", 8013, Timing.EXACT),
    ],
)
async def test_odd_files_of_other_tools(name: str, milliseconds: int, timing: Timing, tmp_path: Path) -> None:
    """Odd files of other tools are stored with the length of their sound, and nothing counts as missing."""
    studio = studio_in(tmp_path)
    async with replaying(tmp_path / "data") as replay:
        odd = (CASES / name).read_bytes()
        alice = await broadcast(replay, [spoken(studio, 1), odd, spoken(studio, 3)])
        first, middle, last = (await replay.ledger(alice.broadcast)).entries
        assert (middle.state, middle.timing, middle.reason) == (ChunkState.STORED, timing, None)
        assert abs(middle.samples / 48 - milliseconds) <= 60
        assert last.position == first.samples + middle.samples
        recording = await replay.recording(alice.broadcast)
        assert recording.state is RecordingState.COMPLETE
        said = await replay.ask(alice.capture.room, "!aircheck status")
        assert "shorter" not in said
        assert "damaged" not in said


async def test_a_header_without_samples_is_an_empty_tail(tmp_path: Path) -> None:
    """A last chunk without samples, as a recorder sends that is stopped at once, is stored and nothing is missing."""
    studio = studio_in(tmp_path)
    async with replaying(tmp_path / "data") as replay:
        files = [spoken(studio, 1), spoken(studio, 2), (CASES / "header_only.m4a").read_bytes()]
        alice = await broadcast(replay, files)
        ledger = await replay.ledger(alice.broadcast)
        assert [(entry.state, entry.samples) for entry in ledger.entries] == [
            (ChunkState.STORED, LENGTH),
            (ChunkState.STORED, LENGTH),
            (ChunkState.STORED, 0),
        ]
        assert (await replay.recording(alice.broadcast)).state is RecordingState.COMPLETE
        assert len(studio.hear(await replay.audio(alice.broadcast))) == 2 * LENGTH
