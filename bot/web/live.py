"""Live listening: the playlist of a running broadcast and its segments, cut out of the frames of the episode."""

import asyncio
import gzip
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256

from aiohttp import web

from bot.audio import hls
from bot.audio.hls import Listing
from bot.web import respond
from bot.web.access import Access, Family
from bot.web.caches import Made
from bot.web.conditions import Representation, takes_gzip
from bot.web.on_air import OnAir, Tuner
from bot.web.streams import Again, Streams

log = logging.getLogger(__name__)

PLAYLIST = "application/vnd.apple.mpegurl"
AUDIO = "audio/mpeg"
CACHE_BYTES = 8 * 1024 * 1024
COMPRESSION = 6
_NUMBER = "0|[1-9][0-9]{0,8}"
_NAME = re.compile(rf"(?P<code>[a-z]{{6}})(\.m3u8|-live\.mp3|-(?P<generation>{_NUMBER})-(?P<segment>{_NUMBER})\.mp3)")
NEWEST = "live.mp3"  # the stream of what began last


def is_live(name: str) -> bool:
    return name == NEWEST or _NAME.fullmatch(name) is not None


def stream_of(code: str) -> str:
    return f"{code}-live.mp3"


@dataclass(frozen=True, slots=True)
class Text:
    """A playlist in both encodings."""

    plain: bytes
    packed: bytes
    tag: str

    @property
    def weight(self) -> int:
        return len(self.plain) + len(self.packed)


class Live:
    """Everything below a room's address that is heard while it is spoken."""

    def __init__(self, tuner: Tuner, streams: Streams, clock: Callable[[], datetime]) -> None:
        self._tuner = tuner
        self._streams = streams
        self._clock = clock
        self._texts: Made[tuple[str, Listing], Text] = Made(CACHE_BYTES, lambda text: text.weight)

    async def answer(
        self, request: web.BaseRequest, access: Access, name: str, again: Again
    ) -> web.StreamResponse | None:
        """What has this name; None when nothing has. `again` asks for the access anew, for what goes on for long."""
        asked = _NAME.fullmatch(name)
        listens = request.method != "HEAD"
        found = await self._tuner.find(access, asked["code"], listens=listens) if asked else None
        if asked is None or found is None:
            return None
        if name.endswith(".m3u8"):
            return await self._playlist(request, access.claim.family, found)
        if asked["segment"] is None:
            return await self._streams.answer(request, access, found, again)
        if int(asked["generation"]) != found.track.generation:
            return None
        return await self._segment(request, access, found, int(asked["segment"]))

    async def _playlist(self, request: web.BaseRequest, family: Family, found: OnAir) -> web.Response | None:
        now = self._clock()
        air = found.at(now)
        if not air.segments:
            return respond.not_yet(hls.SECONDS)
        code = found.recording.code
        text = await self._texts.get((code, air), partial(_written, air, code))
        tag, packed_tag = text.tag, f"{text.tag}-gz"
        headers = {**respond.OF_FAMILY[family], "Vary": "Accept-Encoding"}
        if not air.ripe:
            headers["Retry-After"] = str(hls.SECONDS)  # our page heeds it
        kind = {"Content-Type": PLAYLIST}
        modified = now.replace(microsecond=0)
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            file = Representation(packed_tag, len(text.packed), modified, frozenset({tag}))
            return respond.content(request, text.packed, file, headers, {**kind, "Content-Encoding": "gzip"})
        file = Representation(tag, len(text.plain), modified, frozenset({packed_tag}))
        return respond.content(request, text.plain, file, headers, kind)

    async def _segment(
        self, request: web.BaseRequest, access: Access, found: OnAir, segment: int
    ) -> web.Response | None:
        """No cache may give it away unasked: a redaction, or a member who left, must end it."""
        count = found.at(self._clock()).frames_of(segment)
        if not count:
            return None
        frames = await self._tuner.frames(found, segment, count)
        if frames is None:
            # Between our look and this the frames went into the episode's file.
            now = await self._tuner.find(access, found.recording.code)
            same = now is not None and now.track.generation == found.track.generation
            frames = await self._tuner.frames(now, segment, count) if now is not None and same else None
        if frames is None:
            log.warning("frames of recording %s are not where they were", found.recording.code)
            return None
        body = hls.timestamp(segment) + frames
        file = Representation(sha256(body).hexdigest(), len(body), found.changed_at.replace(microsecond=0))
        return respond.content(request, body, file, respond.OF_FAMILY[access.claim.family], {"Content-Type": AUDIO})


async def _written(air: Listing, code: str) -> Text:
    """Off the loop: that of six hours has 3,600 segments."""
    return await asyncio.to_thread(_write, air, code)


def _write(air: Listing, code: str) -> Text:
    plain = hls.playlist(air, code).encode()
    return Text(plain, gzip.compress(plain, COMPRESSION, mtime=0), sha256(plain).hexdigest())
