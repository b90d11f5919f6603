"""The page of a studio in each of its states: with axe-core, on a phone and at a desk, light and dark, by keyboard,
without scripts; and its pure modules, in Node."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.recording.kinds import lay_out
from bot.studio import writing
from bot.studio.life import Problem
from bot.studio.writing import StudioRefusedError
from storage.records import SAMPLE_RATE, ChunkState, Visibility
from tests.browser.chromium import DESK, INSECURE, PHONE, ZOOMED, Browser, Tab
from tests.browser.station import Station, station_of
from tests.browser.test_keyboard import FOCUS
from tests.browser.test_studio import (
    NETWORK,
    RECORDED,
    STATE,
    STEP_MS,
    assert_whole,
    end,
    go_live,
    studio_tab,
    until_recorded,
)

pytestmark = pytest.mark.browser

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
KEYS = "[...document.querySelectorAll('[data-do]')].filter((key) => !key.hidden).map((key) => key.dataset.do)"
ANY_KEY = "[...document.querySelectorAll('[data-do]')].some((key) => !key.hidden)"
SAID = "document.querySelector('[data-announce]').innerText"


@pytest.fixture(scope="module")
async def station(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Station]:
    async with station_of(tmp_path_factory.mktemp("studio") / "data") as running:
        yield running


async def assert_good(tab: Tab) -> None:
    assert await tab.axe() == []
    assert await tab.evaluate(SIDEWAYS) <= 0
    assert await tab.faults() == []


async def test_modules_without_a_page(tmp_path: Path) -> None:
    """Modules that need no browser are tested in Node: numbers, order, answers, words."""
    files = sorted((Path(__file__).parent / "studio").glob("*.test.mjs"))
    process = await asyncio.create_subprocess_exec(
        "node", "--test", *map(str, files), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-4000:]
    assert re.search(r"# pass [1-9]", out.decode())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK, ZOOMED])
async def test_a_broadcast_from_state_to_state(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """axe-core finds nothing, the console is silent and nothing scrolls sideways in any state of a broadcast."""
    desk = await station.open_studio()
    gives = {station.address: ["microphone"]}
    async with speaking_browser.tab(width, scheme, gives=gives) as tab:
        await tab.visit(station.address + desk.path)
        await tab.wait(f"{STATE} === 'ready' && !document.querySelector('[data-meter]').hidden")
        await assert_good(tab)
        await tab.click("[data-do=rehearse]")
        await tab.wait(f"{STATE} === 'rehearsing'")
        await assert_good(tab)
        await tab.click("[data-do=listen]")
        await tab.wait(f"{STATE} === 'rehearsed'")
        await assert_good(tab)
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        await until_recorded(tab, 1_000)
        await assert_good(tab)
        await tab.click("[data-do=mute]")
        await tab.wait("!document.querySelector('[data-muted]').hidden")
        await assert_good(tab)
        await tab.click("[data-do=pause]")
        await tab.wait(f"{STATE} === 'paused'")
        await assert_good(tab)
        await tab.click("[data-do=stop]")
        await tab.wait("document.querySelector('[data-question]').open")
        await assert_good(tab)
        await tab.click("[data-question] [value=stop]")
        await tab.wait(f"{STATE} === 'ended'")
        await assert_good(tab)


async def test_a_level_that_can_not_be_measured_is_not_told(speaking_browser: Browser, station: Station) -> None:
    """Web Audio may stand still until a key is pressed: until then the page does not say that no sound comes."""
    desk = await station.open_studio()
    async with speaking_browser.tab(gives={station.address: ["microphone"]}) as tab:
        await tab.prepare(STILL)
        await tab.visit(station.address + desk.path)
        await tab.wait("window.asked > 0")  # for sound, with the microphone open
        await tab.wait(f"{STATE} === 'ready' && document.querySelector('[data-devices]').options[0].value")
        assert await tab.evaluate("document.querySelector('[data-meter]').hidden")
        await tab.evaluate("window.may = true")
        await tab.click("h1")
        await tab.wait("!document.querySelector('[data-meter]').hidden")
        await assert_good(tab)


STILL = """{
    const base = BaseAudioContext.prototype, state = Object.getOwnPropertyDescriptor(base, "state").get;
    let still = true;
    globalThis.asked = 0;
    AudioContext.prototype.resume = function () {
        globalThis.asked += 1;
        if (!globalThis.may) return new Promise(() => {});
        still = false;
        this.dispatchEvent(new Event("statechange"));
        return Promise.resolve();
    };
    Object.defineProperty(base, "state", { get() { return still ? "suspended" : state.call(this); } });
}"""
BEFORE = {
    "old": "delete globalThis.MediaRecorder;",
    "loading": """{
        const ask = globalThis.fetch;
        globalThis.fetch = (address, ...rest) =>
            String(address).endsWith("/state") ? new Promise(() => {}) : ask(address, ...rest);
    }""",
    "unreachable": """{
        const ask = globalThis.fetch;
        globalThis.fetch = () => Promise.reject(new TypeError(""));
        globalThis.giveBack = () => { globalThis.fetch = ask; };
    }""",
    "asking": """{
        const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
        navigator.permissions.query = async () => ({ state: "prompt" });
        devices.getUserMedia = (wanted) => new Promise((answer) => { globalThis.answer = () => answer(ask(wanted)); });
    }""",
    "lost": """{
        const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
        devices.getUserMedia = async (wanted) => (globalThis.heard = await ask(wanted));
    }""",
}
"""Scripts before the page's own, which lead to a state."""
WINDOWS = pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light"), (ZOOMED, "light")])


