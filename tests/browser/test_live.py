"""A broadcast on a page that was open before anybody spoke: it begins, plays, and becomes the episode, by itself."""

from datetime import UTC, datetime

import pytest

from storage.records import RecordingState, Visibility
from tests.browser.chromium import Browser
from tests.browser.conftest import Shown
from tests.browser.gallery import speech
from tests.web.on_the_air import FRAME_BYTES, Broadcast

pytestmark = pytest.mark.browser

NEWS_MS = 60_000
SECONDS = 30
ROW = "[...document.querySelectorAll('.rows a')].some(link => link.innerText.includes('The bell'))"


async def test_an_open_page_follows_a_broadcast(shown: Shown, browser: Browser) -> None:
    """The page says that somebody is live, plays it, and has the episode in its list at the end, without a load."""
    world = shown.world
    room = await world.room("Bell tower", visibility=Visibility.PUBLIC)
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/"))
        await tab.evaluate("window.openSince = performance.now()")
        assert not await tab.evaluate("document.querySelector('[data-live]')")
        world.clock.now = datetime.now(UTC)
        recording = await world.recording(
            room, state=RecordingState.LIVE, started_at=world.clock.now, title="The bell", public=True
        )
        on_the_air = Broadcast(world, recording)
        frames = speech(SECONDS)
        await on_the_air.speak(len(frames) // FRAME_BYTES, frames)
        world.clock.pass_by(SECONDS)  # sound is handed out as it was spoken
        await tab.wait("document.querySelector('.on-air.is-live [data-live-play]')", NEWS_MS)
        await tab.evaluate("document.querySelector('[data-live-play]').click()")
        await tab.wait("document.querySelector('[data-bar].is-live [data-do=toggle].is-on:not(.is-busy)')", NEWS_MS)
        await on_the_air.end()
        await tab.wait("!document.querySelector('.on-air.is-live')", NEWS_MS)
        await tab.wait(ROW, NEWS_MS)
        await tab.wait("news.player.source?.over")
        place = await tab.evaluate("news.player.pause() ?? news.player.at")
        await tab.wait("!news.player.track.live && news.player.audio.readyState > 0")
        assert place > 0
        assert abs(await tab.evaluate("news.player.at") - place) < 1
        assert await tab.evaluate("window.openSince") is not None
        assert [fault for fault in await tab.faults() if "waveform.json" not in fault] == []  # there is none here
