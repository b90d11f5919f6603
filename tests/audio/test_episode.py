"""Episodes: exact, level, tagged, whole or not there."""

import asyncio
import hashlib
import io
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import mutagen.mp3
import numpy as np
import pytest
from mutagen.id3 import ID3

from bot.audio.episode import MadeEpisode, Stretch, place_of_sound, put_together
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.layout import layout
from bot.audio.plan import Piece, Silence, Sound, length
from bot.audio.render import Rendering
from bot.audio.tags import MAX_CHAPTERS, MOST_COVER, STEP, EpisodeTags, id3
from bot.errors import TryLater
from bot.pictures.cover import drawn_cover
from storage.records import Container, DurationMs, Mark, Samples
from tests.audio.sounds import WAV, Pcm, Studio, as_key, captured, lag, local, signal
from tests.audio.test_decode import sounds
from tests.audio.test_ffmpeg import script

MONO = Form(1, 64, None)
LEVEL = Form(1, 64, -16.0)
FLOAT = ("-c:a", "pcm_f32le", "-f", "wav")
TAGS = EpisodeTags(
    title="Ada, 20 November 2026, 14:05",
    artists=("Ada",),
    album="Räume & Träume",
    date=datetime(2026, 11, 20, 14, 5, tzinfo=UTC),
    cover=b"",
    cover_mime="image/jpeg",
)


async def make(
    pieces: Sequence[Piece],
    ffmpeg: Ffmpeg,
    folder: Path,
    *,
    tags: EpisodeTags = TAGS,
    form: Form = MONO,
) -> tuple[MadeEpisode, Path]:
    """Make all frames at once, and the file of them."""
    out = folder / "episode.mp3"
    work = folder / "work"
    await asyncio.to_thread(work.mkdir, exist_ok=True)
    rendering = Rendering(pieces, layout(pieces, form), form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=work)
    frames = work / "frames"
    made = await rendering.make(0, None, frames)
    samples = length(pieces)
    stretch = Stretch(partial(FileIO, frames), 0, made.bytes)
    episode = put_together([stretch], out, samples=samples, form=form, tags=tags)
    await asyncio.to_thread(frames.unlink)
    assert names(work) == []
    return episode, out


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wav(studio: Studio, sound: Pcm, name: str = "a.wav") -> list[Piece]:
    path = studio.record(name, sound, ("-c:a", "pcm_f32le", "-f", "wav"))
    return [Sound(as_key(path), Container.WAV, False, Samples(len(sound)))]