@asynccontextmanager
async def prepared(browser: Browser, station: Station, state: str, width: int, scheme: str) -> AsyncIterator[Tab]:
    """Open a studio's page with what leads to a state."""
    desk = await station.open_studio()
    async with browser.tab(width, scheme, gives={station.address: ["microphone"]}) as tab:
        await tab.prepare(BEFORE[state])
        await tab.visit(station.address + desk.path)
        yield tab


@WINDOWS
@pytest.mark.parametrize("state", ["old", "loading"])
async def test_a_page_that_can_do_nothing_yet(
    speaking_browser: Browser, station: Station, state: str, width: int, scheme: str
) -> None:
    """A browser that can record nothing is told so; a page whose server has not answered yet says that, too."""
    async with prepared(speaking_browser, station, state, width, scheme) as tab:
        await tab.wait(f"{STATE} === {state!r} && !document.querySelector('[data-scripted]').hidden")
        assert await tab.evaluate("document.querySelector('[data-tell]').innerText")
        assert not await tab.evaluate(ANY_KEY)
        await assert_good(tab)


@WINDOWS
async def test_an_address_without_https(speaking_browser: Browser, station: Station, width: int, scheme: str) -> None:
    """A page that browsers hold for insecure says so, and what would help."""
    desk = await station.open_studio()
    async with speaking_browser.tab(width, scheme) as tab:
        await tab.visit(station.address.replace("127.0.0.1", INSECURE) + desk.path)
        await tab.wait(f"{STATE} === 'insecure'")
        assert "https" in await tab.evaluate("document.querySelector('[data-tell]').innerText")
        assert not await tab.evaluate(ANY_KEY)
        assert await tab.axe() == []
        assert await tab.evaluate(SIDEWAYS) <= 0
        # Chromium complains of the headers of such a page.
        assert not [fault for fault in await tab.faults() if fault.startswith("uncaught")]


