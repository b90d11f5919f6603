"""A listener seeks in a live broadcast, on a personal page in a real browser.

The broadcast is a row of tones that rise each second, so that the audio itself tells which second is heard.
"""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import browser, pipeline
from benchmarks.figures import Figure
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import SEGMENT_S
from bot.audio.hls import HOLD_BACK
from bot.audio.ogg import PacketReader, read_pages
from bot.demo.slicing import Slice, Slicer
from bot.feeds.addresses import look_up_hash, token_for
from storage import rooms
from storage.records import Listener, Position, Room, StateEvent, UserId

CHUNK_SECONDS = 15
CHUNKS = 9
COMES_AFTER_S = 60.0
PAUSE_S = 20.0
LOWEST_HZ, STEP_HZ = 400, 20
LISTENER = UserId("@listener:bench")
FURTHEST_S = (HOLD_BACK + 1) * SEGMENT_S  # behind the newest audio, and still the live edge

TAP = f"""(() => {{
  const audio = window.audio = document.querySelector("[data-audio]"), context = new AudioContext();
  const ear = context.createAnalyser();
  ear.fftSize = 8192;
  ear.smoothingTimeConstant = 0;
  context.createMediaElementSource(audio).connect(ear);
  window.second = () => {{
    const loud = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(loud);
    return (loud.indexOf(Math.max(...loud)) * context.sampleRate / ear.fftSize - {LOWEST_HZ}) / {STEP_HZ};
  }};
  return context.resume();
}})()"""
LOOK = """(() => ({at: audio.currentTime, heard: second(), paused: audio.paused, source: audio.currentSrc,
  newest: Number.isFinite(audio.duration) ? audio.duration : 0}))()"""
NO_CODEC = "MediaSource.prototype.addSourceBuffer = () => { throw new DOMException('none', 'NotSupportedError'); }"
ASKED = 'performance.getEntriesByType("resource").map(one => one.name)'
LISTEN = 'document.querySelector("[data-live] [data-play], [data-play]").click()'
PLAY = "void audio.play().catch(() => {})"  # a later call may interrupt it
ENDED = '!document.querySelector("[data-bar]").classList.contains("is-live")'


@dataclass
class Playback:
    """The position that the player shows, and the second of the broadcast that is heard."""

    at: float
    heard: float
    paused: bool
    source: str
    newest: float

    @property
    def behind(self) -> float:
        return self.newest - self.at

    @property
    def right(self) -> bool:
        """Whether both agree, within the second of a tone and the delay of decoding."""
        return self.at - 2 <= self.heard <= self.at + 0.5

    def __str__(self) -> str:
        return f"at {self.at:.1f} s, heard {self.heard:.1f} s, newest {self.newest:.0f} s"


def tones(seconds: int, folder: Path) -> list[Slice]:
    """Make a row of rising tones, cut as Element Web cuts it."""
    file = folder / "tones.ogg"
    sound = f"aevalsrc='0.2*sin(2*PI*t*({LOWEST_HZ}+{STEP_HZ}*floor(t)))':s=48000:d={seconds}"
    command = [
        Ffmpeg.find().exe, "-v", "error", "-f", "lavfi", "-i", sound, "-c:a", "libopus", "-b:a", "48k", str(file)
    ]  # fmt: skip
    subprocess.run(command, check=True)
    reader = PacketReader()
    with file.open("rb") as ogg:
        packets = list(chain.from_iterable(reader.feed(page) for page in read_pages(ogg)))[2:]
    run = Slicer(1, CHUNK_SECONDS)
    return [*run.feed(packets), run.end()]


async def own_page(running: pipeline.Pipeline, room: Room) -> str:
    """Return the personal page of a member of a private room."""
    token = token_for(bytes(32), room.room_id, LISTENER, 0)
    membership = StateEvent(room.room_id, "m.room.member", LISTENER, LISTENER, {"membership": "join"}, Position(0))
    async with running.store.write() as db:
        await rooms.save_listener(db, Listener(room.room_id, LISTENER, 0, look_up_hash(token)))
        await rooms.save_state(db, membership)
    return f"{running.web.address}/p/{token}/"


