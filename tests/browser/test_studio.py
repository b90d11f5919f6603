"""The page of a studio in headless Chromium, with a known microphone, before the real server, recorder, worker and
ffmpeg: what is said is live, and every sample of it is in the episode, whatever happens to network, page and server."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest

from bot.audio.ogg import OggPage, read_pages
from storage.records import Chunk, ChunkState, Recording, RecordingState, Timing, to_ms
from tests.browser.chromium import DESK, PHONE, Browser, Tab
from tests.browser.station import Desk, Station, station_of
from tests.calls_clients.sounds import SURE, likeness
from tests.lab import decode

pytestmark = pytest.mark.browser

log = logging.getLogger(__name__)

STEP_MS = 60_000
LONG_MS = 90_000
STATE = "document.querySelector('[data-studio]').dataset.state"
RECORDED = "Number(document.querySelector('[data-elapsed]').dataset.ms)"
MEMORY = "document.querySelector('[data-memory]:not([hidden])').innerText"
NETWORK = "document.querySelector('[data-network]').innerText"
AUDIBLE = "document.querySelector('[data-audio]').currentTime > 1"


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with station_of(tmp_path / "data") as running:
        yield running


@asynccontextmanager
async def studio_tab(
    browser: Browser, station: Station, desk: Desk, width: int = DESK, beside: Tab | None = None
) -> AsyncIterator[Tab]:
    """Open the page of a studio, which may use the microphone."""
    async with browser.tab(width, beside=beside, gives={station.address: ["microphone"]}) as tab:
        await tab.visit(station.address + desk.path)
        yield tab


async def go_live(tab: Tab, recorded_ms: int = 0) -> None:
    """Press the button, and wait until so much is recorded."""
    await tab.wait(f"{STATE} === 'ready'")
    await tab.click("[data-do=go]")
    await tab.wait(f"{STATE} === 'live'", STEP_MS)
    await until_recorded(tab, recorded_ms)


async def until_recorded(tab: Tab, ms: float) -> None:
    await tab.wait(f"{RECORDED} >= {ms}", LONG_MS)


async def end(tab: Tab) -> float:
    """End the broadcast, wait until everything is sent, and return how much was recorded in milliseconds."""
    await tab.click("[data-do=stop]")
    await tab.wait("document.querySelector('[data-question]').open")
    await tab.click("[data-question] [value=stop]")
    await tab.wait(f"{STATE} === 'ended'")
    await tab.wait(f"{NETWORK} === 'Everything is sent.'", LONG_MS)
    recorded: float = await tab.evaluate(RECORDED)
    return recorded


def pages_of(piece: bytes) -> list[OggPage]:
    return list(read_pages(BytesIO(piece)))


def runs_of(slices: list[bytes]) -> list[list[OggPage]]:
    """Return the pages of sound of each take, in their order."""
    runs: dict[int, list[OggPage]] = {}
    for piece in slices:
        for page in pages_of(piece)[2:]:
            runs.setdefault(page.serial, []).append(page)
    return list(runs.values())


async def assert_whole(station: Station, desk: Desk, recorded_ms: float, takes: int = 1) -> tuple[Recording, bytes]:
    """Check that the episode has everything that the page recorded, joined to the sample; return it with its sound."""
    recording, chunks, episode = await station.finished(desk)
    assert (recording.state, {chunk.state for chunk in chunks}) == (RecordingState.COMPLETE, {ChunkState.STORED})
    runs = runs_of(await station.slices(chunks))
    assert len(runs) == takes
    for pages in runs:  # no page is missing
        assert [page.number for page in pages] == list(range(2, len(pages) + 2))
    assert_joined(chunks)
    assert abs(to_ms(episode.samples) - recorded_ms) < 50 * takes  # of each take its encoder's delay is cut
    return recording, await station.world.store.blobs.read(episode.blob)


def assert_joined(chunks: tuple[Chunk, ...]) -> None:
    """Check that each slice's length is known to the sample."""
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {chunk.facts.timing for chunk in chunks if chunk.facts} == {Timing.EXACT}


