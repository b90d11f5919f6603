"""A small site with a podcast on it, right in everything, which a test bends in one place."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from zlib import crc32

from aiohttp import web

from bot.audio.mp3 import DELAY, info_frame
from bot.check.feed_check import check_feed
from bot.check.fetching import stranger_at
from bot.check.finding import Finding, Level
from bot.web.access import Family
from bot.web.conditions import Representation
from bot.web.encodings import encode
from bot.web.respond import OF_FAMILY, content

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MODIFIED = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
FRAME = bytes([0xFF, 0xFB, 0x54, 0xC0]).ljust(192, b"\0")  # 24 ms at 64 kbit/s
SECONDS = 30

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
  xmlns:podcast="https://podcastindex.org/namespace/1.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>
<title>Kitchen radio</title><link>{base}/r/k/</link><description>What was said in the kitchen.</description>
<language>en</language><itunes:author>Kitchen radio</itunes:author>
<itunes:owner><itunes:name>Kitchen radio</itunes:name><itunes:email>kitchen@pod.example</itunes:email></itunes:owner>
<itunes:explicit>false</itunes:explicit><itunes:type>episodic</itunes:type>
<itunes:category text="Society &amp; Culture"/><itunes:image href="{base}/r/k/cover-1.png"/>
<podcast:guid>9b024349-ccf0-5f69-a609-6b82873eab3c</podcast:guid><podcast:locked>yes</podcast:locked>
<atom:link href="{base}/r/k/feed.xml" rel="self" type="application/rss+xml"/>
{more}{items}</channel></rss>
"""
ITEM = """<item><title>Episode {number}</title><description>Some words.</description>
<guid isPermaLink="false">guid-{number}</guid><pubDate>Fri, 20 Nov 2026 {number:02}:05:00 +0000</pubDate>
<enclosure url="{base}/r/k/{number}.mp3" length="{length}" type="audio/mpeg"/><itunes:duration>30</itunes:duration>
<podcast:chapters url="{base}/r/k/{number}.chapters.json" type="application/json+chapters"/>
<podcast:alternateEnclosure type="audio/ogg" length="9"><podcast:source uri="{base}/r/k/{number}.opus"/>
</podcast:alternateEnclosure></item>
"""


def mp3(seconds: int = SECONDS) -> bytes:
    """Return an MP3 file without a sound, tagged as the bot's own are."""
    frames = -(-(seconds * 48_000 + DELAY) // 1152)
    tag = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    return tag + info_frame(frames=frames, kbps=64, samples=seconds * 48_000) + FRAME * frames


def png(width: int = 1400, height: int = 1400) -> bytes:
    """Return the beginning of a PNG: nobody looks behind its header."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + crc32(header).to_bytes(4, "big")


def jpeg(width: int, height: int, colours: int = 3) -> bytes:
    """Return the beginning of a JPEG, with another segment before its size."""
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\xff\xd8\xff\xe0\x00\x04xx\xff\xc2\x00\x11\x08" + sizes + bytes([colours]) + bytes(20)


Bend = Callable[[web.BaseRequest, web.StreamResponse], web.StreamResponse | None]


class Site:
    """The files of the podcast by their paths; `bend` may change or replace an answer, `stalled` names those that wait
    for the end of the site."""

    def __init__(self, episodes: int = 2) -> None:
        self.base = ""
        self.prefix = ""
        self.secure = False
        self.asked: list[str] = []
        self.bend: Bend = lambda _, answer: answer
        self.stalled: set[str] = set()
        self.over = asyncio.Event()
        self.headers = OF_FAMILY[Family.PUBLIC]
        self.files: dict[str, tuple[bytes, str]] = {
            "/healthz": (b'{"homeserver_last_heard": null}', "application/json"),
            "/robots.txt": (b"User-agent: *\nDisallow: /p/\n", "text/plain"),
            "/r/k/cover-1.png": (png(), "image/png"),
        }
        for number in range(1, episodes + 1):
            self.files[f"/r/k/{number}.mp3"] = (mp3(), "audio/mpeg")
            self.files[f"/r/k/{number}.chapters.json"] = (b"{}", "application/json+chapters")
            self.files[f"/r/k/{number}.opus"] = (b"OggS-opus", "audio/ogg")
        self.episodes = episodes

    def items(self, numbers: Sequence[int] | None = None) -> str:
        """Return episodes as items of a feed, the newest first."""
        every = numbers if numbers is not None else range(self.episodes, 0, -1)
        length = len(mp3())
        return "".join(ITEM.format(base=self.base, number=number, length=length) for number in every)

    def write(self, path: str = "/r/k/feed.xml", items: str | None = None, more: str = "") -> None:
        """Write a document of the feed."""
        told = FEED.format(base=self.base, items=self.items() if items is None else items, more=more)
        told = told.replace("/r/k/feed.xml", path, 1)
        self.files[path] = (told.encode(), "application/rss+xml; charset=utf-8")

    def change(self, old: str, new: str, path: str = "/r/k/feed.xml") -> None:
        """Replace a text of the feed."""
        body, kind = self.files[path]
        assert old.encode() in body
        self.files[path] = (body.replace(old.encode(), new.encode()), kind)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path in self.stalled:
            await self.over.wait()
        body, kind = self.files.get(request.path.removeprefix(self.prefix), (b"", ""))
        if not kind:
            answer = web.Response(status=404, text="Not found\n")
        elif kind.startswith("application/rss"):
            answer = encode(body, kind).response(request, dict(self.headers), MODIFIED)
        else:
            file = Representation(sha256(body).hexdigest(), len(body), MODIFIED)
            answer = content(request, body, file, dict(self.headers), {})
            answer.headers["Content-Type"] = kind
        answer.headers["Date"] = "Mon, 30 Nov 2026 12:00:00 GMT"
        bent = self.bend(request, answer)
        if bent is None:
            assert request.transport is not None
            request.transport.abort()
            return answer
        return bent

    async def check(self, *, private: bool = False, now: datetime = NOW) -> list[Finding]:
        """Check the feed as it stands."""
        async with stranger_at(self.base) as stranger:
            found = check_feed(stranger, self.base, f"{self.base}/r/k/feed.xml", lambda: now, private=private)
            return [finding async for finding in found]


@asynccontextmanager
async def site(episodes: int = 2, *, prefix: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """Serve a podcast that is right in everything."""
    made = Site(episodes)
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=10)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    made.prefix = prefix
    made.base = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    made.write()
    try:
        yield made
    finally:
        made.over.set()
        await runner.cleanup()


def wrong(findings: Sequence[Finding]) -> list[tuple[Level, str]]:
    """Return the level and subject of what is not as it should be; that only this machine reaches it is known."""
    return [(each.level, each.subject) for each in findings if each.level is not Level.OK and each.subject != "address"]
