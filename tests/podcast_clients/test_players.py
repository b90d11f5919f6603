"""mpv plays what a room publishes: an episode, and both streams of what is live."""

import asyncio
from pathlib import Path

import pytest

from tests.podcast_clients.conftest import needed
from tests.podcast_clients.programs import Mpv
from tests.podcast_clients.station import Station

pytestmark = pytest.mark.podcasts


@pytest.fixture
def mpv(tmp_path: Path) -> Mpv:
    needed("mpv")
    return Mpv(tmp_path / "home")


async def test_mpv_plays_an_episode_to_its_end(station: Station, mpv: Mpv) -> None:
    """An episode is played from a place in it to its end."""
    room = await station.room()
    feed = await station.publish(room)
    episode = await station.broadcast(room, 12)
    said = await mpv.play(f"{feed.removesuffix('feed.xml')}{episode.recording.code}.mp3", "--start=10")
    assert "End of file" in said
    assert "mp3" in said


@pytest.mark.parametrize("ending", [".m3u8", "-live.mp3"])
async def test_mpv_plays_what_is_live(station: Station, mpv: Mpv, ending: str) -> None:
    """A stream that goes on is played: HLS from the playlist, MP3 without end."""
    room = await station.room()
    feed = await station.publish(room)
    live = await station.go_live(room, 8)
    code = (await station.replay.recording(live.started.event_id)).code
    playing = asyncio.create_task(mpv.play(f"{feed.removesuffix('feed.xml')}{code}{ending}", "--length=1"))
    await station.gate.reached(ending)
    for _ in range(3):  # the stream is sent as it is spoken
        await station.speak(live, 6)
        await station.replay.pass_by(6)
    said = await playing
    assert "Exiting... (End of file)" in said
    assert "AO:" in said
