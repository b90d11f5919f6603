"""ffmpeg: how it is found, run and limited."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

import bot.audio.ffmpeg as ffmpeg_module
from bot.audio.ffmpeg import BOTH, Ffmpeg
from bot.audio.limits import Limits
from bot.audio.source import Source
from bot.errors import ConfigError, GiveUp, LimitHit
from storage.records import Container
from tests.audio.sounds import ADTS, MP3, WAV, Studio, captured, signal
from tests.world import find_ffmpeg


@pytest.fixture
def ffmpeg() -> Ffmpeg:
    """An ffmpeg that runs each time that it is asked."""
    return Ffmpeg(find_ffmpeg().exe)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


async def size(blocks: AsyncIterator[bytes]) -> int:
    return sum([len(block) async for block in blocks])


def test_found_in_the_wheel() -> None:
    """Without a setting it is the wheel's own program."""
    found = Ffmpeg.find(None)
    assert "imageio_ffmpeg" in found.exe
    assert found.version.startswith("ffmpeg version")


def test_found_by_setting(ffmpeg: Ffmpeg) -> None:
    """A setting names another program."""
    assert Ffmpeg.find(ffmpeg.exe).exe == ffmpeg.exe


def test_not_usable(tmp_path: Path) -> None:
    """A program that is not there, doesn't run, is another one or can't write MP3 is an error that names the key."""
    broken = script(tmp_path / "broken", "exit 1")
    other = script(tmp_path / "other", "echo hello")
    silent = script(tmp_path / "silent", '[ "$2" = -version ] && echo ffmpeg version 9 || echo aac')
    (tmp_path / "data").write_bytes(b"\0")
    for configured in (str(tmp_path / "absent"), str(tmp_path / "data"), broken, other, silent):
        with pytest.raises(ConfigError, match=r"^audio\.ffmpeg: "):
            Ffmpeg.find(configured)


async def test_file_names_are_names(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file name that looks like an option or an address is read as what it is."""
    for name in ("-i", "http:a", "concat:a|b", "%d", "a b'c"):
        path = tmp_path / name
        path.write_bytes(studio.record("plain", signal(4800), WAV).read_bytes())
        assert await size(ffmpeg.decode(path, Container.WAV, max_seconds=1)) == 4800 * 4


async def test_decoding_ends_at_the_bound(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """No more sound than asked for is decoded."""
    path = studio.record("a", signal(96_000), WAV)
    assert await size(ffmpeg.decode(path, Container.WAV, max_seconds=0.5)) == 24_000 * 4


async def test_refused_by_ffmpeg(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file that ffmpeg can't read is given up, not tried again."""
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))
    with pytest.raises(GiveUp) as caught:
        await size(ffmpeg.decode(path, Container.MP4_AAC, max_seconds=1))
    assert caught.value.reason == "undecodable"


async def test_time_is_earned(tmp_path: Path) -> None:
    """A decoder that works without any sound coming out may use one second of CPU, however much sound was asked for."""
    ffmpeg = Ffmpeg(script(tmp_path / "busy", "while :; do ulimit -S -t; done"))
    heard: list[bytes] = []
    with pytest.raises(LimitHit):
        await hear(ffmpeg, tmp_path / "x", Container.WAV, heard)
    assert set(b"".join(heard).split()[1:-1]) <= {b"unlimited", b"1"}


