"""Continuous sound of any kind, by the real ffmpeg, as one stream of Opus."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from bot.audio.continuous import sound_of
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus_arriving import Stretch
from bot.audio.slicing import Slice, Slicer
from bot.demo.slicing import Slicer as OneRun
from bot.demo.slicing import speech
from bot.errors import GiveUp
from storage.records import Container, Samples
from tests.audio.test_slicing import PAGE, joined
from tests.lab import decode
from tests.studio.air import Sound, as_file, assert_aligned, pieces, spoken

SECONDS = 7.3
FORMS = {
    "wav": ("-f", "wav"),
    "flac": ("-f", "flac"),
    "opus in webm": ("-f", "webm", "-c:a", "libopus", "-b:a", "96k"),
    "vorbis": ("-f", "ogg", "-c:a", "libvorbis", "-b:a", "128k"),
    "aac": ("-f", "adts", "-c:a", "aac", "-b:a", "128k"),
    "mp3": ("-f", "mp3", "-c:a", "libmp3lame", "-b:a", "128k"),
    "mp3 without a tag": ("-f", "mp3", "-c:a", "libmp3lame", "-write_xing", "0", "-id3v2_version", "0"),
}
DELAYS = {"aac": 1024, "mp3 without a tag": 1105}
"""Samples that a decoder can't know to leave out."""
PADDING = {"mp3": 1152}
"""Samples behind the end of what can't be looked at as a whole."""


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg.find()


async def heard(ffmpeg: Ffmpeg, data: bytes, max_seconds: float = 60) -> list[Stretch]:
    async with (
        aclosing(pieces(data)) as blocks,
        aclosing(sound_of(ffmpeg, blocks, max_seconds=max_seconds)) as sound,
    ):
        return [stretch async for stretch in sound]


def sliced(stretches: list[Stretch]) -> list[Slice]:
    first, *_, last = stretches
    assert first.head is not None
    run = Slicer(1, (1, 2, 5), head=first.head.packet, page=PAGE)
    made = [piece for stretch in stretches[:-1] for piece in run.feed(stretch.packets)]
    return [*made, run.end(last.packets, last.trim)]


def played(stretches: list[Stretch]) -> Sound:
    return decode(joined(sliced(stretches)))


@pytest.mark.parametrize("form", FORMS)
async def test_sound_of_any_kind_is_encoded_once_and_stays_in_its_place(ffmpeg: Ffmpeg, form: str) -> None:
    """Sound that comes through a pipe is the same sound, at the same samples and of the same length."""
    truth = spoken(SECONDS)
    found = played(await heard(ffmpeg, await as_file(truth, *FORMS[form])))
    late = DELAYS.get(form, 0)
    assert_aligned(found[late:], truth)
    if not late:
        assert 0 <= len(found) - len(truth) <= PADDING.get(form, 0)


async def test_opus_in_ogg_is_kept_packet_by_packet(ffmpeg: Ffmpeg) -> None:
    """Packets of Opus are not decoded."""
    run = OneRun(7, 1000)
    run.feed(speech(1)[:300])
    run.end()
    found = await heard(ffmpeg, run.ogg())
    assert [packet for each in found for packet in each.packets] == list(speech(1)[:300])


async def test_two_channels_and_another_rate_are_kept_as_they_can_be(ffmpeg: Ffmpeg) -> None:
    """Stereo stays stereo, six channels become two, and any rate becomes 48 kHz."""
    truth = spoken(3)
    for channels, expected in (("1", 1), ("2", 2), ("6", 2)):
        found = await heard(ffmpeg, await as_file(truth, "-f", "wav", "-ac", channels, "-ar", "44100"))
        assert found[0].head is not None
        assert found[0].head.channels == expected


async def test_tag_with_a_picture_is_passed_over(ffmpeg: Ffmpeg) -> None:
    """An ID3 tag that is longer than what is looked at leads to its MP3."""
    mp3 = await as_file(spoken(3), *FORMS["mp3 without a tag"])
    for size in (9_000, 300_000):
        tag = b"ID3\x04\x00\x00" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0)) + bytes(size)
        assert sum(each.samples for each in await heard(ffmpeg, tag + mp3)) > 2.9 * 48_000


@pytest.mark.parametrize("data", [b"", b"short", b"#EXTM3U\nfile:///etc/passwd\n" * 3000, bytes(200_000)])
async def test_what_is_no_sound_is_refused(ffmpeg: Ffmpeg, data: bytes) -> None:
    """Nothing, text, a playlist and zeros are no sound, and are given to no program."""
    with pytest.raises(GiveUp):
        await heard(ffmpeg, data)


async def test_damaged_file_is_refused_behind_its_beginning(ffmpeg: Ffmpeg) -> None:
    """Bytes that only begin as sound does end as what can't be decoded."""
    with pytest.raises(GiveUp):
        await heard(ffmpeg, b"fLaC\x00\x00\x00\x22" + bytes(100_000))


async def test_no_more_is_put_out_than_was_asked_for(ffmpeg: Ffmpeg) -> None:
    """A source that never ends is left after so many seconds."""
    for form in ("wav", "vorbis"):
        found = await heard(ffmpeg, await as_file(spoken(20), *FORMS[form]), max_seconds=5)
        assert 5 <= sum(each.samples for each in found) / 48_000 < 7


async def test_source_that_breaks_off_gives_its_sound_so_far(ffmpeg: Ffmpeg) -> None:
    """Sound from before the break is put out, then the error is raised."""
    data = await as_file(spoken(10), *FORMS["mp3"])

    async def breaks() -> AsyncGenerator[bytes, None]:
        yield data[: len(data) // 2]
        raise ConnectionResetError

    samples = 0

    async def take() -> None:
        nonlocal samples
        async with aclosing(breaks()) as blocks, aclosing(sound_of(ffmpeg, blocks, max_seconds=60)) as sound:
            async for stretch in sound:
                samples += stretch.samples

    with pytest.raises(ConnectionResetError):
        await take()
    assert 4.5 < samples / 48_000 < 5.5


async def test_no_more_is_read_than_is_taken(ffmpeg: Ffmpeg) -> None:
    """However fast a source is, it is read no more than some seconds ahead of what is taken: it fills no memory."""
    data = await as_file(np.tile(spoken(30), 20), *FORMS["wav"])
    given = 0

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal given
        for at in range(0, len(data), 65_536):
            given += len(data[at : at + 65_536])
            yield data[at : at + 65_536]

    taken, ahead = 0, 0.0
    async with aclosing(counted()) as blocks, aclosing(sound_of(ffmpeg, blocks, max_seconds=600)) as sound:
        async for stretch in sound:
            taken += stretch.samples
            ahead = max(ahead, given / 2 / 48_000 - taken / 48_000)
    assert taken >= 600 * 48_000
    assert ahead < 200


async def test_file_in_which_ffmpeg_jumps(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """An M4A with its tables at the end is read from its file."""
    truth, file = spoken(SECONDS), tmp_path / "sound.m4a"
    wav = tmp_path / "sound.wav"
    wav.write_bytes(await as_file(truth, "-f", "wav"))
    made = await asyncio.create_subprocess_exec(
        ffmpeg.exe, "-v", "error", "-i", str(wav), "-c:a", "aac", "-b:a", "128k", str(file)
    )
    assert await made.wait() == 0
    async with aclosing(ffmpeg.to_opus(file, Container.MP4_AAC, max_seconds=60)) as sound:
        found = played([stretch async for stretch in sound])
    assert_aligned(found, truth)
    assert len(found) == Samples(len(truth))
