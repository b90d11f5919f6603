"""Pages that stay open while a recording is removed or completed: they learn of it by themselves, and the sound, the
waveform and the focus follow."""

from dataclasses import replace
from typing import Any

import pytest

from bot.recorder.erasing import erase
from storage import archive
from storage.records import ChunkState, Loss, Recording, RecordingState, Room, Visibility, to_samples
from tests.browser.chromium import PHONE, Browser, Tab
from tests.browser.conftest import Shown
from tests.browser.gallery import speech
from tests.web.world import NOW, World

pytestmark = pytest.mark.browser

NEWS_MS = 60_000
SECONDS = 60
SOUNDS = "document.querySelector('[data-audio]').currentTime > 0"
SILENT = "document.querySelector('[data-audio]').paused"
SAID = "document.querySelector('[data-bar-said]').innerText"
SLIDER = "document.querySelector('[data-wave][role=slider][tabindex=\"0\"] .wave-head')"
LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
"""Have the page look for news now, as when somebody comes back to it."""


async def add_episode(world: World, room: Room, *, loss: Loss | None = None, **changes: Any) -> Recording:
    """Add an episode of a minute."""
    recording = await world.recording(room, started_at=NOW, **changes)
    about = {"loss": loss} if loss else {}
    await world.episode(recording, speech(SECONDS), samples=to_samples(SECONDS * 1000), **about)
    return recording


async def remove(world: World, recording: Recording) -> None:
    """Remove a recording as the delete command does."""
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, state=RecordingState.DELETED))
        await erase(db, recording, NOW)


async def play(tab: Tab, code: str) -> None:
    """Play a recording, and wait until it is heard."""
    await tab.evaluate(f"document.querySelector('[data-play={code}]').click()")
    await tab.wait(SOUNDS)


async def test_the_page_of_a_removed_recording_says_so_and_falls_silent(shown: Shown, browser: Browser) -> None:
    """Somebody listens on a recording's own page while it is removed: the sound stops, and the page says why."""
    room = await shown.world.room("Removed", visibility=Visibility.PUBLIC)
    recording = await add_episode(shown.world, room, title="Regretted")
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/{recording.code}"))
        await play(tab, recording.code)
        await remove(shown.world, recording)
        await tab.wait(SILENT, NEWS_MS)
        assert "no longer available" in await tab.evaluate("document.querySelector('main').innerText")
        assert "no longer available" in await tab.evaluate(SAID)


async def test_a_removed_episode_of_a_list_falls_silent(shown: Shown, browser: Browser) -> None:
    """Somebody listens to an episode of a room's list while it is removed: the sound stops, and the player says why."""
    room = await shown.world.room("Removed from the list", visibility=Visibility.PUBLIC)
    await add_episode(shown.world, room, title="Kept")
    recording = await add_episode(shown.world, room, title="Regretted")
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/"))
        await play(tab, recording.code)
        await remove(shown.world, recording)
        await tab.evaluate(LOOK)
        await tab.wait(SILENT)
        assert "can't be had" in await tab.evaluate(SAID)
        assert await tab.evaluate("document.querySelectorAll('.rows > li').length") == 1


async def test_the_waveform_of_a_completed_recording_lives(shown: Shown, browser: Browser) -> None:
    """A missing part turns up while somebody is at the waveform: the gap goes, the slider stays one, with the focus."""
    world = shown.world
    room = await world.room("Completed", visibility=Visibility.PUBLIC)
    gap = (to_samples(20_000), to_samples(20_000))
    loss = Loss(to_samples(20_000), 1, (gap,))
    recording = await add_episode(world, room, loss=loss, title="The harvest", state=RecordingState.INCOMPLETE)
    for sequence, state in enumerate((ChunkState.STORED, ChunkState.MISSING, ChunkState.STORED), 1):
        await world.chunk(recording, sequence, state, seconds=20)
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/{recording.code}"))
        await play(tab, recording.code)
        await tab.wait("document.querySelectorAll('.wave-gap').length === 2")
        await tab.evaluate("document.querySelector('[data-wave]').focus()")
        async with world.store.write() as db:
            chunks = await archive.chunks(db, recording.id)
            stored = replace(chunks[0], state=ChunkState.STORED)
            whole = [replace(each, state=stored.state, facts=stored.facts, blob=stored.blob) for each in chunks]
            await archive.save_chunks(db, whole)
        await world.episode(recording, speech(SECONDS + 1), samples=to_samples(SECONDS * 1000))
        await world.save(replace(recording, state=RecordingState.COMPLETE))
        await tab.evaluate(LOOK)
        await tab.wait("document.querySelectorAll('.wave-gap').length === 0")
        await tab.wait(SLIDER)
        assert await tab.evaluate("document.activeElement.dataset.wave") == recording.code