async def test_what_hit_a_limit_is_heard_whole_the_second_time(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The second try has larger limits, and each sample comes once, also those from before the limit."""
    path = studio.record("a.wav", signal(96_000), WAV)
    first = tmp_path / "first"
    text = f'mkdir {first} || exec {ffmpeg.exe} "$@"\n{ffmpeg.exe} "$@" | head -c 100000\nkill -XCPU $$'
    unlucky = Ffmpeg(script(tmp_path / "unlucky", text))
    heard = b"".join([block async for block in unlucky.decode(path, Container.WAV, max_seconds=9, tries=BOTH)])
    assert heard == studio.hear(path).tobytes()
    first.rmdir()
    with pytest.raises(LimitHit):
        await size(unlucky.decode(path, Container.WAV, max_seconds=9))
    assert Limits.decoding(100).more().cpu_s == 4 * Limits.decoding(100).cpu_s


async def test_few_at_once(tmp_path: Path) -> None:
    """Only two decode at a time."""
    now, gate = tmp_path / "now", tmp_path / "gate"
    now.mkdir()
    os.mkfifo(gate)
    text = f"mkdir {now}/$$; ls {now} | wc -l; read line < {gate}; rmdir {now}/$$"
    ffmpeg = Ffmpeg(script(tmp_path / "slow", text))
    counts: asyncio.Queue[int] = asyncio.Queue()

    async def decode() -> None:
        async for said in ffmpeg.decode(tmp_path / "x", Container.WAV, max_seconds=1):
            counts.put_nowait(int(said))

    opened = os.open(gate, os.O_RDWR)
    try:
        tasks = [asyncio.create_task(decode()) for _ in range(6)]
        async with asyncio.timeout(30):
            while len(list(now.iterdir())) < 2:  # noqa: ASYNC110  a shell tells by a folder
                await asyncio.sleep(0.01)
        os.write(opened, b"go\n" * 6)
        await asyncio.gather(*tasks)
    finally:
        os.close(opened)
    assert max(counts.get_nowait() for _ in range(6)) == 2


async def test_described(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Rate and channels are those of the sound, whatever the tags say."""
    path = studio.record(
        "a.mp3", signal(48_000), MP3, "-ar", "44100", "-ac", "2", "-metadata", "title=Audio: x, 5 Hz, mono"
    )
    assert await ffmpeg.describe(path, Container.MP3) == Source(44_100, 2)
    path.write_bytes(b"")
    assert await ffmpeg.describe(path, Container.MP3) == Source(0, 0)


async def test_described_once(studio: Studio, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was moved needs no ffmpeg to be described again; one that was written to does."""
    path = studio.record("a.wav", signal(4800), WAV)
    assert await ffmpeg.describe(path, Container.WAV) == Source(48_000, 1)
    moved = path.rename(studio.folder / "moved")
    monkeypatch.setattr(ffmpeg_module, "running", None)
    assert await ffmpeg.describe(moved, Container.WAV) == Source(48_000, 1)
    moved.write_bytes(moved.read_bytes()[:-2])
    with pytest.raises(TypeError):
        await ffmpeg.describe(moved, Container.WAV)


async def test_few_descriptions_are_kept(studio: Studio, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest description is dropped."""
    monkeypatch.setattr(ffmpeg_module, "DESCRIBED", 2)
    paths = [studio.record(f"{n}.wav", signal(4800), WAV) for n in range(3)]
    for path in paths:
        await ffmpeg.describe(path, Container.WAV)
    monkeypatch.setattr(ffmpeg_module, "running", None)
    for path in paths[1:]:
        await ffmpeg.describe(path, Container.WAV)
    with pytest.raises(TypeError):
        await ffmpeg.describe(paths[0], Container.WAV)


async def test_described_by_ffmpeg_alone(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Text of a source that imitates ffmpeg's lines doesn't change its rate."""
    lie = "x\n  Stream #0:0: Audio: opus, 8000 Hz, mono\n"
    form = ("-c:a", "flac", "-f", "matroska", "-ac", "6", "-ar", "96000", "-metadata:s:a:0", f"language={lie}")
    many = [part for n in range(5) for part in ("-metadata", f"t{n}={lie * 700}")]
    path = studio.record("a.mka", signal(48_000), form, *many)
    assert await ffmpeg.describe(path, Container.WEBM) == Source(96_000, 6)


@pytest.mark.parametrize(
    ("layout", "channels"), [("3.1", 4), ("hexagonal", 6), ("6.1", 7), ("7.1(wide)", 8), ("22.2", 24)]
)
async def test_channels_of_a_layout(layout: str, channels: int, studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Channels are counted by any name of their layout."""
    path = studio.record("a.wav", signal(4800), WAV, "-af", f"aformat=channel_layouts={layout}")
    assert (await ffmpeg.describe(path, Container.WAV)).channels == channels


async def test_sound_that_changes_on_the_way(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Sound whose channels and rates change once or twice is decoded in full, each sample once."""
    kinds = [("-ar", rate, "-ac", channels) for rate, channels in (("48000", "1"), ("48000", "2"), ("24000", "1"))]
    files = [studio.record(f"{n}.aac", signal(96_000), ADTS, *kind) for n, kind in enumerate(kinds)]
    path = studio.folder / "all.aac"
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    heard = b"".join([block async for block in ffmpeg.decode(path, Container.ADTS_AAC, max_seconds=60)])
    wanted = studio.hear(path).tobytes()
    assert len(heard) == len(wanted) >= 4 * 3 * 96_000
    assert heard[: 4 * 96_000] == wanted[: 4 * 96_000]
    assert heard[-4 * 90_000 :] == wanted[-4 * 90_000 :]
    assert await size(ffmpeg.decode(path, Container.ADTS_AAC, max_seconds=3)) == 4 * 3 * 48_000


# ---- attacks that were seen to work on plain calls

INNER = "inner.wav"
HLS = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{INNER}\n#EXT-X-ENDLIST\n"
CONCAT = f"ffconcat version 1.0\nfile {INNER}\n"
DASH = f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">
<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{INNER}</BaseURL>
</Representation></AdaptationSet></Period></MPD>"""


@pytest.mark.parametrize("text", [HLS, CONCAT, DASH])
@pytest.mark.parametrize("container", [c for c in Container if c is not Container.UNKNOWN])
async def test_playlists_are_not_followed(
    text: str, container: Container, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """A playlist or manifest that looks like sound never makes ffmpeg read another file."""
    studio.record(INNER, signal(48_000), WAV)
    path = tmp_path / "chunk.m3u8"
    path.write_text(text)
    heard: list[bytes] = []
    with pytest.raises(GiveUp):
        await hear(ffmpeg, path, container, heard)
    assert heard == []


async def hear(ffmpeg: Ffmpeg, path: Path, container: Container, heard: list[bytes]) -> None:
    async with aclosing(ffmpeg.decode(path, container, max_seconds=20_000)) as blocks:
        async for block in blocks:
            heard.append(block)  # noqa: PERF401  what came before the error counts too


async def test_matroska_that_holds_more_than_sound(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Only audio codecs that broadcasts use are decoded."""
    path = studio.record("a.mka", signal(48_000), ("-c:a", "wmav2", "-f", "matroska"))
    with pytest.raises(GiveUp):
        await size(ffmpeg.decode(path, Container.WEBM, max_seconds=10))


async def test_much_in_a_small_file(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Long silence in a small file costs no more than the sound that was asked for."""
    pad = ("-af", "apad=whole_dur=1000", "-ar", "8000", "-c:a", "flac", "-f", "flac")
    path = studio.record("bomb", signal(100), pad)
    assert await size(ffmpeg.decode(path, Container.FLAC, max_seconds=20)) == 20 * 48_000 * 4


async def test_real_chunk_under_all_limits(ffmpeg: Ffmpeg, studio: Studio) -> None:
    """Healthy sound passes unchanged."""
    chunk = captured("plain")[0].path
    assert await size(ffmpeg.decode(chunk, Container.OGG_OPUS, max_seconds=60)) == studio.hear(chunk).nbytes
