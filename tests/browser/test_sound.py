"""The sound of a studio in Chromium, whose microphone plays a known sound."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.one_stream import join
from bot.web.static_files import FOLDER
from storage.records import SAMPLE_RATE
from tests.audio.sounds import WAV, Pcm, Studio, lag, local, signal
from tests.browser.chromium import Browser, Tab, chromium
from tests.browser.test_sound_modules import archived, joined
from tests.ports import free_port
from tests.world import find_ffmpeg

pytestmark = pytest.mark.browser

SECONDS = 10
PATIENCE_MS = 80_000
SPOKEN = signal(20 * SAMPLE_RATE)
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
PAGE = '<!doctype html><html lang="en"><title>Studio</title><script type="module" src="/sound_page.js"></script>'
WINDOW = 24_000
LIKE = 0.8  # correlation: noise is left out when it is encoded
EDGE = SAMPLE_RATE // 10
EXACT = 2_000  # samples: packets are as long as this, and begin where an encoder's delay ends
STILL = {
    "frames": """
        window.MediaStreamTrackProcessor = class { readable = new ReadableStream(); };
        MediaStreamTrack.prototype.getSettings = () => ({ sampleRate: 48000 });
        null""",
    "web audio": """
        delete window.MediaStreamTrackProcessor;
        AudioWorklet.prototype.addModule = () => new Promise(() => {});
        null""",
}
"""First ways to record that neither work nor fail, as Firefox's Web Audio without a loudspeaker."""
NEAR = SAMPLE_RATE  # samples at both ends in which the microphone may not be heard yet, or not any more


async def _page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html", headers={"Content-Security-Policy": POLICY})


async def _script(_: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).parent / "sound_page.js")


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    """A page with the modules and a strict policy."""
    app = web.Application()
    app.router.add_get("/", _page)
    app.router.add_get("/sound_page.js", _script)
    app.router.add_static("/static", FOLDER)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
