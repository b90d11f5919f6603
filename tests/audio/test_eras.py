"""The broken eras of Element Web: chunks with headers of another run, doubled ones, or none, join like healthy ones."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.ogg import OggPage
from bot.audio.plan import Mismatch, Piece, Silence, Sound
from bot.errors import GiveUp
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from storage.records import Chunk, EndedBy
from tests.audio.eras import bare, headers_of_the_run_before, joined, no_headers, page_by_page, parts, tailed
from tests.audio.sounds import Pcm, Studio, as_key, captured, local, signal
from tests.recording.world import recording, stored

STEP = 1 / 32_768  # of 16-bit sound
Era = Callable[[Sequence[bytes]], list[bytes]]


def files(name: str) -> list[bytes]:
    """Return the chunks of a capture in the order of their sound."""
    return [chunk.path.read_bytes() for chunk in captured(name)]


class Recorded:
    """Chunks, inspected and laid out when they come."""

    def __init__(self, chunks: Sequence[Chunk], folder: Path, ffmpeg: Ffmpeg) -> None:
        self.chunks = chunks
        self.ledger: Ledger = lay_out(recording(ended_by=EndedBy.STOPPED), chunks)
        self._folder = folder
        self._ffmpeg = ffmpeg

    async def heard(self, channels: int = 1) -> Pcm:
        """Decode all of it to the length of the ledger."""
        pieces: list[Piece] = []
        for entry in self.ledger.entries:
            if entry.sounds:
                path = self._folder / str(entry.chunk_id)
                pieces.append(Sound(as_key(path), entry.container, entry.continues, entry.samples))
            elif entry.samples:
                pieces.append(Silence(entry.samples))
        wrong: list[Mismatch] = []
        stream = decode_pieces(pieces, local, self._ffmpeg, self._folder, channels=channels, report=wrong.append)
        sound = np.concatenate([block async for block in stream])
        assert wrong == []
        return sound


async def recorded(chunks: dict[int, bytes], folder: Path, ffmpeg: Ffmpeg) -> Recorded:
    """Lay out chunks by their numbers."""
    written(chunks, folder)
    found = []
    for number in chunks:
        facts = await inspect_chunk(folder / str(number), ffmpeg, max_seconds=60)
        found.append(stored(str(number), number, facts))
    return Recorded(found, folder, ffmpeg)


def written(chunks: dict[int, bytes], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, data in chunks.items():
        (folder / str(number)).write_bytes(data)


def counted(chunks: Sequence[bytes]) -> dict[int, bytes]:
    return dict(enumerate(chunks, start=1))


@pytest.mark.parametrize("name", ["plain", "encrypted", "pauses"])
@pytest.mark.parametrize("era", [headers_of_the_run_before, no_headers])
async def test_a_broken_era_sounds_like_a_healthy_one(name: str, era: Era, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A whole broadcast with pause and resume is proved by its pages, and is the recorded sound to the sample."""
    healthy = await recorded(counted(files(name)), tmp_path / "healthy", ffmpeg)
    assert era(files(name)) != files(name)
    broken = await recorded(counted(era(files(name))), tmp_path / "broken", ffmpeg)
    assert (broken.ledger.proved, broken.ledger.complete, broken.ledger.gaps) == (True, True, ())
    assert [entry.samples for entry in broken.ledger.entries] == [entry.samples for entry in healthy.ledger.entries]
    assert np.abs(await broken.heard() - await healthy.heard()).max() <= STEP


