"""Sounds for the leveller: the shipped speech, music, the noise of a room, and two speakers in turns."""

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bot.demo
from bot.audio.leveller import CEILING_DBTP, LevelState, apply, begin, curve
from bot.audio.limiter import limited
from bot.audio.loudness import HOP
from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE
from tests.audio.levels import loudness
from tests.world import find_ffmpeg

TARGET = -16.0


def measured(sound: Pcm) -> float:
    """Return the integrated loudness in LUFS of a sound that is no silence."""
    lufs = loudness(sound)
    assert lufs is not None
    return lufs


def at(lufs: float, sound: Pcm) -> Pcm:
    """Return the sound at this loudness."""
    return sound * np.float32(10 ** ((lufs - measured(sound)) / 20))


@cache
def voice(part: int) -> Pcm:
    """Return half a minute of one of the demo's two voices, mono."""
    path = Path(bot.demo.__file__).parent / "speech" / f"part{part}.ogg"
    form = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "pipe:")
    command = [find_ffmpeg().exe, "-v", "error", "-i", str(path), *form]
    heard = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(heard, np.float32)[:, None].copy()


def lasting(seconds: float, sound: Pcm) -> Pcm:
    """Repeat the sound."""
    return np.resize(sound, (int(seconds * SAMPLE_RATE), sound.shape[1]))


def peaky(sound: Pcm) -> Pcm:
    """Raise loud parts: 6 dB more between peaks and loudness, as in an uncompressed voice."""
    power = np.convolve(sound[:, 0] ** 2, np.ones(480, np.float32) / 480, "same")
    weights: Pcm = (power / power.max())[:, None].astype(np.float32) ** np.float32(0.35)
    return sound * weights


@cache
def room(lufs: float) -> Pcm:
    """Return a minute of the soft, steady noise of a room."""
    noise = np.convolve(np.random.default_rng(1).standard_normal(60 * SAMPLE_RATE), np.hanning(60), "same")
    return at(lufs, noise.astype(np.float32)[:, None])


def in_room(lufs: float, sound: Pcm) -> Pcm:
    return sound + np.resize(room(lufs), sound.shape)


