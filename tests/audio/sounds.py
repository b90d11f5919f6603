"""A known sound, files made of it, and a decoder that uses none of our code."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.audio.opus import facts_of, opus_streams
from storage.records import SAMPLE_RATE, BlobKey, ChunkFacts

Pcm = NDArray[np.float32]
CAPTURES = Path(__file__).parents[1] / "data" / "captures"

OPUS = ("-c:a", "libopus", "-b:a", "64k", "-f", "ogg")
M4A = ("-c:a", "aac", "-b:a", "128k", "-f", "ipod")
MP3 = ("-c:a", "libmp3lame", "-b:a", "128k", "-f", "mp3")
WAV = ("-c:a", "pcm_s16le", "-f", "wav")
FLAC = ("-c:a", "flac", "-f", "flac")
CAF = ("-c:a", "pcm_s16be", "-f", "caf")
WEBM = ("-c:a", "libopus", "-b:a", "64k", "-f", "webm")
AMR = ("-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1", "-b:a", "12.2k", "-f", "amr")
THREEGP = (*AMR[:-1], "3gp")
ADTS = ("-c:a", "aac", "-b:a", "128k", "-f", "adts")


def signal(samples: int, seed: int = 7) -> Pcm:
    """Return a sweep under smoothed noise: no two places are alike, so that a lag can be found anywhere."""
    time = np.arange(samples) / SAMPLE_RATE
    sweep = np.sin(2 * np.pi * (300 * time + 90 * time * time))
    noise = np.convolve(np.random.default_rng(seed).standard_normal(samples), np.hanning(9) / 4, "same")
    return (0.3 * sweep + 0.15 * noise).astype(np.float32)


def lag(reference: Pcm, heard: Pcm, place: int, window: int = 9600, most: int = 4800) -> int:
    """Return by how many samples `heard` is late around `place`, by cross-correlation."""
    wanted = reference[place : place + window]
    start = max(0, place - most)
    around = heard[start : place + window + most]
    size = 1 << (len(wanted) + len(around)).bit_length()
    matched = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return start + int(np.argmax(matched[: len(around) - window + 1])) - place


@dataclass(frozen=True)
class Studio:
    exe: str
    folder: Path

    def record(self, name: str, sound: Pcm, form: tuple[str, ...], *more: str, channels: int = 1) -> Path:
        """Encode a sound to a file; samples of several channels are interleaved."""
        path = self.folder / name
        source = ["-f", "f32le", "-ar", "48000", "-ac", str(channels), "-i", "pipe:"]
        command = [self.exe, "-v", "error", *source, *form, *more]
        subprocess.run([*command, "-y", str(path)], input=sound.tobytes(), check=True)
        return path

    def hear(self, path: Path, channels: int = 1) -> Pcm:
        """Decode a file with plain ffmpeg."""
        command = [
            self.exe,
            "-v",
            "error",
            "-i",
            str(path),
            "-f",
            "f32le",
            "-ar",
            "48000",
            "-ac",
            str(channels),
            "pipe:",
        ]
        return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


@dataclass(frozen=True)
class Captured:
    """A chunk that a real Element Web sent."""

    path: Path
    sequence: int
    announced_ms: int
    facts: ChunkFacts

    @property
    def serial(self) -> int:
        assert self.facts.ogg is not None
        return self.facts.ogg.serial

    @property
    def first_page(self) -> int:
        assert self.facts.ogg is not None
        return self.facts.ogg.first_page


def captured(name: str) -> list[Captured]:
    """Return the chunks of a capture in the order of their sound."""
    chunks = []
    for entry in json.loads((CAPTURES / name / "chunks.json").read_text()):
        path = CAPTURES / name / "media" / entry["file"]
        with path.open("rb") as file:
            facts = facts_of(opus_streams(file, max_samples=1 << 30))
        chunks.append(Captured(path, entry["sequence"], entry["info"]["duration"], facts))
    runs = {chunk.serial: chunk.sequence for chunk in reversed(chunks)}
    return sorted(chunks, key=lambda chunk: (runs[chunk.serial], chunk.first_page))


def without_headers(chunk: bytes) -> bytes:
    """Return a later chunk of Element Web without its two copied header pages, as the encoder wrote it."""
    second = chunk.index(b"OggS", 4)
    return chunk[chunk.index(b"OggS", second + 4) :]


def as_key(path: Path) -> BlobKey:
    """Return the key under which `local` finds this file."""
    return BlobKey(str(path))


@asynccontextmanager
async def local(key: BlobKey) -> AsyncIterator[Path]:
    """Give a file that was never stored."""
    yield Path(key)
