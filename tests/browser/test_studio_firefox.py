"""The page of a studio in headless Firefox, whose microphone gives a tone: each take has it without a break, though the
server is away, the page is loaded again and the browser is killed in the middle."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from bot.audio.ogg import read_pages, write_page
from storage import archive
from storage.records import SAMPLE_RATE, Recording
from tests.browser.chromium import Browser, Tab
from tests.browser.firefox import FIREFOX, REFUSED, TONE_HZ, firefox
from tests.browser.station import Desk, Station
from tests.browser.test_studio import (
    MEMORY,
    NETWORK,
    RECORDED,
    STATE,
    STEP_MS,
    assert_whole,
    end,
    go_live,
    station,
    until_recorded,
)
from tests.calls_clients.sounds import Pcm
from tests.lab import decode

__all__ = ["station"]  # a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(FIREFOX is None, reason="Firefox is not installed"),
]

DEVICES = "[...document.querySelector('[data-devices]').options]"
COUNTED = "window.questions = 0; navigator.storage.persist = async () => { window.questions += 1; }"
"""Counts what Firefox would ask the speaker, beside whether the page may use the microphone."""
TELL = "document.querySelector('[data-tell]').innerText"
WINDOW = 960  # samples, of 20 ms
STEADY = 0.3  # radians by which neighbouring windows may differ: 32 samples
LOUD = 0.01


def breaks(sound: Pcm) -> list[float]:
    """Return the seconds at which the tone does not go on with its phase: something is missing, or was put in.

    Silence of its true length is no break."""
    windows = sound[: len(sound) // WINDOW * WINDOW].astype(np.float64).reshape(-1, WINDOW)
    at = np.arange(windows.size).reshape(windows.shape)
    phasors = (windows * np.hanning(WINDOW) * np.exp(-2j * np.pi * TONE_HZ / SAMPLE_RATE * at)).mean(axis=1)
    loud = np.flatnonzero(np.abs(phasors) > LOUD)
    turned = np.abs(np.angle(phasors[loud[1:]] * np.conj(phasors[loud[:-1]])))
    found: list[float] = [round(float(number) * WINDOW / SAMPLE_RATE, 2) for number in loud[1:][turned > STEADY]]
    return found


def leveled(words: str) -> str:
    """Return the condition that the meter says this, or nothing, as in Firefox without a loudspeaker."""
    words_here = "document.querySelector('[data-level-words]').innerText"
    return f"document.querySelector('[data-meter]').hidden || {words_here} === {words!r}"


def takes_of(slices: Iterable[bytes]) -> list[bytes]:
    """Return the takes as files of their own: the slices of one without the copies of its head."""
    takes: dict[int, bytearray] = {}
    for piece in slices:
        head, tags, *sound = read_pages(BytesIO(piece))
        take = takes.setdefault(head.serial, bytearray(write_page(head) + write_page(tags)))
        for page in sound:
            take += write_page(page)
    return [bytes(take) for take in takes.values()]


class Fox:
    """A Firefox with one profile, which starts when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = AsyncExitStack()
        self._browser: Browser | None = None

    @asynccontextmanager
    async def studio(self, station: Station, desk: Desk) -> AsyncIterator[Tab]:
        """Open the page of a studio."""
        if self._browser is None:
            running = firefox(self._folder, self._folder / "profile")
            self._browser = await self._running.enter_async_context(running)
        async with self._browser.tab() as tab:
            await tab.visit(station.address + desk.path)
            yield tab

    async def kill(self) -> None:
        assert self._browser is not None
        await self._browser.kill()
        await self.close()

    async def close(self) -> None:
        self._browser = None
        await self._running.aclose()


@pytest.fixture(scope="module")
async def fox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fox]:
    made = Fox(tmp_path_factory.mktemp("firefox"))
    try:
        yield made
    finally:
        await made.close()


async def assert_tone(station: Station, desk: Desk, recorded_ms: float, takes: int) -> Recording:
    """Check that the episode is whole, and that each take has the microphone's tone without a break."""
    recording, sound = await assert_whole(station, desk, recorded_ms, takes)
    async with station.world.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
    parts = takes_of(await station.slices(chunks))
    assert [breaks(await asyncio.to_thread(decode, part)) for part in parts] == [[]] * takes
    assert len(breaks(await asyncio.to_thread(decode, sound))) <= 2 * (takes - 1)  # a window may have both sides
    return recording