@cache
def music(seconds: int) -> Pcm:
    """Return a chord that decays every four beats, with a drum on each beat."""
    random = np.random.default_rng(3)
    beat = SAMPLE_RATE * 60 // 100
    bar, stroke = np.arange(4 * beat) / SAMPLE_RATE, np.arange(beat // 3) / SAMPLE_RATE
    drum = np.sin(2 * np.pi * 60 * stroke) * np.exp(-30 * stroke)
    drum += 0.3 * random.standard_normal(len(stroke)) * np.exp(-80 * stroke)
    bars: list[NDArray[np.float64]] = []
    while len(bars) * len(bar) < seconds * SAMPLE_RATE:
        root = 110 * 2 ** (int(random.integers(12)) / 12)
        notes = (np.sin(2 * np.pi * root * step * bar) / k for k, step in enumerate((1, 1.26, 1.5, 2, 3), 1))
        played = 0.3 * sum(notes) * np.exp(-1.2 * bar)
        for start in range(0, len(bar), beat):
            played[start : start + len(drum)] += drum
        bars.append(played)
    return np.concatenate(bars)[: seconds * SAMPLE_RATE, None].astype(np.float32)


def _beats(seconds: int, rate: float, decay_s: float, smooth: int) -> Pcm:
    """Return noise that decays again and again, with next to nothing between."""
    random = np.random.default_rng(9)
    beat = np.exp(-np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE / decay_s)
    sound = 0.001 * random.standard_normal((seconds + 1) * SAMPLE_RATE)
    for start in random.integers(0, seconds * SAMPLE_RATE, int(seconds * rate)):
        noise = np.convolve(random.standard_normal(len(beat)), np.hanning(smooth + 2), "same")
        sound[start : start + len(beat)] += random.uniform(0.2, 1) * noise * beat
    return sound[: seconds * SAMPLE_RATE, None].astype(np.float32)


@cache
def life(kind: str) -> Pcm:
    """Return a minute of typing, steps, or passing cars."""
    if kind == "keys":
        return _beats(60, 5, 0.003, 1)
    if kind == "steps":
        return _beats(60, 2, 0.03, 100)
    swell = np.exp(1.5 * np.sin(2 * np.pi * np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE / 7))
    return room(-50) * swell[:, None].astype(np.float32)


def sparks(seconds: int, channels: int, seed: int) -> Pcm:
    """Return the worst sound for an encoder of few bits: wide noise in bursts of 5 ms of very different height."""
    length, burst = seconds * SAMPLE_RATE, SAMPLE_RATE // 200
    sound = []
    for random in map(np.random.default_rng, range(seed, seed + channels)):
        noise = random.standard_normal(length)
        sound.append(noise * (0.2 + 0.3 * np.repeat(random.lognormal(0, 1.4, length // burst + 1), burst)[:length]))
    return np.stack(sound, axis=1).astype(np.float32)


def talk_with_pauses(said: Pcm, noise: Pcm, seed: int) -> tuple[Pcm, list[tuple[slice, slice]]]:
    """Return 16 turns of a speaker and pauses of 5 to 10 s over noise, which begin and end anywhere; and the whole hops
    of each turn and of the pause behind it."""
    random = np.random.default_rng(seed)
    parts, hops, place = [], [], 0
    for _ in range(16):
        turn, pause = (int(samples) for samples in random.uniform(5, 10, 2) * SAMPLE_RATE)
        first = int(random.integers(len(said) - turn))
        parts += [said[first : first + turn], np.zeros((pause, 1), np.float32)]
        borders = [-(-at // HOP) for at in (place, place + turn, place + turn + pause)]
        hops.append((slice(*borders[:2]), slice(borders[1], borders[2] - 1)))
        place += turn + pause
    return np.concatenate(parts) + np.resize(noise, (place, 1)), hops


Turns = list[tuple[int, slice]]  # who, and which samples


def conversation(voices: Sequence[Pcm], turn_s: float, seconds: float) -> tuple[Pcm, Turns]:
    """Return speakers in turns, with 0.3 s between them."""
    sounds: list[Pcm] = []
    turns: Turns = []
    gap = np.zeros((SAMPLE_RATE * 3 // 10, 1), np.float32)
    place, length = 0, int(turn_s * SAMPLE_RATE)
    while place < seconds * SAMPLE_RATE:
        who = len(turns) % len(voices)
        said = np.arange(length) + len(turns) // len(voices) * length
        sounds += [voices[who][said % len(voices[who])], gap]
        turns.append((who, slice(place, place + length)))
        place += length + len(gap)
    return np.concatenate(sounds), turns


def levelled(
    sound: Pcm, piece_s: float, *, start_db: float | None = None, target: float | None = TARGET
) -> tuple[Pcm, NDArray[np.float64]]:
    """Level the sound in pieces, each with the state stored by the one before, and limit it; return it with the gains
    in dB, one per hop."""
    curves = _curves(sound, piece_s, start_db, target)
    parts = [apply(piece, decided, 0) for piece, decided in curves]
    return limited(np.concatenate(parts), CEILING_DBTP), _in_db(curves)


def gains_of(sound: Pcm, piece_s: float, *, start_db: float | None = None) -> NDArray[np.float64]:
    """Return the gains that `levelled` applies: to apply them and to limit the sound takes longer than to decide."""
    return _in_db(_curves(sound, piece_s, start_db, TARGET))


def _curves(
    sound: Pcm, piece_s: float, start_db: float | None, target: float | None
) -> list[tuple[Pcm, NDArray[np.int16]]]:
    """Return the pieces of a sound, each with its gains."""
    state, length = begin(start_db), int(piece_s * SAMPLE_RATE)
    curves = []
    for start in range(0, len(sound), length):
        piece = sound[start : start + length]
        decided, state = curve(piece, LevelState.from_json(state.to_json()), target)
        curves.append((piece, decided))
    return curves


def _in_db(curves: Sequence[tuple[Pcm, NDArray[np.int16]]]) -> NDArray[np.float64]:
    return np.concatenate([decided[:-1] for _, decided in curves]) / 100