async def test_a_speaker_goes_live_is_heard_and_ends(speaking_browser: Browser, station: Station) -> None:
    """A button, and it is live; what is said is heard on the room's page, and is the episode."""
    desk = await station.open_studio()
    room = f"{station.address}/r/{(await station.room()).key}/"
    async with speaking_browser.tab() as listener, studio_tab(speaking_browser, station, desk, PHONE) as tab:
        await listener.visit(room)
        await tab.front()
        await tab.wait(f"{STATE} === 'ready'")
        await tab.click("[data-plain]")  # else the browser changes the wave
        await tab.wait("!document.querySelector('[data-meter]').hidden")
        pressed = time.monotonic()
        await tab.click("[data-do=go]")

        async def live() -> bool | None:
            recording = await station.recording(desk)
            return True if recording is not None and recording.state is RecordingState.LIVE else None

        assert await station.until(live)
        log.info("button to live: %.2f s", time.monotonic() - pressed)
        await tab.wait(f"{STATE} === 'live'")
        await until_recorded(tab, 20_000)
        await listener.front()
        await listener.wait("document.querySelector('.on-air.is-live [data-live-play]')", STEP_MS)
        await listener.evaluate("document.querySelector('[data-live-play]').click()")
        await listener.wait(AUDIBLE, STEP_MS)
        await tab.front()
        recorded = await end(tab)
        _, sound = await assert_whole(station, desk, recorded)
        assert await tab.evaluate("document.querySelector('[data-page]').href.includes('/r/')")
        assert await tab.faults() == []
    assert likeness(decode(sound), 1) > SURE


async def test_a_pause_is_cut_and_begins_a_chapter(speaking_browser: Browser, station: Station) -> None:
    """Pause, mute, go on, end: two takes whose numbers run on, without the pause."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 4_000)
        await tab.click("[data-do=pause]")
        await tab.wait(f"{STATE} === 'paused'")
        await tab.click("[data-do=on]")
        await tab.wait(f"{STATE} === 'live'")
        await tab.click("[data-do=mute]")
        await tab.wait("!document.querySelector('[data-muted]').hidden")
        await tab.click("[data-do=mute]")
        await until_recorded(tab, 9_000)
        await assert_whole(station, desk, await end(tab), takes=2)


async def test_a_network_that_is_away_for_half_a_minute_loses_nothing(
    speaking_browser: Browser, station: Station
) -> None:
    """The page says what waits, sends it in order once the network is back, and the episode has all of it."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 3_000)
        await tab.network(there=False)
        before = await tab.evaluate(RECORDED)
        await until_recorded(tab, before + 30_000)
        assert "No connection" in await tab.evaluate(NETWORK)
        assert await tab.evaluate(STATE) == "live"
        await tab.network(there=True)
        await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)
        await assert_whole(station, desk, await end(tab))


async def test_a_broadcast_can_be_begun_and_ended_without_a_network(
    speaking_browser: Browser, station: Station
) -> None:
    """A page that is open goes live and ends while nothing can be sent: all of it is told and sent later."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.network(there=False)
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'starting'")
        await until_recorded(tab, 4_000)
        await tab.click("[data-do=stop]")
        await tab.wait("document.querySelector('[data-question]').open")
        await tab.click("[data-question] [value=stop]")
        await tab.wait(f"{STATE} === 'ended'")
        await tab.network(there=True)
        await tab.wait(f"{NETWORK} === 'Everything is sent.'", STEP_MS)
        await assert_whole(station, desk, await tab.evaluate(RECORDED))


async def test_a_page_that_is_reloaded_goes_on(speaking_browser: Browser, station: Station) -> None:
    """A reload in the middle of a slice: the page closes it, sends what waits, and goes on by itself."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 4_500)
        before = await tab.evaluate(RECORDED)
        await tab.reload()
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        assert await tab.evaluate(RECORDED) >= before
        await until_recorded(tab, before + 4_000)
        await assert_whole(station, desk, await end(tab), takes=2)


