"""The leveller: speech, music, pauses and silence behind it, measured by the BS.1770 meter."""

import re
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.deciding import ENCODER_TAKES_LU
from bot.audio.leveller import HIGHEST_DB, LOWEST_DB, LevelState, apply, begin, bridge, curve, decided
from bot.audio.loudness import HOP, Meter
from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE
from tests.audio.sounds import Studio, signal
from tests.audio.voices import (
    TARGET,
    at,
    conversation,
    gains_of,
    in_room,
    lasting,
    levelled,
    life,
    measured,
    music,
    peaky,
    room,
    sparks,
    talk_with_pauses,
    voice,
)

PIECES = pytest.mark.parametrize("piece_s", [5, 120])


@PIECES
@pytest.mark.parametrize("lufs", [-44.0, -31.0, -19.0, -8.0])
def test_steady_speaker(lufs: float, piece_s: float) -> None:
    """A speaker of any loudness is at the target from the first seconds to the last."""
    speech = in_room(lufs - 35, lasting(600 if lufs == -31 else 90, at(lufs, voice(1))))
    heard, gains = levelled(speech, piece_s)
    assert measured(heard) == pytest.approx(TARGET, abs=0.3)
    assert measured(heard[: 10 * SAMPLE_RATE]) == pytest.approx(TARGET, abs=1.0)
    assert gains.std() < 0.8


@PIECES
def test_limited_speaker(piece_s: float) -> None:
    """The make-up compensates what the limiter takes from a voice of high peaks."""
    heard, _ = levelled(lasting(120, peaky(voice(2))), piece_s)
    assert measured(heard) == pytest.approx(TARGET, abs=0.5)


