"""Other people's source clients broadcast: Liquidsoap, ices2, and ezstream and GStreamer on libshout, as Mixxx is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bot.audio.opus_arriving import OpusArriving
from bot.web import source_work
from storage import studios
from storage.records import SAMPLE_RATE, Studio, StudioSource, StudioState
from tests.podcast_clients.conftest import needed
from tests.podcast_clients.programs import Home
from tests.studio.air import TOKEN, Sound, as_file, assert_aligned, offset, spoken
from tests.web.tower import Tower, tower_over

pytestmark = pytest.mark.podcasts

SECONDS = 12
LATEST = 5000
"""Samples by which an encoder may be late, or Liquidsoap early, which leaves out what it plays while it connects."""
LIQUIDSOAP = """
settings.init.allow_root.set(true)
settings.log.stdout.set(true)
output.icecast({form}, host="127.0.0.1", port={port}, mount="/studio/source", user="source", password="{token}",
  {more}fallible=true, on_stop={{shutdown()}}, {sound})
"""
OPUS = '%ffmpeg(format="ogg", page_duration=40000, %audio(codec="libopus", b="96k", channels=2, samplerate=48000))'
EZSTREAM = """<ezstream>
<servers><server><protocol>HTTP</protocol><hostname>127.0.0.1</hostname><port>{port}</port><user>source</user>
<password>{token}</password><tls>none</tls><reconnect_attempts>1</reconnect_attempts></server></servers>
<streams><stream><mountpoint>/studio/source</mountpoint><format>{form}</format></stream></streams>
<intakes><intake><type>file</type><filename>{file}</filename><stream_once>yes</stream_once></intake></intakes>
</ezstream>
"""
FILES = {
    "MP3": ("-f", "mp3", "-b:a", "128k", "-ar", "44100", "-write_xing", "0"),
    "Ogg": ("-f", "ogg", "-c:a", "libvorbis", "-b:a", "128k", "-ar", "44100"),
}


@pytest.fixture
async def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tower]:
    """A server that does not wait for a source that has closed its connection."""
    monkeypatch.setattr(source_work, "CLOSED_FOR_S", 0.0)
    async with tower_over(tmp_path / "data") as made:
        yield made


async def broadcast(tower: Tower, tmp_path: Path, command: Sequence[str], studio: Studio | None = None) -> Sound:
    """Run a source client to its end; return the sound of the episode."""
    studio = studio or await tower.air.studio(StudioSource.CLIENT, TOKEN)
    said = await Home(tmp_path / "home").run(*command)
    try:
        await tower.becomes(studio, StudioState.OVER)
    except TimeoutError:
        pytest.fail(said)
    await tower.air.settled()
    return await tower.air.heard(studio)


def assert_whole(found: Sound, truth: Sound) -> None:
    """Check that the sound is there in one piece: from its second second on, as late everywhere. Liquidsoap leaves out
    its first 40 ms, and the last ones, whatever server it sends to."""
    late = offset(found, truth, SAMPLE_RATE, reach=LATEST)
    assert abs(late) < LATEST
    assert len(found) > len(truth) - SAMPLE_RATE
    at = SAMPLE_RATE
    assert_aligned(found[at + late :], truth[at:])


@pytest.mark.parametrize(
    ("form", "more"),
    [
        ("%vorbis(channels=1)", ""),
        ("%mp3(bitrate=128)", 'method="put", '),
    ],
)
async def test_liquidsoap_sends_a_broadcast(tower: Tower, tmp_path: Path, form: str, more: str) -> None:
    """A file that Liquidsoap plays is an episode with each sound in its place."""
    needed("liquidsoap")
    truth, file = spoken(SECONDS), tmp_path / "show.wav"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, "-f", "wav"))
    script = await liquidsoap(tower, tmp_path, form=form, more=more, sound=f'once(single("{file}"))')
    assert_whole(await broadcast(tower, tmp_path, ("liquidsoap", str(script))), truth)


async def test_opus_of_liquidsoap_is_kept_as_it_comes(tower: Tower, tmp_path: Path) -> None:
    """With ffmpeg's encoder, as the docs have it, each packet that Liquidsoap sends is in the archive, and no other.

    It ends without the last of its encoder, for which there is silence. Its own `%opus` leaves out up to 4 KiB at the
    end of each track, and its header has players skip 80 ms, of which 73 are sound."""
    needed("liquidsoap")
    truth, file, sent = spoken(SECONDS), tmp_path / "show.wav", tmp_path / "sent.ogg"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, "-f", "wav"))
    script = await liquidsoap(
        tower,
        tmp_path,
        form=OPUS,
        more=f'format="application/ogg", method="put", chunked=true, dumpfile="{sent}", ',
        sound=f'sequence([once(single("{file}")), once(blank(duration=1.))])',
    )
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    found = await broadcast(tower, tmp_path, ("liquidsoap", str(script)), studio)
    assert_whole(found, truth)
    kept = [packet for slice_ in await slices(tower, studio) for packet in packets(slice_)]
    assert kept == packets(await asyncio.to_thread(sent.read_bytes))


async def liquidsoap(tower: Tower, tmp_path: Path, **parts: str) -> Path:
    """Write a script for Liquidsoap."""
    script = tmp_path / "show.liq"
    await asyncio.to_thread(script.write_text, LIQUIDSOAP.format(port=tower.port, token=TOKEN, **parts))
    return script


async def slices(tower: Tower, studio: Studio) -> list[bytes]:
    """Return what is stored of a studio's sound."""
    store = tower.air.bot.store
    async with store.read() as db:
        blobs = [slice_.blob for slice_ in await studios.slices_of(db, studio.id)]
    return [await store.blobs.read(blob) for blob in blobs if blob is not None]