@pytest.mark.parametrize("era", [headers_of_the_run_before, no_headers])
async def test_chunks_of_one_page(era: Era, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Chunks of a second or less are recognised too, and so is a tail that only ends its run."""
    chunks = tailed(page_by_page(files("plain")))
    healthy = await recorded(counted(chunks), tmp_path / "healthy", ffmpeg)
    broken = await recorded(counted(era(chunks)), tmp_path / "broken", ffmpeg)
    assert broken.ledger.proved
    assert np.abs(await broken.heard() - await healthy.heard()).max() <= STEP


async def test_a_microphone_that_changed_at_the_resume(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Old headers with another input rate don't split the run, for they are not of its stream."""
    first, second = files("plain")[:3], files("plain")[3:]
    old, tags = parts(first[0]).headers
    body = old.body[:12] + struct.pack("<I", 96_000) + old.body[16:]
    other = OggPage(old.flags, old.granule, old.serial, old.number, old.lacing, body)
    changed = [joined([other, tags], parts(chunk).sound) for chunk in first]
    broken = await recorded(counted(headers_of_the_run_before([*changed, *second])), tmp_path / "broken", ffmpeg)
    healthy = await recorded(counted(files("plain")), tmp_path / "healthy", ffmpeg)
    assert [entry.continues for entry in broken.ledger.entries] == [False, True, True, False, True]
    assert broken.ledger.proved
    assert np.abs(await broken.heard() - await healthy.heard()).max() <= STEP


async def test_a_run_without_any_head(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A run whose first chunk has no headers either begins where it would with those of its client."""
    healthy = await recorded(counted(files("plain")), tmp_path / "healthy", ffmpeg)
    broken = await recorded(counted([bare(chunk) for chunk in files("plain")]), tmp_path / "broken", ffmpeg)
    assert broken.ledger.proved
    assert np.abs(await broken.heard() - await healthy.heard()).max() <= STEP


async def test_the_one_chunk_with_headers_is_lost(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """When that chunk turns up, all other sound stays in its place and sounds the same."""
    chunks = counted(no_headers(page_by_page(files("plain"))))
    whole = await recorded(chunks, tmp_path, ffmpeg)
    beginning = len(page_by_page(files("plain")[:3])) + 1
    lacking = await recorded({key: data for key, data in chunks.items() if key != beginning}, tmp_path, ffmpeg)
    at = {entry.chunk_id: entry.position for entry in whole.ledger.entries}
    assert all(at[entry.chunk_id] == entry.position for entry in lacking.ledger.entries[beginning + 1 :])
    (gap,) = lacking.ledger.gaps
    assert lacking.ledger.samples == whole.ledger.samples
    settled = gap.position + gap.samples + 24_000
    heard, wanted = await lacking.heard(), await whole.heard()
    assert np.abs(heard - wanted)[settled:].max() < 0.01  # a fresh decoder has settled


async def test_stereo_without_headers(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Without a head the packets tell the number of channels."""
    length = 250 * 960 - 312  # packets are whole, with this encoder's pre-skip
    sound = np.repeat(signal(length), 2) * np.tile([1.0, 0.2], length)
    form = ("-c:a", "libopus", "-b:a", "128k", "-page_duration", "800000", "-f", "ogg")
    data = studio.record("stereo", sound.astype(np.float32), form, channels=2).read_bytes()
    chunks = page_by_page([data])
    healthy = await recorded(counted(chunks), tmp_path / "healthy", ffmpeg)
    broken = await recorded(counted([chunks[0], *map(bare, chunks[1:])]), tmp_path / "broken", ffmpeg)
    assert {chunk.facts.channels for chunk in broken.chunks if chunk.facts} == {2}
    heard, wanted = await broken.heard(2), await healthy.heard(2)
    assert np.abs(heard - wanted).max() <= STEP
    assert np.abs(heard[:, 0]).max() > 3 * np.abs(heard[:, 1]).max()


@pytest.mark.parametrize("codec", ["libvorbis", "flac"])
async def test_another_codec_without_headers(codec: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Pages of anything else are not taken for Opus."""
    path = studio.record("a.ogg", signal(100_000), ("-c:a", codec, "-f", "ogg"))
    pages = parts(path.read_bytes()).sound
    for count in range(1, 4):
        path.write_bytes(joined(pages[-count:]))
        with pytest.raises(GiveUp) as caught:
            await inspect_chunk(path, ffmpeg, max_seconds=60)
        assert caught.value.reason == "headers_missing"