def heard_as(studio: Studio, path: Path) -> tuple[float, float]:
    """Return integrated loudness as dual mono in LUFS and true peak in dBTP, by ffmpeg."""
    command = [studio.exe, "-i", str(path), "-af", "ebur128=peak=true:dualmono=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stderr.decode().rpartition("Summary:")[2]
    loudness, peak = (re.search(rf"{name}:\s+(-?[\d.]+)", said) for name in ("I", "Peak"))
    assert loudness is not None
    assert peak is not None
    return float(loudness[1]), float(peak[1])


@pytest.mark.parametrize("samples", [1, 575, 1152, 48_000, 100_003])
@pytest.mark.parametrize("kbps", [32, 64, 320])
async def test_length(samples: int, kbps: int, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """An episode decodes to exactly as many samples as were joined, at any rate and length."""
    sound = signal(100_003)
    made, out = await make(wav(studio, sound[:samples]), ffmpeg, tmp_path, form=Form(1, kbps, None))
    heard = studio.hear(out)
    assert len(heard) == made.samples == samples
    assert mutagen.mp3.MP3(out).info.length == pytest.approx(samples / 48_000, abs=1e-4)
    assert mutagen.mp3.MP3(out).info.bitrate == kbps * 1000
    if samples > 50_000:
        assert lag(sound, heard, 30_000) == 0
        assert lag(sound, heard, 85_000) == 0


@pytest.mark.parametrize("name", ["plain", "kill"])
async def test_real_broadcast(name: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A real broadcast becomes an episode of its exact length and of the right level."""
    pieces = sounds(captured(name))
    made, out = await make(pieces, ffmpeg, tmp_path, form=LEVEL)
    assert len(studio.hear(out)) == made.samples == sum(piece.samples for piece in pieces)
    loudness, peak = heard_as(studio, out)
    assert loudness == pytest.approx(-16, abs=0.5)
    assert peak <= -1


async def test_what_is_told_is_what_is_there(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Size and hash are those of the file, its folder holds nothing else, and nobody else may read it."""
    made, out = await make(wav(studio, signal(20_000)), ffmpeg, tmp_path)
    data = out.read_bytes()
    assert (made.bytes, made.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert names(tmp_path) == ["a.wav", "episode.mp3", "work"]
    assert out.stat().st_mode & 0o077 == 0


async def test_the_same_again(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The same pieces give the same bytes."""
    pieces: list[Piece] = [*wav(studio, signal(60_000)), Silence(Samples(1000))]
    first, _ = await make(pieces, ffmpeg, tmp_path, form=LEVEL)
    assert await make(pieces, ffmpeg, tmp_path, form=LEVEL) == (first, tmp_path / "episode.mp3")


async def test_level_is_left_alone(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Without a target the level stays."""
    sound = 0.2 * signal(96_000)
    _, out = await make(wav(studio, sound), ffmpeg, tmp_path, form=Form(1, 320, None))
    heard = studio.hear(out)
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=0.01)


async def test_silence_stays_silence(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """Sound without loudness is not raised."""
    _, out = await make([Silence(Samples(48_000))], ffmpeg, tmp_path, form=LEVEL)
    assert np.abs(studio.hear(out)).max() < 1e-4


async def test_failure_leaves_the_old_one(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """When the encoder fails or writes too little, the existing episode stays."""
    pieces = wav(studio, signal(100_000))
    out = tmp_path / "episode.mp3"
    out.write_bytes(b"the old one")
    decode = f'case "$*" in *pipe:0*) {{}};; *) exec {ffmpeg.exe} "$@";; esac'
    empty = "cat >/dev/null; for out; do :; done; : > ${out#file:}"
    for number, does in enumerate(("exit 3", empty, "exec cat >/dev/null")):
        broken = Ffmpeg(script(tmp_path / f"broken{number}", decode.replace("{}", does)))
        with pytest.raises((TryLater, FileNotFoundError)):
            await make(pieces, broken, tmp_path)
    assert out.read_bytes() == b"the old one"
    assert not [name for name in names(tmp_path) if name.startswith(".")]


async def test_tags(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Title, names, date, cover, length and chapters are in the file as other programs read them."""
    chapters = (Mark(DurationMs(1000), "missing"), Mark(DurationMs(0), "Ada"), Mark(DurationMs(9999), "never"))
    cover = drawn_cover("Räume", "key")
    tags = EpisodeTags(TAGS.title, ("Ada",), TAGS.album, TAGS.date, cover, "image/jpeg", "A comment", chapters)
    _, out = await make(wav(studio, signal(96_000)), ffmpeg, tmp_path, tags=tags)
    read = mutagen.mp3.MP3(out).tags
    assert read.version == (2, 4, 0)
    assert [str(read[name]) for name in ("TIT2", "TPE1", "TALB", "TDRC", "TLEN")] == [
        TAGS.title,
        "Ada",
        "Räume & Träume",
        "2026-11-20 14:05:00",
        "2000",
    ]
    assert (read["APIC:"].data, read["APIC:"].mime) == (cover, "image/jpeg")
    times = [(c.start_time, c.end_time, str(c.sub_frames["TIT2"])) for c in read.getall("CHAP")]
    assert sorted(times) == [(0, 1000, "Ada"), (1000, 2000, "missing")]
    assert read["CTOC:toc"].child_element_ids == ["chp000", "chp001"]
    assert len(studio.hear(out)) == 96_000


def test_hostile_names() -> None:
    """Names of strangers become one line of bounded length without control characters."""
    tags = EpisodeTags("a\0b\nc\ud800", ("\x1b[31m",), "x" * 5000, TAGS.date, b"", "", "\u2028")
    tag = id3(tags, DurationMs(1000))
    assert b"a b c" in tag
    assert b"\x1b" not in tag
    assert len(tag.rstrip(b"\0")) < 1500


def test_the_sound_keeps_its_place_whatever_the_tag_says(tmp_path: Path) -> None:
    """Tags have one length, so files with other titles, covers and chapters differ before the sound only. A tag that
    needs more has twice that, and none becomes shorter again."""
    frames = tmp_path / "frames"
    frames.write_bytes(bytes(192 * 10))
    samples = Samples(10 * 1152 - 1105 - 528)

    def made(place: int = 0, **changes: Any) -> tuple[int, bytes]:
        out = tmp_path / "out"
        stretch = Stretch(partial(FileIO, frames), 0, 1920)
        tags = replace(TAGS, **changes)
        head = put_together([stretch], out, samples=samples, form=MONO, tags=tags, place=place).head
        return head, out.read_bytes()

    head, plain = made()
    for changes in ({"title": "x" * 900}, {"cover": bytes(MOST_COVER)}, {"chapters": (Mark(DurationMs(0), "One"),)}):
        again, data = made(**changes)
        assert (again, len(data), data[head:]) == (head, len(plain), plain[head:])
    many = tuple(Mark(DurationMs(number), "x" * 900) for number in range(MAX_CHAPTERS))
    more, data = made(chapters=many)
    assert (more - head) % STEP == 0
    assert more > head
    shrunk, data = made(place=more)
    assert (shrunk, data[shrunk:]) == (more, plain[head:])
    assert str(ID3(io.BytesIO(data))["TIT2"]) == TAGS.title
    old = len(plain[:head].rstrip(b"\0")) + 5000  # of a file without padding that had a larger picture
    kept, data = made(place=old, title="Soup")
    assert (kept, data[kept:], place_of_sound(io.BytesIO(data))) == (old, plain[head:], old)
    assert place_of_sound(io.BytesIO(plain)) == head
    moved, data = made(place=200)
    assert (moved, data) == (head, plain)


def test_names_from_right_to_left_keep_their_isolates() -> None:
    """A title in which a Hebrew name stands beside a date is written as it is, isolates too, and so is a name with
    every character that is escaped elsewhere."""
    titles = ("\u2068\u05d3\u05e0\u05d4\u2069, 20 November 2026, 14:05", 'Tom & Jerry\'s "show" <live>')
    for title in titles:
        data = id3(replace(TAGS, title=title, artists=(title,)), DurationMs(1000))
        assert [str(ID3(io.BytesIO(data))[name]) for name in ("TIT2", "TPE1")] == [title, title]


def test_several_artists() -> None:
    """Each speaker is a value of its own, as ID3v2.4 lists several artists."""
    tag = id3(EpisodeTags("t", ("Ann", "B\0en"), "a", TAGS.date, b"", ""), DurationMs(1000))
    assert ID3(io.BytesIO(tag))["TPE1"].text == ["Ann", "B en"]


def test_chapters_stand_in_the_order_of_time() -> None:
    """Chapters are in the order of time in the file too, whatever their titles: not every player reads the table of
    contents."""
    titles = ["The first has the longest title of all", "Short", "x", "Two words"]
    chapters = tuple(Mark(DurationMs(1000 * number), title) for number, title in enumerate(titles))
    tag = id3(EpisodeTags("t", ("a",), "a", TAGS.date, b"", "", "a comment", chapters), DurationMs(9000))
    places = [tag.index(f"chp{number:03}".encode(), tag.index(b"CHAP")) for number in range(len(titles))]
    assert places == sorted(places)
    assert [str(one.sub_frames["TIT2"]) for one in ID3(io.BytesIO(tag)).getall("CHAP")] == titles


def test_many_chapters() -> None:
    """Chapters beyond the most that a table of contents can count are left out."""
    chapters = tuple(Mark(DurationMs(n), "x") for n in range(300))
    tag = id3(EpisodeTags("t", ("a",), "a", TAGS.date, b"", "", None, chapters), DurationMs(1000))
    assert tag.count(b"CHAP") == MAX_CHAPTERS


async def test_stereo(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A stereo episode keeps its two channels, with twice the rate, to the sample."""
    left, right = signal(96_000), signal(96_000, seed=8)
    path = studio.record("s.wav", np.stack([left, right], axis=1).reshape(-1), FLOAT, channels=2)
    _, out = await make(
        [Sound(as_key(path), Container.WAV, False, Samples(96_000))], ffmpeg, tmp_path, form=Form(2, 64, -16.0)
    )
    info = mutagen.mp3.MP3(out).info
    assert (info.channels, info.sample_rate, info.bitrate) == (2, 48_000, 128_000)
    both = studio.hear(out, channels=2).reshape(-1, 2)
    assert len(both) == 96_000
    for wanted, heard in ((left, both[:, 0]), (right, both[:, 1])):
        assert lag(wanted, heard, 60_000) == 0
    assert heard_as(studio, out)[0] == pytest.approx(-16, abs=1)


async def test_other_rates_become_one(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """An episode is at 48 kHz, and mono where the track is, whatever its chunks are."""
    path = studio.record("s.wav", signal(44_100), WAV, "-ac", "2", "-ar", "44100")
    _, out = await make([Sound(as_key(path), Container.WAV, False, Samples(44_100))], ffmpeg, tmp_path)
    info = mutagen.mp3.MP3(out).info
    assert (info.channels, info.sample_rate) == (1, 48_000)
