"""The page of a studio in a real browser: from its button until somebody can listen."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout

from benchmarks import browser, live_page, pipeline
from benchmarks.figures import Figure, at_most, of
from benchmarks.studio_clients import Desk, open_studio
from storage import archive, studios
from storage.records import RecordingState, Visibility
from tests.calls_clients.sounds import microphone

T = TypeVar("T")

LIVE_S = 3.0
SAYS = "document.querySelector('[data-studio]').dataset.state"
PRESS = "document.querySelector('[data-do=go]').click()"
LOOK_EACH_S = 0.02


async def run(program: str, directory: Path) -> list[Figure]:
    """Go live with a microphone that plays speech, and wait for each thing that follows."""
    heard = await asyncio.to_thread(microphone, 1, directory / "microphone.wav")
    options = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    async with (
        pipeline.running(directory) as running,
        browser.page(program, *options, f"--use-file-for-fake-audio-capture={heard}") as page,
        browser.page(program) as listener,
        ClientSession(timeout=ClientTimeout(total=60)) as http,
    ):
        desk = await open_studio(running.store, "page", Visibility.PUBLIC)
        await running.covering.of(desk.room.room_id)
        room = f"{running.web.address}/r/{desk.room.key}/"
        await page.open(running.web.address + desk.path)
        await page.until(f"{SAYS} === 'ready'")
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            said = tasks.create_task(_after(began, page.until(f"{SAYS} === 'live'")))
            live = tasks.create_task(_after(began, running.until(partial(_is_live, running, desk))))
            stored = tasks.create_task(_after(began, running.until(partial(_has_slice, running, desk))))
            shown = tasks.create_task(_after(began, _until(partial(_shows, http, room))))
            stream = tasks.create_task(_after(began, _until(partial(_sounds, http, room))))
            segment = tasks.create_task(_after(began, _until(partial(_has_segment, http, room))))
            await page.evaluate(PRESS)
        await listener.open(room)
        await listener.until(live_page.LIVE)
        await listener.evaluate(live_page.WATCH)
        await listener.until("window.seen.played && window.seen.audio.currentTime > 0", live_page.PLAYS_WITHIN_S)
        audible = time.monotonic() - began
        trouble = [one for one in page.trouble if "favicon" not in one]
    button = "studio: the button pressed → "
    return [
        at_most(f"{button}its page says that it is live", said.result(), LIVE_S, "s"),
        at_most(f"{button}the recording is live", live.result(), LIVE_S, "s"),
        at_most(f"{button}the first slice is on the disk", stored.result(), LIVE_S, "s"),
        at_most(f"{button}the room's page shows it", shown.result(), LIVE_S, "s"),
        of(f"{button}the endless MP3 has its first sound", stream.result(), "s"),
        of(f"{button}the first live segment (6 s of sound) can be had", segment.result(), "s"),
        of(f"{button}heard in the player of another Chromium", audible, "s"),
        at_most("studio: errors on its page's console", len(trouble), 0, "", f" {trouble or ''}"),
    ]


async def _after(began: float, what: Awaitable[object]) -> float:
    """Return the seconds from `began` to the end of this."""
    await what
    return time.monotonic() - began


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, as what is told over HTTP tells of no change."""
    async with asyncio.timeout(live_page.PLAYS_WITHIN_S):
        while not await look():  # noqa: ASYNC110  nobody sets an event for it
            await asyncio.sleep(LOOK_EACH_S)


async def _is_live(running: pipeline.Pipeline, desk: Desk) -> bool | None:
    async with running.store.read() as db:
        recording = await archive.recording_by_event(db, desk.event_id)
    return True if recording is not None and recording.state is RecordingState.LIVE else None


async def _has_slice(running: pipeline.Pipeline, desk: Desk) -> bool | None:
    async with running.store.read() as db:
        return await studios.last_number(db, desk.studio.id) is not None or None


async def _code(http: ClientSession, room: str) -> str | None:
    async with http.get(room) as answer:
        found = re.search(r'data-live="([a-z]{6})"', await answer.text())
    return found[1] if found else None


async def _shows(http: ClientSession, room: str) -> bool:
    return await _code(http, room) is not None


async def _sounds(http: ClientSession, room: str) -> bool:
    """Tell whether the endless MP3 has come to its first sound."""
    if (code := await _code(http, room)) is None:
        return False
    try:
        async with http.get(f"{room}{code}-live.mp3") as answer:
            return answer.status == 200 and bool(await answer.content.readany())
    except ClientError:
        return False


async def _has_segment(http: ClientSession, room: str) -> bool:
    if (code := await _code(http, room)) is None:
        return False
    async with http.get(f"{room}{code}.m3u8") as answer:
        playlist = await answer.text() if answer.status == 200 else ""
    segment = next((line for line in playlist.splitlines() if line.endswith(".mp3")), None)
    if segment is None:
        return False
    async with http.get(f"{room}{segment}") as answer:
        return answer.status == 200 and len(await answer.read()) > 0