async def test_a_tab_that_was_killed_is_opened_again(speaking_browser: Browser, station: Station) -> None:
    """A tab that dies while nothing can be sent leaves its sound in the browser; opened again, the page goes on."""
    desk = await station.open_studio()
    async with speaking_browser.tab() as other:  # has the same storage, and keeps it
        async with studio_tab(speaking_browser, station, desk, beside=other) as tab:
            await go_live(tab, 2_000)
            await tab.network(there=False)
            await until_recorded(tab, 12_000)
            await tab.close()
        async with studio_tab(speaking_browser, station, desk, beside=other) as tab:
            await tab.wait(f"{STATE} === 'live'", STEP_MS)
            await until_recorded(tab, 15_000)
            await assert_whole(station, desk, await end(tab), takes=2)


async def test_a_server_that_starts_again_gets_what_waited(speaking_browser: Browser, station: Station) -> None:
    """While the server is away the page keeps the sound and says so; afterwards nothing is missing."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 3_000)
        await station.stop()
        await until_recorded(tab, 12_000)
        await tab.wait(f"{NETWORK}.includes('kept in this browser')")
        await station.start_again()
        await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)
        await assert_whole(station, desk, await end(tab))


async def test_a_browser_that_keeps_nothing_broadcasts_from_memory(speaking_browser: Browser, station: Station) -> None:
    """A page that is refused IndexedDB, as in private windows, says so and sends all the same."""
    desk = await station.open_studio()
    async with speaking_browser.tab(gives={station.address: ["microphone"]}) as tab:
        await tab.prepare("indexedDB.open = () => { throw new DOMException('', 'InvalidStateError'); };")
        await tab.visit(station.address + desk.path)
        await go_live(tab, 4_000)
        assert "keeps nothing" in await tab.evaluate(MEMORY)
        await assert_whole(station, desk, await end(tab))


async def test_a_storage_that_is_full_loses_nothing(speaking_browser: Browser, station: Station) -> None:
    """When nothing more can be stored the page says so, goes on from memory, and everything is sent in order."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 1_500)
        await tab.evaluate(
            """IDBObjectStore.prototype.put = () => { throw new DOMException("", "QuotaExceededError"); }"""
        )
        await until_recorded(tab, 8_000)
        assert "storage is full" in await tab.evaluate(MEMORY)
        await assert_whole(station, desk, await end(tab))


async def test_a_connection_to_the_storage_that_is_closed_loses_nothing(
    speaking_browser: Browser, station: Station
) -> None:
    """A browser may close the database of a page in the background: what is in it is read and sent all the same."""
    desk = await station.open_studio()
    async with speaking_browser.tab(gives={station.address: ["microphone"]}) as tab:
        await tab.prepare(
            """const open = indexedDB.open.bind(indexedDB);
            indexedDB.open = (...about) => {
                const request = open(...about);
                request.addEventListener("success", () => { window.database = request.result; });
                return request;
            };"""
        )
        await tab.visit(station.address + desk.path)
        await go_live(tab, 3_000)
        await tab.network(there=False)
        await until_recorded(tab, 9_000)
        await tab.evaluate("window.database.close()")
        await until_recorded(tab, 12_000)
        await tab.network(there=True)
        await assert_whole(station, desk, await end(tab))


KEPT = """(async () => {
    const request = indexedDB.open("aircheck-studio", 1);
    await new Promise((opened) => { request.onsuccess = opened; });
    const transaction = request.result.transaction(["studios", "parts"], "readwrite");
    const [studios, parts] = ["studios", "parts"].map((name) => transaction.objectStore(name));
    %s
    const [one, other] = [studios.getAllKeys(), parts.getAllKeys()];
    await new Promise((done) => { transaction.oncomplete = done; });
    request.result.close();
    return [one.result.length, other.result.map(([studio]) => studio)];
})()"""
LEFT = """for (const [studio, days] of [["old", 4], ["new", 2]]) {
    studios.put({ studio, openedAt: Date.now() - days * 86400000 });
    parts.put({ studio, number: 1, part: 0, bytes: new Uint8Array(9), ms: 9, ends: true });
}"""