class Listening:
    """Actions on one page, and what was heard after each."""

    def __init__(self, page: browser.BrowserPage, address: str) -> None:
        self.page = page
        self.address = address
        self.asked: set[str] = set()
        self.figures: list[Figure] = []

    async def come(self) -> None:
        """Open or reload the page and start its player."""
        await self.page.open(self.address)
        await self.page.until('document.readyState === "complete" && !!document.querySelector("[data-audio]")')
        await self.page.evaluate(TAP)
        await self.page.evaluate(LISTEN)

    async def look(self) -> Playback:
        return Playback(**await self.page.evaluate(LOOK))

    async def on(self, seconds: float = 3.0) -> Playback:
        """Play so many seconds more."""
        begun = (await self.look()).at
        await self.page.until(f"audio.currentTime > {begun + seconds} || audio.currentTime < {begun}")
        return await self.look()

    def say(self, what: str, place: Playback, right: bool) -> None:
        self.figures.append(Figure(f"live page: {what}", "the audio of that position", str(place), right, vital=True))

    async def live(self) -> None:
        """Seek, pause and reload while the broadcast is live."""
        await self.without_a_decoder()
        await self.come()
        await self.page.until("audio.currentTime > 0")
        place = await self.on()
        self.say("a late listener begins at the live edge", place, place.right and place.behind <= FURTHEST_S)
        await self.page.evaluate("void(audio.currentTime = 0)")
        place = await self.on()
        self.say("seek to the start", place, place.right and place.at < 10)
        await self.page.evaluate('document.querySelector("[data-edge]").click()')
        place = await self.on()
        self.say("“Go to live”", place, place.right and place.behind <= FURTHEST_S)
        await self.page.evaluate("audio.pause()")
        stopped = await self.look()
        await asyncio.sleep(PAUSE_S)
        await self.page.evaluate(PLAY)
        place = await self.on()
        self.say(f"a pause of {PAUSE_S:.0f} s", place, place.right and 2 < place.at - stopped.at < 8)
        self.asked.update(await self.page.evaluate(ASKED))
        await self.come()
        await self.page.until("audio.currentTime > 0")
        place = await self.on()
        self.say("reload", place, place.right and place.behind <= FURTHEST_S)

    async def without_a_decoder(self) -> None:
        """Play without MP3 in the media source: the endless MP3 is heard from the live edge; its time begins with 0."""
        broken = await self.page.ask("Page.addScriptToEvaluateOnNewDocument", source=NO_CODEC)
        await self.come()
        await self.page.until('audio.currentTime > 0 && audio.currentSrc.endsWith("-live.mp3")')
        place = await self.on()
        self.say("no MP3 in hls.js: the endless MP3", place, place.heard > place.at + SEGMENT_S)
        await self.page.ask("Page.removeScriptToEvaluateOnNewDocument", **broken)

    async def to_the_end(self) -> None:
        """Listen to the last second, then open the page again."""
        await self.page.until(ENDED, 60)
        await self.page.until("audio.paused", 90)
        await self.page.evaluate(PLAY)
        place = await self.on()
        self.say("played to the end, then again", place, place.right and place.at < 10 and _is_episode(place))
        self.asked.update(await self.page.evaluate(ASKED))
        await self.come()
        place = await self.on()
        self.say("opened after the end", place, place.right and place.at < 10 and _is_episode(place))
        self.asked.update(await self.page.evaluate(ASKED))


def _is_episode(place: Playback) -> bool:
    return re.search("/[a-z]{6}[.]mp3$", place.source) is not None


async def run(
    program: str, directory: Path, speak: Callable[[pipeline.Broadcast, list[Slice]], Awaitable[Any]]
) -> list[Figure]:
    spoken = await asyncio.to_thread(tones, CHUNK_SECONDS * CHUNKS, directory)
    async with pipeline.running(directory) as running, browser.page(program) as page:
        broadcast = running.broadcast("listener")
        listening = Listening(page, await own_page(running, await broadcast.start(CHUNK_SECONDS)))
        began = time.monotonic()
        speaking = asyncio.ensure_future(speak(broadcast, spoken))
        await asyncio.sleep(COMES_AFTER_S - (time.monotonic() - began))
        await listening.live()
        await speaking
        await broadcast.published()
        await listening.to_the_end()
        static = f"{running.web.address}/static/"
        known = (listening.address, static, "blob:", f"{running.web.address}/favicon.ico")
        elsewhere = sorted(one for one in listening.asked if not one.startswith(known))
        trouble = [one for one in page.trouble if "favicon" not in one]
    return [
        *listening.figures,
        Figure("live page: requests outside the listener's own address", "0", json.dumps(elsewhere), not elsewhere,
               vital=True),
        Figure("live page of a private room: errors on its console", "0", json.dumps(trouble), not trouble),
    ]  # fmt: skip