async def test_news_leave_the_focus_in_the_search(shown: Shown, browser: Browser) -> None:
    """A broadcast above the search field goes while somebody types: the field keeps the focus and the text."""
    world = shown.world
    room = await world.room("Searched", visibility=Visibility.PUBLIC)
    await add_episode(world, room, title="Soup")
    live = await world.recording(room, state=RecordingState.LIVE, started_at=NOW, title="On the air")
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/?q=soup"))
        await tab.evaluate("document.querySelector('#q').focus()")
        for key in "xyz":
            await tab.press(key)
        await remove(world, live)
        await tab.evaluate("window.moves = 0; document.querySelector('#q').addEventListener('blur', () => moves++)")
        await tab.evaluate(LOOK)
        await tab.wait("!document.querySelector('.on-air')")
        assert await tab.evaluate("document.activeElement.id") == "q"
        assert await tab.evaluate("document.activeElement.value") == "xyzsoup"
        assert await tab.evaluate("moves") == 0


async def test_an_embedded_player_says_what_is_wrong(shown: Shown, browser: Browser) -> None:
    """In another site's page the player has no bar, but says that its recording was removed."""
    room = await shown.world.room("Embedded", visibility=Visibility.PUBLIC)
    recording = await add_episode(shown.world, room, title="Regretted")
    async with browser.tab(PHONE) as tab:
        await tab.visit(shown.address(f"/r/{room.key}/{recording.code}.embed"))
        await remove(shown.world, recording)
        await tab.evaluate("document.querySelector('[data-play]').click()")
        await tab.wait(f'{SAID}.includes("can\'t be had")')
        assert await tab.evaluate("document.querySelector('[data-bar-said]').getBoundingClientRect().height") > 0
        assert await tab.evaluate("document.querySelector('[data-bar] button').offsetParent") is None


async def test_the_player_shows_the_date_of_the_reader(shown: Shown, browser: Browser) -> None:
    """Beside a speaker's name as the title stands the date as the reader writes it; the artist is no date."""
    room = await shown.world.room("Dated", visibility=Visibility.PUBLIC)
    recording = await add_episode(shown.world, room)
    async with browser.tab() as tab:
        await tab.visit(shown.address(f"/r/{room.key}/"))
        await play(tab, recording.code)
        style = "new Intl.DateTimeFormat(undefined, { dateStyle: 'long' })"
        day = await tab.evaluate(f"{style}.format(new Date({NOW.isoformat()!r}))")
        assert await tab.evaluate("document.querySelector('[data-bar-who]').innerText") == day
        assert await tab.evaluate("navigator.mediaSession.metadata.artist") == "Dated"


async def test_a_player_that_gave_up_says_so(shown: Shown, browser: Browser) -> None:
    """After its last try the player does not say that it tries again."""
    async with browser.tab() as tab:
        await tab.visit(shown.address(shown.gallery.quiet))
        await tab.evaluate("""(() => {
            const { player } = news;
            const link = document.querySelector("[data-play]");
            player.load({ ...trackOf(link), source: "http://127.0.0.1:1/away.mp3" });
            player.retries = MOST_RETRIES;
            player.play();
        })()""")
        await tab.wait(f"{SAID}.includes('Press play')")
        assert not await tab.evaluate("news.player.wanted")
