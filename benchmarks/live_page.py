"""Live listening: the delay until a chunk can be heard, and the page in a real browser over a real-time broadcast."""

import asyncio
import os
import re
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import ClientSession

from benchmarks import browser, live_listener, pipeline
from benchmarks.figures import Figure, at_most
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import FRAME
from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.demo.slicing import Slice
from storage import archive, rooms, tracks
from storage.records import SAMPLE_RATE, Recording, Visibility

CHUNK_SECONDS = 15
CHUNKS = 7
LONG_SECONDS, LONG_CHUNKS = 120, 5
LATE_S = (0.0, 1.5, 0.5, 3.0, 0.0, 2.0, 1.0)  # delays of chunks, as of uploads
HEARD_S = 60.0  # listening time from the first audio on: at least three chunks
PLAYS_WITHIN_S = 60.0
ENOUGH_S = 1.0
KNOWS_WITHIN_S = 40.0  # a page that is open asks every twelve seconds
PICTURE = os.environ.get("AIRCHECK_PICTURE")

WATCH = """(() => {
  const audio = document.querySelector("[data-audio]");
  window.seen = {played: 0, waits: [], audio};
  audio.addEventListener("playing", () => { window.seen.played ||= performance.now(); });
  for (const name of ["waiting", "stalled", "error"])
    audio.addEventListener(name, () => {
      const {buffered, currentTime} = audio;
      const left = buffered.length ? buffered.end(buffered.length - 1) - currentTime : 0;
      if (window.seen.played) window.seen.waits.push({name, at: currentTime, left, after: performance.now()});
    });
  document.querySelector("[data-live] [data-play]").click();
})()"""
LOOK = """(() => {
  const {audio, played, waits} = window.seen;
  const ranges = [...Array(audio.buffered.length).keys()].map(i => [audio.buffered.start(i), audio.buffered.end(i)]);
  return {at: audio.currentTime, now: performance.now() / 1000, played: played / 1000, waits, ranges,
          from: audio.seekable.length ? audio.seekable.start(0) : null, duration: String(audio.duration)};
})()"""
BOX = 'document.querySelector("[data-live]")'
LIVE = f'document.readyState === "complete" && !!{BOX}'
GONE = 'document.querySelector(".gone")'
ENDED = '!document.querySelector("[data-bar]").classList.contains("is-live")'
SOURCE = 'document.querySelector("[data-audio]").currentSrc'


@dataclass
class Heard:
    at: float
    passed: float
    waits: list[dict[str, Any]]
    ranges: list[list[float]]
    first_sound_s: float  # after the page was opened


async def speak(broadcast: pipeline.Broadcast, pieces: list[Slice]) -> None:
    """Broadcast in real time, each chunk some seconds late."""
    began = time.monotonic()
    length = 0.0
    for piece, late in zip(pieces, cycle(LATE_S), strict=False):
        length += piece.duration_ms / 1000
        await asyncio.sleep(max(0.0, began + length + late - time.monotonic()))  # people speak in real time
        await broadcast.send(piece)
    await broadcast.stop()


async def _listen(page: browser.BrowserPage, address: str) -> tuple[Heard, asyncio.Task[str]]:
    opened = time.monotonic()
    await page.open(address)
    await page.until(LIVE)
    await page.evaluate(WATCH)
    await page.until("window.seen.played && window.seen.audio.currentTime > 0", PLAYS_WITHIN_S)
    first = await page.evaluate(LOOK)
    code = await page.evaluate('document.querySelector("[data-live]").dataset.live')
    following = asyncio.create_task(_decoded_by_ffmpeg(f"{address}{code}.m3u8"))
    first_sound = time.monotonic() - opened
    await asyncio.sleep(HEARD_S)
    look = await page.evaluate(LOOK)
    if PICTURE:
        await page.picture(Path(PICTURE))
    at, passed = look["at"] - first["at"], look["now"] - first["now"]
    return Heard(at, passed, look["waits"], look["ranges"], first_sound), following