async def test_sound_that_nobody_came_back_for_is_forgotten(speaking_browser: Browser, station: Station) -> None:
    """Sound of a studio that was not opened for days goes when another one is, and nothing else."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        assert await tab.evaluate(KEPT % LEFT) == [3, ["new", "old"]]
        await tab.reload()
        await tab.wait(f"{STATE} === 'ready'")
        assert await tab.evaluate(KEPT % "") == [2, ["new"]]


async def test_the_screen_stays_awake_while_somebody_broadcasts(speaking_browser: Browser, station: Station) -> None:
    """The page holds the screen awake while it records, and lets go of it in a pause."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.evaluate(
            """navigator.wakeLock.request = async () => {
                window.awake = true;
                return { released: false, release: async () => { window.awake = false; } };
            }"""
        )
        await go_live(tab)
        await tab.wait("window.awake === true")
        await tab.click("[data-do=pause]")
        await tab.wait("window.awake === false")
        await tab.click("[data-do=stop]")
        await tab.wait("document.querySelector('[data-question]').open")
        await tab.click("[data-question] [value=stop]")
        await tab.wait(f"{STATE} === 'ended'")


async def test_a_second_tab_says_so_and_can_take_over(speaking_browser: Browser, station: Station) -> None:
    """Only one tab broadcasts: another says so, takes over when asked, and the first one says so then."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as first:
        await go_live(first, 3_000)
        async with studio_tab(speaking_browser, station, desk, beside=first) as second:
            await second.wait(f"{STATE} === 'tab'")
            assert "another tab" in await second.evaluate("document.querySelector('h1').innerText")
            await second.click("[data-do=here]")
            await second.wait(f"{STATE} === 'interrupted'")
            assert await first.evaluate(STATE) == "tab"
            await second.click("[data-do=on]")
            await second.wait(f"{STATE} === 'live'")
            await until_recorded(second, 7_000)
            await assert_whole(station, desk, await end(second), takes=2)


async def test_another_device_says_that_it_runs_elsewhere(speaking_browser: Browser, station: Station) -> None:
    """A browser with a storage of its own can neither go on with the broadcast nor end it."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab)
        async with studio_tab(speaking_browser, station, desk, PHONE) as other:
            await other.wait(f"{STATE} === 'device'")
            assert not await other.evaluate("[...document.querySelectorAll('[data-do]')].some(key => !key.hidden)")
        await end(tab)


async def test_a_room_that_takes_the_right_away_ends_it(speaking_browser: Browser, station: Station) -> None:
    """When studios are switched off the page stops recording and says that it was not its speaker who ended it."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await go_live(tab, 2_000)
        await station.change_room(studio=False)
        await tab.wait(f"{STATE} === 'closed-by-room'", STEP_MS)
        assert "Not on this page" in await tab.evaluate("document.querySelector('[data-tell]').innerText")


async def test_a_title_a_description_and_a_picture_are_the_episodes(
    speaking_browser: Browser, station: Station, tmp_path: Path
) -> None:
    """Texts that are typed before, and changed while the broadcast runs, reach the recording, as the picture does."""
    desk = await station.open_studio()
    picture = tmp_path / "picture.png"
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.picture(picture)
        await tab.click("#studio-title")
        await tab.type("Soup")
        await go_live(tab, 2_000)
        await tab.choose("[data-cover]", picture)
        await tab.wait("document.querySelector('[data-cover-said]').innerText === 'The picture is saved.'", STEP_MS)
        await tab.click("#studio-title")
        await tab.press("End")
        await tab.type(" for forty")
        await tab.press("Enter")
        await tab.wait("document.querySelector('[data-texts-said]').innerText === 'Saved.'")
        recording, _ = await assert_whole(station, desk, await end(tab))
    assert recording.title == "Soup for forty"
    assert (await station.studio(desk)).cover is not None


async def test_a_rehearsal_is_heard_by_its_speaker_alone(speaking_browser: Browser, station: Station) -> None:
    """Some seconds are recorded and played back; the server gets nothing."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.click("[data-do=rehearse]")
        await tab.wait(f"{STATE} === 'rehearsing'")
        await tab.click("[data-do=listen]")
        await tab.wait(f"{STATE} === 'rehearsed'")
        await tab.wait("document.querySelector('[data-playback]').currentTime > 0")
        assert await tab.faults() == []
    assert await station.recording(desk) is None