@WINDOWS
async def test_a_server_that_can_not_be_reached_yet(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """The page says so, and goes on by itself."""
    async with prepared(speaking_browser, station, "unreachable", width, scheme) as tab:
        await tab.wait(f"{STATE} === 'unreachable'")
        await assert_good(tab)
        await tab.evaluate("giveBack()")
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await tab.wait(f"{STATE} === 'ready'")


@WINDOWS
async def test_a_microphone_that_is_asked_for_and_taken_away(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """The page says that the browser asks; and when the microphone is gone in the middle, that the broadcast is still
    there and can go on."""
    async with prepared(speaking_browser, station, "asking", width, scheme) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'asking'")
        await assert_good(tab)
        await tab.evaluate("answer()")
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        await end(tab)
    async with prepared(speaking_browser, station, "lost", width, scheme) as tab:
        await go_live(tab, 1_000)
        await tab.evaluate("heard.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        await tab.wait(f"{STATE} === 'lost'")
        await assert_good(tab)
        await tab.click("[data-do=on]")
        await tab.wait(f"{STATE} === 'live'")
        await end(tab)


@WINDOWS
async def test_a_broadcast_that_begins_without_a_network_says_that_it_starts(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """Until the server knows of it the page says that it is going live, and that nothing is lost."""
    desk = await station.open_studio()
    async with speaking_browser.tab(width, scheme, gives={station.address: ["microphone"]}) as tab:
        await tab.visit(station.address + desk.path)
        await tab.wait(f"{STATE} === 'ready'")
        await tab.network(there=False)
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'starting'")
        await tab.wait(f"{NETWORK}.startsWith('No connection')")
        assert await tab.axe() == []
        assert await tab.evaluate(SIDEWAYS) <= 0
        await tab.network(there=True)
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        await end(tab)


@WINDOWS
async def test_a_broadcast_that_runs_elsewhere_and_is_ended_by_the_room(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """Another tab, another device, the tab that took over, and the page whose broadcast the room has ended."""
    desk = await station.open_studio()
    gives = {station.address: ["microphone"]}
    async with studio_tab(speaking_browser, station, desk) as first:
        await go_live(first, 1_000)
        async with speaking_browser.tab(width, scheme, gives=gives) as other:
            await other.visit(station.address + desk.path)
            await other.wait(f"{STATE} === 'device'")
            await assert_good(other)
        async with speaking_browser.tab(width, scheme, beside=first, gives=gives) as second:
            await second.visit(station.address + desk.path)
            await second.wait(f"{STATE} === 'tab'")
            await assert_good(second)
            await second.click("[data-do=here]")
            await second.wait(f"{STATE} === 'interrupted'")
            await assert_good(second)
            await station.change_room(studio=False)
            try:
                await second.wait(f"{STATE} === 'closed-by-room'", STEP_MS)
                assert await second.axe() == []
                assert await second.evaluate(SIDEWAYS) <= 0
            finally:
                await station.change_room(studio=True)


MICROPHONES = {
    "refused": "NotAllowedError",
    "none": "NotFoundError",
    "busy": "NotReadableError",
}


@pytest.mark.parametrize("state", MICROPHONES)
async def test_a_microphone_that_cannot_be_had_is_said(speaking_browser: Browser, station: Station, state: str) -> None:
    """The page says why, and what to do; when it can be had, the same button goes on."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk, PHONE) as tab:
        await tab.wait(f"{STATE} === 'ready' && !document.querySelector('[data-meter]').hidden")
        await tab.evaluate(
            f"""(() => {{
            const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
            devices.getUserMedia = () => Promise.reject(new DOMException("", "{MICROPHONES[state]}"));
            window.giveBack = () => {{ devices.getUserMedia = ask; }};
            document.querySelector("[data-plain]").click();
            }})()"""
        )
        await tab.wait(f"{STATE} === {state!r}")
        await assert_good(tab)
        await tab.evaluate("window.giveBack()")
        await tab.click("[data-do=retry]")
        await tab.wait(f"{STATE} === 'ready'")


async def test_a_browser_that_refuses_the_microphone(speaking_browser: Browser, station: Station) -> None:
    """Going live without the permission says that the microphone is blocked, and begins nothing."""
    desk = await station.open_studio()
    async with speaking_browser.tab(gives={station.address: []}) as tab:
        await tab.visit(station.address + desk.path)
        await tab.wait(f"{STATE} === 'ready'")
        await tab.click("[data-do=go]")
        await tab.wait(f"{STATE} === 'refused'")
        await assert_good(tab)
    assert await station.recording(desk) is None


async def test_a_computer_without_a_microphone(browser: Browser, station: Station) -> None:
    """The page says that there is none."""
    desk = await station.open_studio()
    async with studio_tab(browser, station, desk) as tab:
        await tab.wait(f"['ready', 'none'].includes({STATE})")
        await tab.evaluate("document.querySelector('[data-do=go]').click()")
        await tab.wait(f"{STATE} === 'none'")
        await assert_good(tab)


HELD = """(() => {
    const [track] = heard.getAudioTracks();
    Object.defineProperty(track, "muted", { value: %s, configurable: true });
    track.dispatchEvent(new Event("%s"));
})()"""
SILENT = "!document.querySelector('[data-silent]').hidden"


@WINDOWS
async def test_a_microphone_that_gives_nothing_for_now(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """A phone call that takes the microphone for a while is said, to screen readers too, and so is its end."""
    async with prepared(speaking_browser, station, "lost", width, scheme) as tab:
        await go_live(tab, 1_000)
        assert not await tab.evaluate(SILENT)
        await tab.evaluate(HELD % ("true", "mute"))
        await tab.wait(SILENT)
        assert "no sound" in await tab.evaluate(SAID)
        await assert_good(tab)
        await tab.evaluate(HELD % ("false", "unmute"))
        await tab.wait(f"!({SILENT})")
        assert "sound again" in await tab.evaluate(SAID)
        await end(tab)


STALLS = """{
    const Processor = MediaStreamTrackProcessor;
    globalThis.MediaStreamTrackProcessor = class {
        constructor(about) {
            const drop = (frame, out) => (globalThis.stalled ? frame.close() : out.enqueue(frame));
            this.readable = new Processor(about).readable.pipeThrough(new TransformStream({ transform: drop }));
        }
    };
}"""


async def test_a_microphone_that_stalls_leaves_a_gap(speaking_browser: Browser, station: Station) -> None:
    """Silence stands for what a microphone did not give, and is listed; nothing that was sent is missing."""
    desk = await station.open_studio()
    async with speaking_browser.tab(gives={station.address: ["microphone"]}) as tab:
        await tab.prepare(STALLS)
        await tab.visit(station.address + desk.path)
        await go_live(tab, 2_000)
        before = await tab.evaluate(RECORDED)
        await tab.evaluate("globalThis.stalled = true")
        await tab.wait(SILENT)
        await tab.evaluate("globalThis.stalled = false")
        await until_recorded(tab, before + 3_000)
        await tab.wait(f"!({SILENT})")
        recording, _ = await assert_whole(station, desk, await end(tab))
    _, chunks, episode = await station.finished(desk)
    gaps = lay_out(recording, chunks).gaps
    assert {gap.reason for gap in gaps} == {ChunkState.UNRECORDED}
    assert max(gap.samples for gap in gaps) > 2 * SAMPLE_RATE
    assert episode.loss.gaps == len(gaps)


CENTRE = """(() => {
    const { left, top, width, height } = document.querySelector("%s").getBoundingClientRect();
    return [left + width / 2, top + height / 2];
})()"""
THERE = "document.elementFromPoint(%s, %s)?.closest('button')"


@WINDOWS
async def test_the_second_of_two_clicks_does_nothing_to_what_has_come_under_it(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """A double click on a button is one click: on what stands in its place then, a new click is needed."""
    desk = await station.open_studio()
    async with speaking_browser.tab(width, scheme, gives={station.address: ["microphone"]}) as tab:
        await tab.visit(station.address + desk.path)
        await tab.wait(f"{STATE} === 'ready' && !document.querySelector('[data-meter]').hidden")
        await tab.evaluate("document.querySelector('[data-do=go]').scrollIntoView({ block: 'center' })")
        await tab.evaluate(
            """document.querySelector("[data-do=mute]").addEventListener("click", () => { window.reached = true; })"""
        )
        await tab.evaluate("document.querySelector('[data-do=go]').click()")
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        await tab.evaluate("document.querySelector('[data-do=mute]').scrollIntoView({ block: 'center' })")
        x, y = await tab.evaluate(CENTRE % "[data-do=mute]")
        await tab.click_at(x, y, 2)
        assert not await tab.evaluate("window.reached === true")
        assert await tab.evaluate("document.querySelector('[data-do=mute]').ariaPressed") == "false"
        await tab.click_at(x, y, 1)
        await tab.wait("!document.querySelector('[data-muted]').hidden")
        await tab.click_at(x, y, 2)  # a double click on one button is two
        await tab.wait("document.querySelector('[data-muted]').hidden")
        await end(tab)


@WINDOWS
async def test_a_broadcast_that_is_as_large_as_it_may_be(
    speaking_browser: Browser, station: Station, width: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that it is the broadcast which is full, records no more, and can end it."""
    desk = await station.open_studio()
    async with speaking_browser.tab(width, scheme, gives={station.address: ["microphone"]}) as tab:
        await tab.visit(station.address + desk.path)
        await go_live(tab, 1_500)
        with monkeypatch.context() as small:
            small.setattr(writing, "MOST_BYTES_A_SECOND", 0)
            await tab.wait(f"{STATE} === 'capped'", STEP_MS)
            assert "as large as it may be" in await tab.evaluate("document.querySelector('h1').innerText")
            await tab.wait(f"{NETWORK}.includes('refused')")
            assert await tab.axe() == []
            assert await tab.evaluate(SIDEWAYS) <= 0
            assert await tab.evaluate(KEYS) == ["stop"]
            await tab.click("[data-do=stop]")
            await tab.wait("document.querySelector('[data-question]').open")
            await tab.click("[data-question] [value=stop]")
            await tab.wait(f"{STATE} === 'ended'")
        await tab.wait(f"{NETWORK}.startsWith('Everything is sent.')")


FULL = {
    "room": (Problem.ROOM_FULL, "This room has used up its space on the server."),
    "disk": (Problem.DISK_FULL, "The server's disk is full."),
}


@pytest.mark.parametrize("what", FULL)
async def test_a_room_or_a_disk_that_is_full(
    speaking_browser: Browser, station: Station, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says which of them, goes on, and sends what waits once there is space."""
    problem, words = FULL[what]

    async def refuse(*_: object) -> None:
        raise StudioRefusedError(problem)

    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk, PHONE) as tab:
        await go_live(tab, 1_500)
        with monkeypatch.context() as full:
            full.setattr(writing.Writing, "_refuse_too_much", refuse)
            await tab.wait(f"{NETWORK}.startsWith({words!r})", STEP_MS)
            assert "no space" in await tab.evaluate(SAID)
            assert await tab.axe() == []
            assert await tab.evaluate(STATE) == "live"
        await tab.evaluate("dispatchEvent(new Event('online'))")  # tries again at once
        await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)
        assert "space again" in await tab.evaluate(SAID)
        await end(tab)


@WINDOWS
async def test_where_it_is_heard_once_it_has_ended(
    speaking_browser: Browser, station: Station, width: int, scheme: str
) -> None:
    """The page links to a public recording; of a private one it says how its members hear it, and no address."""
    gives = {station.address: ["microphone"]}
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE):
        desk = await station.open_studio()
        await station.change_room(visibility=visibility)
        try:
            async with speaking_browser.tab(width, scheme, gives=gives) as tab:
                await tab.visit(station.address + desk.path)
                await go_live(tab, 1_000)
                await end(tab)
                if visibility is Visibility.PUBLIC:
                    await tab.wait("!document.querySelector('[data-page]').hidden")
                    assert await tab.evaluate("document.querySelector('[data-heard]').hidden")
                    continue
                await tab.wait("!document.querySelector('[data-heard]').hidden")
                assert "!aircheck feed" in await tab.evaluate("document.querySelector('[data-heard]').innerText")
                assert await tab.evaluate("document.querySelector('[data-page]').hidden")
                assert not await tab.evaluate("document.querySelector('[data-page]').href")
                await assert_good(tab)
        finally:
            await station.change_room(visibility=Visibility.PUBLIC)


async def test_an_address_that_is_over(speaking_browser: Browser, station: Station) -> None:
    """A page that is opened when its studio has ended says so in one sentence."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await station.change_room(studio=False)
        try:
            await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await tab.wait(f"{STATE} === 'closed'")
            assert await tab.axe() == []
            assert await tab.visit(station.address + desk.path) == 410
        finally:
            await station.change_room(studio=True)


async def test_a_page_without_scripts_says_what_it_needs(browser: Browser, station: Station) -> None:
    """Without JavaScript there is one heading and one sentence."""
    desk = await station.open_studio()
    async with browser.tab(PHONE, scripts=False) as tab:
        await tab.visit(station.address + desk.path)
        said = await tab.evaluate("document.querySelector('main').innerText")
    assert "needs JavaScript" in said
    assert "Go live" not in said


async def test_everything_is_done_by_keys(speaking_browser: Browser, station: Station) -> None:
    """Go live, mute, pause, go on, ask and end: by Tab, Enter and Space, with the focus seen and never lost."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await go_to(tab, "go")
        await tab.press("Enter")
        await tab.wait(f"{STATE} === 'live'", STEP_MS)
        assert await focused(tab) == "mute"  # the first of the buttons that are there now
        assert "You are live" in await tab.evaluate(SAID)
        await tab.press("Space")
        await tab.wait("!document.querySelector('[data-muted]').hidden")
        assert "Muted" in await tab.evaluate(SAID)
        await go_to(tab, "pause")
        await tab.press("Enter")
        await tab.wait(f"{STATE} === 'paused'")
        assert await focused(tab) == "on"
        await tab.press("Enter")
        await tab.wait(f"{STATE} === 'live'")
        await go_to(tab, "stop")
        await tab.press("Enter")
        await tab.wait("document.querySelector('[data-question]').open")
        await tab.press("Escape")
        await tab.wait("!document.querySelector('[data-question]').open")
        assert await focused(tab) == "stop"
        await tab.press("Enter")
        await tab.wait("document.querySelector('[data-question]').open")
        await tab.press("Tab")
        await tab.evaluate("document.querySelector('[data-question] [value=stop]').focus()")
        await tab.press("Enter")
        await tab.wait(f"{STATE} === 'ended'")
        assert await tab.evaluate("document.activeElement !== document.body")


async def go_to(tab: Tab, key: str) -> None:
    """Press Tab until a button has the focus, which is seen at each stop."""
    for _ in range(60):
        if await focused(tab) == key:
            return
        await tab.press("Tab")
        stop = await tab.evaluate(FOCUS)
        assert stop is None or stop[1], stop
    raise AssertionError(f"Tab does not lead to {key}")


async def focused(tab: Tab) -> str | None:
    name: str | None = await tab.evaluate("document.activeElement?.dataset?.do ?? null")
    return name


async def test_a_screen_reader_is_not_told_of_each_second(speaking_browser: Browser, station: Station) -> None:
    """While nothing happens the live region stays as it is."""
    desk = await station.open_studio()
    async with studio_tab(speaking_browser, station, desk) as tab:
        await tab.wait(f"{STATE} === 'ready'")
        await go_live(tab, 1_000)
        await tab.evaluate(
            """(() => {
            window.told = 0;
            const regions = document.querySelectorAll("[role=status], [aria-live=polite], [aria-live=assertive]");
            const options = { childList: true, characterData: true, subtree: true };
            for (const each of regions) new MutationObserver(() => { window.told += 1; }).observe(each, options);
            })()"""
        )
        await until_recorded(tab, 8_000)
        assert await tab.evaluate("window.told") == 0
        await end(tab)