async def test_a_speaker_tries_goes_live_pauses_and_ends(fox: Fox, station: Station, tmp_path: Path) -> None:
    """Meter, rehearsal, texts, picture, mute, pause and end do what they say; what was said is the episode."""
    desk = await station.open_studio()
    picture = tmp_path / "picture.png"
    async with fox.studio(station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.wait(leveled("Good level."))
        await tab.wait(f"{DEVICES}.some((option) => option.text && option.value && option.selected)")
        await tab.evaluate(COUNTED)
        await tab.picture(picture)
        await tab.click("[data-do=rehearse]")
        await tab.wait(f"{STATE} === 'rehearsing'")
        await tab.click("[data-do=listen]")
        await tab.wait(f"{STATE} === 'rehearsed'")
        await tab.wait("document.querySelector('[data-playback]').currentTime > 0")
        assert await station.recording(desk) is None
        await tab.click("#studio-title")
        await tab.type("Soup")
        await tab.click("[data-plain]")
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        await tab.choose("[data-cover]", picture)
        await tab.wait("document.querySelector('[data-cover-said]').innerText === 'The picture is saved.'", STEP_MS)
        await until_recorded(tab, 4_000)
        await tab.click("[data-do=mute]")
        await tab.wait("!document.querySelector('[data-muted]').hidden")
        await tab.wait(leveled("Muted: the room hears silence."))
        muted = await tab.evaluate(RECORDED)
        await until_recorded(tab, muted + 1_000)
        await tab.click("[data-do=mute]")
        await tab.wait(leveled("Good level."))
        await tab.click("[data-do=pause]")
        await tab.wait(f"{STATE} === 'paused'")
        before = await tab.evaluate(RECORDED)
        await tab.click("[data-do=on]")
        await tab.wait(f"{STATE} === 'live'")
        await tab.click("#studio-title")
        await tab.press("End")
        await tab.type(" for forty")
        await tab.press("Enter")
        await tab.wait("document.querySelector('[data-texts-said]').innerText === 'Saved.'")
        await until_recorded(tab, before + 3_000)
        await tab.click("[data-do=stop]")
        await tab.wait("document.querySelector('[data-question]').open")
        await tab.click("[data-question] [value='']")
        await tab.wait("!document.querySelector('[data-question]').open")
        assert await tab.evaluate(STATE) == "live"
        recorded = await end(tab)
        assert await tab.faults() == []
        assert await tab.evaluate("window.questions") == 0
        recording = await assert_tone(station, desk, recorded, takes=2)
    assert recording.title == "Soup for forty"
    assert (await station.studio(desk)).cover is not None


async def test_nothing_is_lost_with_the_server_a_page_or_the_browser(fox: Fox, station: Station) -> None:
    """The server is away for half a minute, the page is loaded again, the browser is killed and started again: the page
    goes on by itself each time, and the episode is whole."""
    desk = await station.open_studio()
    async with fox.studio(station, desk) as tab:
        await go_live(tab, 3_000)
        await station.stop()
        before = await tab.evaluate(RECORDED)
        await until_recorded(tab, before + 30_000)
        assert "are kept in this browser" in await tab.evaluate(NETWORK)
        assert await tab.evaluate(STATE) == "live"
        await station.start_again()
        await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)

        before = await tab.evaluate(RECORDED)
        await tab.reload()
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        assert await tab.evaluate(RECORDED) >= before
        await until_recorded(tab, before + 4_000)

        await station.stop()
        before = await tab.evaluate(RECORDED)
        await until_recorded(tab, before + 7_000)
        before = await tab.evaluate(RECORDED)
        await fox.kill()
    await station.start_again()
    async with fox.studio(station, desk) as tab:
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        recorded = await tab.evaluate(RECORDED)
        assert recorded >= before - 1_000
        await until_recorded(tab, recorded + 3_000)
        await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)
        assert not await tab.evaluate(f"Boolean({MEMORY.removesuffix('.innerText')})")
        await assert_tone(station, desk, await end(tab), takes=3)


async def test_a_microphone_that_is_refused_is_said_so(station: Station, tmp_path: Path) -> None:
    """The page says what to do, and is not stuck."""
    desk = await station.open_studio()
    async with firefox(tmp_path, tmp_path / "profile", microphone=REFUSED) as browser, browser.tab() as tab:
        await tab.visit(station.address + desk.path)
        await tab.wait(f"{STATE} === 'ready'")
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'refused'")
        assert "in the browser's settings" in await tab.evaluate(TELL)
        await tab.click("[data-do=retry]")
        await tab.wait(f"{STATE} === 'refused'")
        assert await tab.faults() == []
    assert await station.recording(desk) is None