async def speaking(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser with a microphone that plays SPOKEN from the moment at which it is opened."""
    folder = tmp_path_factory.mktemp("speaking")
    source = Studio(find_ffmpeg().exe, folder).record("spoken.wav", SPOKEN, WAV)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={source}%noloop",
    )
    async with chromium(folder, *flags) as browser:
        yield browser


@asynccontextmanager
async def studio_page(browser: Browser, address: str) -> AsyncIterator[Tab]:
    async with browser.tab() as tab:
        assert await tab.visit(address) == 200
        await tab.wait("window.ready")
        yield tab


async def slices_of(tab: Tab, folder: Path) -> list[Path]:
    """Write the slices of a page to files."""
    paths = []
    for number, data in enumerate(await tab.evaluate("slices()")):
        paths.append(folder / f"{number}.ogg")
        paths[-1].write_bytes(base64.b64decode(data))
    return paths


def places(heard: Pcm) -> range:
    """Return places all over a sound."""
    return range(NEAR, len(heard) - NEAR, WINDOW)


def likeness(heard: Pcm, place: int) -> float:
    """Return the correlation of a sound around a place with that place of SPOKEN which it is most like."""
    piece = heard[place : place + WINDOW]
    size = 1 << (len(SPOKEN) + len(piece)).bit_length()
    matched = np.fft.irfft(np.fft.rfft(SPOKEN, size) * np.conj(np.fft.rfft(piece, size)), size)
    at = int(np.argmax(matched[: len(SPOKEN) - WINDOW]))
    return float(np.corrcoef(piece, SPOKEN[at : at + WINDOW])[0, 1])


@pytest.mark.parametrize("way", ["webcodecs", "webcodecs by Web Audio", "webm"])
async def test_a_take_is_the_microphones_sound(
    speaking: Browser, address: str, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path, way: str
) -> None:
    """Ten seconds are cut into slices that are proved whole and join to one stream, which is what was spoken.

    To the sample it is what the browser gave to the encoder: a busy one drops frames of its microphone before that."""
    async with studio_page(speaking, address) as tab:
        if way.endswith("Web Audio"):
            await tab.evaluate("delete window.MediaStreamTrackProcessor")
        begun = await tab.evaluate(f"begin('{way.partition(' ')[0]}')")
        assert begun == {"kind": way.partition(" ")[0], "mime": "audio/ogg"}
        await tab.wait(f"recordedMs >= {SECONDS * 1000}", PATIENCE_MS)
        await tab.evaluate("take.stop()")
        told: list[dict[str, Any]] = await tab.evaluate("told()")
        paths = await slices_of(tab, tmp_path)
        encoded = np.frombuffer(base64.b64decode(await tab.evaluate("heardSound()")), np.float32)
        assert await tab.evaluate("errors") == []
        assert await tab.faults() == []
    assert [part["last"] for part in told] == [False] * (len(told) - 1) + [True]
    assert all(part["durationMs"] <= 300 for part in told)
    kept = await archived(paths, ffmpeg)
    assert kept.proved
    assert kept.complete
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    assert len(heard) >= SECONDS * SAMPLE_RATE
    assert len(heard) == pytest.approx(sum(part["durationMs"] for part in told) * SAMPLE_RATE / 1000, abs=4000)
    assert await join(kept.pieces, tmp_path / "one.ogg", local=local) is not None
    if len(encoded):
        assert len(heard) == len(encoded)
        assert {lag(encoded, heard, place) for place in places(heard)} == {0}
    assert np.median([likeness(heard, place) for place in places(heard)]) > LIKE


@pytest.mark.parametrize("way", STILL)
async def test_nothing_is_missed_while_the_first_way_gives_nothing(
    speaking: Browser, address: str, ffmpeg: Ffmpeg, tmp_path: Path, way: str
) -> None:
    """The recorder runs from the beginning where the first way stands still, and takes over with all of the sound."""
    async with studio_page(speaking, address) as tab:
        await tab.evaluate(STILL[way])
        begun = await tab.evaluate("begin().then((begun) => ({ ...begun, had: recordedMs }))")
        assert begun["kind"] == "webm"
        assert way == "web audio" or begun["had"] > 3_000  # frames are waited for longer: none can be lost before them
        await tab.wait(f"recordedMs >= {begun['had'] + 2_000}", PATIENCE_MS)
        await tab.evaluate("take.stop()")
        paths = await slices_of(tab, tmp_path)
        assert await tab.evaluate("errors") == []
        assert await tab.faults() == []
    kept = await archived(paths, ffmpeg)
    assert kept.proved
    assert kept.complete
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    assert len(heard) >= (begun["had"] + 1_900) * SAMPLE_RATE / 1000


async def test_a_killed_page_leaves_a_slice(speaking: Browser, address: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The parts of a take that nobody ended are closed to slices that hold all of them."""
    async with studio_page(speaking, address) as tab:
        await tab.evaluate("begin('webcodecs')")
        await tab.wait("recordedMs >= 2500", PATIENCE_MS)
        paths = await slices_of(tab, tmp_path)
        told: list[dict[str, Any]] = await tab.evaluate("told()")
    kept = await archived(paths, ffmpeg)
    assert kept.complete
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    assert len(heard) >= 2400 * SAMPLE_RATE / 1000
    assert len(told) >= 10


async def test_a_device_that_is_gone_ends_the_take(
    speaking: Browser, address: str, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """A track that ends is told of after the take's last part, and what was said before is whole."""
    async with studio_page(speaking, address) as tab:
        await tab.evaluate("begin()")
        await tab.wait("recordedMs >= 1500", PATIENCE_MS)
        await tab.evaluate("unplug()")
        await tab.wait("errors.length", PATIENCE_MS)
        assert await tab.evaluate("errors") == ["device"]
        assert (await tab.evaluate("told()"))[-1]["last"]
        paths = await slices_of(tab, tmp_path)
    assert (await archived(paths, ffmpeg)).proved


async def test_a_take_ends_with_its_sound(speaking: Browser, address: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """However many packets the encoder gives at its end, and wherever a page ends, a take has as many samples as went
    into it."""
    async with studio_page(speaking, address) as tab:
        for packets in range(40, 51):
            sound = SPOKEN[: packets * 960]
            await tab.evaluate("window.parts = []")
            await tab.evaluate(f"encode('{base64.b64encode(sound.tobytes()).decode()}', {{}})")
            kept = await archived(await slices_of(tab, tmp_path), ffmpeg)
            assert kept.proved
            assert sum(piece.samples for piece in kept.pieces) == len(sound), packets


async def test_holes_are_silence_of_their_length(
    speaking: Browser, address: str, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """Sound between holes of any length keeps its place to the sample, and the take stays one stream."""
    sound = SPOKEN[: 9 * SAMPLE_RATE]
    holes = {200: 4_801, 400: 3 * SAMPLE_RATE + 7, 600: 61 * SAMPLE_RATE + 1}
    wanted = np.concatenate(
        [
            part
            for begin, end in ((0, 200), (200, 400), (400, 600), (600, 900))
            for part in (np.zeros(holes.get(begin, 0), np.float32), sound[begin * 480 : end * 480])
        ]
    )
    async with studio_page(speaking, address) as tab:
        data = base64.b64encode(sound.tobytes()).decode()
        await tab.evaluate(f"encode('{data}', {holes})")
        assert await tab.evaluate("errors") == []
        paths = await slices_of(tab, tmp_path)
    kept = await archived(paths, ffmpeg)
    assert kept.proved
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    assert len(heard) == len(wanted)
    assert await join(kept.pieces, tmp_path / "one.ogg", local=local) is not None
    spoken = (24_000, 120_000, 360_000, len(wanted) - 130_000, len(wanted) - 40_000)
    assert [lag(wanted, heard, place) for place in spoken] == [0] * len(spoken)
    silent = heard[10 * SAMPLE_RATE : 60 * SAMPLE_RATE]
    assert not silent.any()
    # Of a long hole the edges are encoded, and not listed.
    places = [(2 * SAMPLE_RATE, 0), (4 * SAMPLE_RATE, holes[200]), (6 * SAMPLE_RATE, holes[200] + holes[400])]
    for gap, (at, before), hole in zip(kept.gaps, places[1:], [holes[400], holes[600]], strict=True):
        assert gap.position == pytest.approx(at + before + EDGE, abs=EXACT)
        assert gap.samples == pytest.approx(hole - 2 * EDGE, abs=EXACT)
