"""Other people's source clients broadcast: Liquidsoap, and ezstream on libshout, as Mixxx is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bot.web import source_work
from storage.records import SAMPLE_RATE, StudioSource, StudioState
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
  {more}fallible=true, on_stop={{shutdown()}}, once(single("{file}")))
"""
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


async def broadcast(tower: Tower, tmp_path: Path, command: Sequence[str]) -> Sound:
    """Run a source client to its end; return the sound of the episode."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
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
    truth, file, script = spoken(SECONDS), tmp_path / "show.wav", tmp_path / "show.liq"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, "-f", "wav"))
    await asyncio.to_thread(
        script.write_text, LIQUIDSOAP.format(form=form, port=tower.port, token=TOKEN, more=more, file=file)
    )
    assert_whole(await broadcast(tower, tmp_path, ("liquidsoap", str(script))), truth)


@pytest.mark.parametrize("form", FILES)
async def test_libshout_sends_a_broadcast(tower: Tower, tmp_path: Path, form: str) -> None:
    """A file that ezstream sends by libshout, which asks for the way to log in first, is an episode."""
    needed("ezstream")
    truth, file, config = spoken(SECONDS), tmp_path / "show.sound", tmp_path / "ezstream.xml"
    await asyncio.to_thread(file.write_bytes, await as_file(truth, *FILES[form]))
    await asyncio.to_thread(config.write_text, EZSTREAM.format(port=tower.port, token=TOKEN, form=form, file=file))
    await asyncio.to_thread(config.chmod, 0o600)
    assert_whole(await broadcast(tower, tmp_path, ("ezstream", "-v", "-c", str(config))), truth)