async def run(program: str, directory: Path) -> list[Figure]:
    async with (
        pipeline.running(directory) as running,
        browser.page(program) as page,
        browser.page(program) as idle,  # its player is never started
    ):
        broadcast = running.broadcast("page")
        room = await broadcast.start(CHUNK_SECONDS, Visibility.PUBLIC)
        speaking = asyncio.create_task(
            speak(broadcast, pipeline.slices(CHUNKS * CHUNK_SECONDS, CHUNK_SECONDS)[:CHUNKS])
        )
        root = f"{running.web.address}/r/{room.key}/"
        await _on_the_air(running, broadcast)
        await idle.open(root)
        heard, following = await _listen(page, root)
        await speaking
        await broadcast.published()
        followed = await following
        after_end = await _until_it_ends(page)
        unplayed = await _until_it_knows(idle)
        gone = await _withdrawn(running, idle)
        # Expected errors: the playlist is asked for before it exists, and the pages have no icon.
        trouble = [one for one in page.trouble if ".m3u8" not in one and "favicon" not in one]
    dry = [wait for wait in heard.waits if wait["left"] < ENOUGH_S]  # otherwise the machine was too busy to decode
    chunks = int(heard.passed // (CHUNK_SECONDS + 0.2))
    return [
        Figure(f"live page in Chromium: heard over {chunks} chunks of {CHUNK_SECONDS} s",
               "≥ 3 chunks", f"{heard.at:.1f} s in {heard.passed:.1f} s", chunks >= 3, vital=True),
        at_most("live page: playing time lost", heard.passed - heard.at, 0.5, "s"),
        at_most("live page: times its buffer ran empty", len(dry), 0, "", f" {dry or ''}"),
        Figure("live page: times it waited with audio in its buffer", "", f"{len(heard.waits) - len(dry)}"),
        at_most("live page: ranges in its buffer", len(heard.ranges), 1, "", f" {heard.ranges}"),
        at_most("live page: errors on its console", len(trouble), 0, "", f" {trouble or ''}"),
        Figure("live page: first audio after opening", "", f"{heard.first_sound_s:.1f} s"),
        Figure("live page: played after the end of the broadcast", "the episode", after_end,
               after_end.endswith(".mp3"), vital=True),
        Figure("idle live page: source after the end of the broadcast", "the episode", unplayed,
               re.fullmatch("[a-z]{6}[.]mp3", unplayed) is not None, vital=True),
        Figure("live page: shown once its room is private", "no longer available", gone, "no longer available" in gone,
               vital=True),
        Figure("live: decoded by ffmpeg from the growing playlist", "all from its start", followed,
               "NOT" not in followed, vital=True),
    ]  # fmt: skip


async def _on_the_air(running: pipeline.Pipeline, broadcast: pipeline.Broadcast) -> None:
    """Wait until the pages show the broadcast."""

    async def check() -> Recording | None:
        async with running.store.read() as db:
            return await archive.recording_by_event(db, broadcast.id)

    await running.until(check)


async def _until_it_ends(page: browser.BrowserPage) -> str:
    """Pause after the end and return the source of the player then."""
    await page.until(ENDED)
    before = await page.evaluate("window.seen.audio.currentTime")
    await page.evaluate("window.seen.audio.pause()")
    await asyncio.sleep(1)
    after = await page.evaluate("window.seen.audio.currentTime")
    source = str(await page.evaluate(SOURCE)).rpartition("/")[2]
    return source if abs(after - before) < 1 else f"another place: {after:.1f} s instead of {before:.1f} s"


async def _until_it_knows(page: browser.BrowserPage) -> str:
    """Wait until an idle page notices the end and return the source of its player."""
    await page.until(f'document.readyState === "complete" && !{BOX}', KNOWS_WITHIN_S)
    return str(await page.evaluate('document.querySelector("[data-play]").getAttribute("href")'))


async def _withdrawn(running: pipeline.Pipeline, page: browser.BrowserPage) -> str:
    """Withdraw a broadcast from a page that waits for its first audio, and return what the page says then."""
    broadcast = running.broadcast("gone")
    room = await broadcast.start(CHUNK_SECONDS, Visibility.PUBLIC)
    await _on_the_air(running, broadcast)
    await page.open(f"{running.web.address}/r/{room.key}/")
    await page.until(LIVE)
    async with running.store.write() as db:
        await rooms.save_room(db, replace(room, visibility=Visibility.PRIVATE))
    await page.until(f"!!{GONE}", 2 * KNOWS_WITHIN_S)  # it checks twice
    return str(await page.evaluate(f"{GONE}.innerText.trim()"))


async def ready(directory: Path) -> Figure:
    """Measure the time from the event of a two-minute chunk until its frames are there."""
    took = []
    async with pipeline.running(directory) as running:
        broadcast = running.broadcast("ready")
        await broadcast.start(LONG_SECONDS)

        async def frames(more_than: int) -> int | None:
            async with running.store.read() as db:
                recording = await archive.recording_by_event(db, broadcast.id)
                there = await tracks.reach(db, recording.id) if recording else 0
            return there if there > more_than else None

        there = 0
        for piece in pipeline.slices(LONG_CHUNKS * LONG_SECONDS, LONG_SECONDS)[:LONG_CHUNKS]:
            uploaded = broadcast.upload(piece)
            began = time.monotonic()
            await broadcast.announce(uploaded)
            there = await running.until(partial(frames, there))
            took.append(time.monotonic() - began)
    each = ", ".join(f"{seconds:.2f}" for seconds in took)
    return at_most("chunk of 120 s announced → its segments are there", median(took), 1.0, "s", f" (each: {each})")


async def _decoded_by_ffmpeg(playlist: str) -> str:
    """Decode with ffmpeg, which reads the growing playlist from its live edge to its end."""
    process = await asyncio.create_subprocess_exec(
        Ffmpeg.find().exe, "-v", "error", "-i", playlist, "-f", "s16le", "-",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    pcm, _ = await process.communicate()
    async with ClientSession() as http, http.get(playlist) as answer:
        lengths = re.findall("#EXTINF:([0-9.]+)", await answer.text())
    whole = sum(round(float(length) * SAMPLE_RATE / FRAME) for length in lengths)
    frames, rest = divmod(len(pcm) // 2, FRAME)
    before = (whole - frames) / FRAMES
    exact = not rest and before == int(before)
    return f"{frames} frames, {'all' if exact else 'NOT all'} from segment {before:.0f} on"


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        found = [asyncio.run(ready(Path(folder)))]
    program = browser.find()
    if program is None:
        return [*found, Figure("live page", "", "no browser here")]
    for listening in (run, partial(live_listener.run, speak=speak)):
        with tempfile.TemporaryDirectory() as folder:
            found += asyncio.run(listening(program, Path(folder)))
    return found