@PIECES
@pytest.mark.parametrize("turn_s", [5, 7.3, 20, 60])
def test_two_speakers(turn_s: float, piece_s: float) -> None:
    """Two speakers 15 dB apart are each near the target after 1.5 s of every turn, and so is the whole."""
    talk, turns = conversation((at(-20, voice(1)), at(-35, voice(2))), turn_s, 130)
    heard, _ = levelled(in_room(-65, talk), piece_s)
    assert measured(heard) == pytest.approx(TARGET, abs=1.0)
    for _, turn in turns:
        after = heard[turn.start + SAMPLE_RATE * 3 // 2 : turn.stop]
        assert measured(after) == pytest.approx(TARGET, abs=3.0)


@PIECES
@pytest.mark.parametrize("below", [20, 30, 40])
def test_pauses_stay_pauses(below: float, piece_s: float) -> None:
    """The noise of a room in pauses of a minute is not amplified, at any distance below the voice."""
    turn = np.concatenate([at(-25, voice(1))[: 20 * SAMPLE_RATE], np.zeros((60 * SAMPLE_RATE, 1), np.float32)])
    gains = gains_of(in_room(-25 - below, np.concatenate([turn, turn, turn])), piece_s)
    for start in (200, 1000, 1800):
        pause = gains[start + 20 : start + 580]
        assert pause.max() - pause.min() < 0.5
        assert pause.max() < gains[start - 150 : start].max() + 0.5


def lifted(speech: Pcm, noise: Pcm, piece_s: float) -> float:
    """Return by how many dB at most the gain rises in a pause above the turn before."""
    sound, hops = talk_with_pauses(speech, noise, seed=1)
    gains = gains_of(sound, piece_s)
    return max(float(gains[pause].max() - gains[turn][15:].max()) for turn, pause in hops[1:])


@PIECES
@pytest.mark.parametrize("below", [12, 15, 20, 25, 30])
def test_pauses_anywhere(below: float, piece_s: float) -> None:
    """The noise of a room is not amplified wherever in a second a pause begins and ends."""
    for part in (1, 2):
        assert lifted(at(-25, voice(part)), room(-25 - below), piece_s) < 2


@PIECES
@pytest.mark.parametrize("below", [16, 20, 25])
@pytest.mark.parametrize("kind", ["keys", "steps", "cars"])
def test_what_lives_in_pauses_is_not_pulled_up(kind: str, below: float, piece_s: float) -> None:
    """Typing, steps and passing cars in pauses are not taken for a softer speaker."""
    assert lifted(at(-25, voice(1)), at(-25 - below, life(kind)), piece_s) < 2


def test_minutes_of_nothing() -> None:
    """After a pause with noise, however long, the voice has its gain at once."""
    speech = at(-25, voice(1))
    sound = in_room(-60, np.concatenate([speech, np.zeros((300 * SAMPLE_RATE, 1), np.float32), speech]))
    gains = gains_of(sound, 120)
    pause = gains[len(speech) // HOP + 10 : -len(speech) // HOP - 10]
    assert pause.max() - pause.min() < 0.5
    assert gains[-100:].mean() == pytest.approx(gains[:200].mean(), abs=1.5)


@PIECES
@pytest.mark.parametrize("lufs", [-30.0, -10.0])
def test_music_does_not_pump(lufs: float, piece_s: float) -> None:
    """The gain does not follow the beat and decay of music: it moves by some 0.2 dB from beat to beat."""
    heard, gains = levelled(at(lufs, music(120)), piece_s)
    assert measured(heard) == pytest.approx(TARGET, abs=1.0)
    assert np.abs(gains[6:] - gains[:-6]).max() < 0.8
    assert np.abs(gains[6:] - gains[:-6]).mean() < 0.25
    assert gains[100:].std() < 0.5


@pytest.mark.parametrize("start_db", [None, 12.0])
def test_silence_and_noise_hold(start_db: float | None) -> None:
    """Without speech the gain holds, and sound that never counted is not amplified."""
    for sound in (np.zeros((20 * SAMPLE_RATE, 1), np.float32), room(-50)):
        gains = gains_of(sound, 5, start_db=start_db)
        assert (gains == (start_db or 0)).all()


def test_noise_before_the_first_word() -> None:
    """A broadcast that begins with the noise of a room begins softly, and its first words are at the target."""
    sound = np.concatenate([room(-50)[: 7 * SAMPLE_RATE], at(-30, voice(1))])
    heard, gains = levelled(sound, 5)
    assert gains[:50].max() == 0
    assert measured(heard[int(7.5 * SAMPLE_RATE) : 11 * SAMPLE_RATE]) == pytest.approx(TARGET, abs=2)


@pytest.mark.parametrize("off", [-12.0, 12.0])
def test_start_from_the_rooms_last_episodes(off: float) -> None:
    """The gain begins at that of the room's last episodes, and reaches a speaker of another loudness in 3 s."""
    heard, gains = levelled(lasting(60, at(-25, voice(1))), 5, start_db=9 + off)
    assert gains[0] == 9 + off
    assert measured(heard[3 * SAMPLE_RATE : 10 * SAMPLE_RATE]) == pytest.approx(TARGET, abs=1.5)


def test_bounds() -> None:
    """Sound that is far too soft or too loud is changed up to the bounds only."""
    assert gains_of(lasting(30, at(-55, voice(1))), 5).max() == HIGHEST_DB
    assert gains_of(lasting(30, at(8, voice(1))), 5).min() == LOWEST_DB


def test_stereo_is_led_as_one() -> None:
    """Both channels get the same gains, and two equal ones are as loud as one that is played on both."""
    mono = at(-30, voice(1))
    alone, _ = levelled(mono, 5)
    both, _ = levelled(np.repeat(mono, 2, axis=1), 5)
    assert np.allclose(both, alone, atol=1e-6)
    lopsided = np.concatenate([mono, 0.25 * mono], axis=1)
    heard, _ = levelled(lopsided, 5)
    assert np.allclose(heard[:, 0] * 0.25, heard[:, 1], atol=1e-6)
    assert measured(heard) == pytest.approx(TARGET, abs=0.5)


def test_joins_without_a_step() -> None:
    """A curve has one gain for each border of a hop and begins where the piece before ended."""
    state = begin(3.0)
    end = 300
    for samples in (HOP * 50, 1, HOP, HOP * 20 + 1, 0, HOP * 33 - 1):
        gains, state = curve(at(-30, voice(1))[:samples], state, TARGET)
        assert len(gains) == -(-samples // HOP) + 1
        assert gains.dtype == np.int16
        assert gains[0] == end
        end = int(gains[-1])
        assert state.gain == end


def test_state_is_small_and_comes_back() -> None:
    """The state between pieces is less than 1 kB of JSON and loses nothing."""
    state = begin(None)
    assert LevelState.from_json(state.to_json()) == state
    for piece in np.array_split(at(-40, voice(2)), 6):
        _, state = curve(piece, state, TARGET)
        assert LevelState.from_json(state.to_json()) == state
        assert len(state.to_json()) < 300


def test_same_again() -> None:
    """The same piece after the same state has the same gains, also when it was measured in blocks."""
    sound = at(-30, voice(1))
    first = curve(sound, begin(2.0), TARGET)
    again = curve(sound.copy(), begin(2.0), TARGET)
    meter = Meter()
    for part in np.array_split(sound, 7):
        meter.add(part)
    gains, counted, state = decided(meter, len(sound), begin(2.0), TARGET)
    for other in (again, (gains, state)):
        assert (first[0] == other[0]).all()
        assert first[1] == other[1]
    assert counted.any()


def test_no_target() -> None:
    """Without a target the samples stay as they are."""
    sound = voice(1)[:100_000]
    gains, state = curve(sound, begin(None), None)
    assert not gains.any()
    assert state == begin(None)
    assert apply(sound, gains, 0) is sound


def test_bridge() -> None:
    """A bent curve changes in its last second only and ends at the given gain; a short one is bent as a whole."""
    gains = np.arange(0, 500, 10).astype(np.int16)
    bent = bridge(gains, -3.0)
    assert (bent[:-10] == gains[:-10]).all()
    assert bent[-1] == -300
    assert np.abs(np.diff(bent)).max() <= 70
    assert bridge(gains[:4], 1.0).tolist() == [0, 33, 67, 100]
    assert bridge(gains[:1], 1.0).tolist() == [100]
    assert gains[-1] == 490


SOUND: Pcm = np.stack([signal(5 * HOP - 77), signal(5 * HOP - 77, 3)], axis=1)
GAINS = np.array([0, 300, -150, -150, 2999, 2990], np.int16)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=6))
def test_parts_do_not_matter(cuts: list[int]) -> None:
    """A piece in parts of any length has the same samples to the bit."""
    borders = [0, *sorted(cuts), len(SOUND)]
    parts = [apply(SOUND[a:b], GAINS, a) for a, b in pairwise(borders)]
    assert (np.concatenate(parts) == apply(SOUND, GAINS, 0)).all()


def test_gain_runs_evenly() -> None:
    """Between two borders the gain is linear in dB."""
    heard = apply(np.ones((2 * HOP, 1), np.float32), np.array([0, 600, -600], np.int16), 0)[:, 0]
    assert 20 * np.log10(heard[[0, HOP // 2, HOP, HOP * 3 // 2]]) == pytest.approx([0, 3, 6, 0], abs=1e-4)


def as_mp3(studio: Studio, sound: Pcm, kbps: int) -> tuple[float, float]:
    """Return integrated loudness and true peak of the sound as MP3, by ffmpeg."""
    source = ("-f", "f32le", "-ar", "48000", "-ac", str(sound.shape[1]), "-i", "pipe:")
    path = studio.folder / "a.mp3"
    form = ("-c:a", "libmp3lame", "-b:a", f"{kbps}k", "-reservoir", "0", "-y")
    subprocess.run([studio.exe, "-v", "error", *source, *form, str(path)], input=sound.tobytes(), check=True)
    command = [studio.exe, "-i", str(path), "-af", "ebur128=peak=true:dualmono=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stderr.decode().rpartition("Summary:")[2]
    loudness, peak = (re.search(rf"{name}:\s+(-?[\d.]+)", said) for name in ("I", "Peak"))
    assert loudness is not None
    assert peak is not None
    return float(loudness[1]), float(peak[1])


def bursts(seconds: int) -> Pcm:
    """Return a sound that is hard for an encoder of few bits: noise in syllables of very different height."""
    random = np.random.default_rng(4)
    heights = random.lognormal(0, 0.8, seconds * 5)
    heights[::7] = 0
    noise = np.convolve(random.standard_normal(seconds * SAMPLE_RATE), np.hanning(9) / 4, "same")
    return (0.05 * noise * np.repeat(heights, HOP * 2)).astype(np.float32)[:, None]


@pytest.mark.parametrize("kbps", [64, 96])
@pytest.mark.parametrize("kind", ["speech", "peaky", "music", "noise"])
def test_after_mp3(kind: str, kbps: int, studio: Studio) -> None:
    """Encoded as MP3 the sound has its loudness and no true peak above -1 dBTP."""
    sounds = {"speech": voice(2), "peaky": peaky(voice(1)), "music": music(30), "noise": bursts(30)}
    heard, _ = levelled(at(-20, sounds[kind]), 10)
    loudness, peak = as_mp3(studio, heard, kbps)
    assert peak <= -1
    assert loudness == pytest.approx(TARGET, abs=1.0)


@pytest.mark.parametrize("kbps", [64, 128])
@pytest.mark.parametrize(("channels", "seed"), [(1, 0), (1, 50), (2, 33), (2, 50)])
def test_noise_after_mp3(channels: int, seed: int, kbps: int, studio: Studio) -> None:
    """Noise as in applause and drums, which encoders make highest, stays below -1 dBTP too."""
    heard, _ = levelled(at(-20, sparks(30, channels, seed)), 20, target=TARGET + ENCODER_TAKES_LU)
    assert as_mp3(studio, heard, kbps * channels)[1] < -1