def packets(data: bytes) -> list[bytes]:
    return [packet for stretch in OpusArriving().feed(data) for packet in stretch.packets]


@pytest.mark.parametrize("form", FILES)
async def test_libshout_sends_a_broadcast(tower: Tower, tmp_path: Path, form: str) -> None:
    """A file that ezstream sends by libshout, which asks for the way to log in first, is an episode."""
    needed("ezstream")
    truth, file, config = spoken(SECONDS), tmp_path / "show.sound", tmp_path / "ezstream.xml"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, *FILES[form]))
    await asyncio.to_thread(config.write_text, EZSTREAM.format(port=tower.port, token=TOKEN, form=form, file=file))
    await asyncio.to_thread(config.chmod, 0o600)
    assert_whole(await broadcast(tower, tmp_path, ("ezstream", "-v", "-c", str(config))), truth)


ICES = """<?xml version="1.0"?>
<ices><background>0</background><consolelog>1</consolelog><logpath>{folder}</logpath><logfile>ices.log</logfile>
<stream><input><module>playlist</module><param name="type">basic</param><param name="file">{folder}/list</param>
<param name="random">0</param><param name="once">1</param></input>
<instance><hostname>127.0.0.1</hostname><port>{port}</port><password>{token}</password><mount>/studio/source</mount>
</instance></stream></ices>
"""


async def test_ices_sends_a_broadcast(tower: Tower, tmp_path: Path) -> None:
    """A file of Vorbis that ices2 sends as it is, is an episode."""
    needed("ices2")
    truth, file, config = spoken(SECONDS), tmp_path / "show.ogg", tmp_path / "ices.xml"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, *FILES["Ogg"]))
    await asyncio.to_thread((tmp_path / "list").write_text, f"{file}\n")
    await asyncio.to_thread(config.write_text, ICES.format(folder=tmp_path, port=tower.port, token=TOKEN))
    assert_whole(await broadcast(tower, tmp_path, ("ices2", str(config))), truth)


@pytest.mark.parametrize(
    "encoder", ["opusenc bitrate=96000 ! oggmux", "vorbisenc ! oggmux", "lamemp3enc target=bitrate"]
)
async def test_gstreamer_sends_a_broadcast(tower: Tower, tmp_path: Path, encoder: str) -> None:
    """GStreamer's shout2send sends each of its formats, in real time."""
    needed("gst-launch-1.0")
    truth, file = spoken(SECONDS), tmp_path / "show.wav"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, "-f", "wav"))
    source = f"filesrc location={file} ! wavparse ! audioconvert ! audioresample ! {encoder}"
    sink = f"shout2send ip=127.0.0.1 port={tower.port} mount=studio/source username=source password={TOKEN}"
    assert_whole(await broadcast(tower, tmp_path, ("gst-launch-1.0", "-q", *f"{source} ! {sink}".split())), truth)
