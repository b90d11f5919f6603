"""Live listening: the playlist of a live broadcast and its segments, cut out of the frames of the episode."""

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from hashlib import sha256

from aiohttp import web

from bot.audio import hls
from bot.audio.grid import SEGMENT_S
from bot.audio.hls import Listing
from bot.web import respond
from bot.web.access import Access, Family
from bot.web.caches import OnceCache
from bot.web.conditions import Representation
from bot.web.connections import ClientConnection
from bot.web.encodings import EncodedBody, encode
from bot.web.listening import Player
from bot.web.on_air import OnAir, Tuner
from bot.web.streams import Recheck, Streams

log = logging.getLogger(__name__)

PLAYLIST = "application/vnd.apple.mpegurl"
AUDIO = "audio/mpeg"
CACHE_BYTES = 8 * 1024 * 1024
_NUMBER = "0|[1-9][0-9]{0,8}"
_NAME = re.compile(rf"(?P<code>[a-z]{{6}})(\.m3u8|-live\.mp3|-(?P<generation>{_NUMBER})-(?P<segment>{_NUMBER})\.mp3)")
STREAM = "-live.mp3"
NEWEST = "live.mp3"
"""The stream of whichever broadcast began last."""


def is_live(name: str) -> bool:
    """Return whether a file name below a room's address is one of live listening."""
    return name == NEWEST or _NAME.fullmatch(name) is not None


def stream_of(code: str) -> str:
    return f"{code}{STREAM}"


class Live:
    """Playlists, segments and streams of what is on the air below a room's address."""

    def __init__(self, tuner: Tuner, streams: Streams, clock: Callable[[], datetime]) -> None:
        self._tuner = tuner
        self._streams = streams
        self._clock = clock
        self._playlists: OnceCache[tuple[str, Listing], EncodedBody] = OnceCache(CACHE_BYTES, lambda body: body.weight)

    async def answer(
        self, request: web.BaseRequest, access: Access, name: str, recheck: Recheck
    ) -> web.StreamResponse | None:
        """Answer for this file name; None when there is no such file. `recheck` decides about the access again, for a
        stream that runs for long."""
        asked = _NAME.fullmatch(name)
        # A stream that runs is a player by itself, and notes that by itself.
        listens = request.method != "HEAD" and not name.endswith(STREAM)
        player = player_of(request, access)
        on_air = await self._tuner.find(access, asked["code"], listens=listens, player=player) if asked else None
        if asked is None or on_air is None:
            return None
        if name.endswith(".m3u8"):
            return await self._playlist(request, access.claim.family, on_air)
        if asked["segment"] is None:
            return await self._streams.answer(request, access, on_air, recheck)
        if int(asked["generation"]) != on_air.track.generation:
            return None
        return await self._segment(request, access, on_air, int(asked["segment"]))

    async def _playlist(self, request: web.BaseRequest, family: Family, on_air: OnAir) -> web.Response | None:
        listing = on_air.at(self._clock())
        if not listing.segments:
            return respond.not_yet(SEGMENT_S)
        code = on_air.recording.code
        # Off the loop: the playlist of six hours has 3,600 segments.
        body = await self._playlists.get((code, listing), partial(asyncio.to_thread, _encoded_playlist, listing, code))
        headers = respond.OF_FAMILY[family]
        if not listing.ripe:
            headers = {**headers, "Retry-After": str(SEGMENT_S)}  # live.js heeds it
        return body.response(request, headers, None)  # it may change twice within a second

    async def _segment(
        self, request: web.BaseRequest, access: Access, on_air: OnAir, segment: int
    ) -> web.Response | None:
        """Answer with a segment that caches revalidate each time: a redaction, or a member's leaving, must end it."""
        span = on_air.at(self._clock()).span_of(segment)
        if not span.frames:
            return None
        frames = await self._tuner.frames(on_air, span)
        if frames is None:
            # The frames were moved into the episode's file after `find` had looked.
            now = await self._tuner.find(access, on_air.recording.code, listens=False)
            same = now is not None and now.track.generation == on_air.track.generation
            frames = await self._tuner.frames(now, span) if now is not None and same else None
        if frames is None:
            log.warning("recording %s: frames of segment %d can't be read", on_air.recording.code, segment)
            return None
        body = hls.timestamp(span.first) + frames
        file = Representation(sha256(body).hexdigest(), len(body), on_air.changed_at.replace(microsecond=0))
        return respond.content(request, body, file, respond.OF_FAMILY[access.claim.family], {"Content-Type": AUDIO})


def player_of(request: web.BaseRequest, access: Access) -> Player:
    """Return by what a player can be told from others: of one client, or personal address, each kind of app is one."""
    listener, connection = access.claim.listener, request.protocol
    who = listener.token_sha256 if listener is not None else None
    if who is None:
        who = connection.asking if isinstance(connection, ClientConnection) else None
    return who, request.headers.get("User-Agent", "")


def _encoded_playlist(listing: Listing, code: str) -> EncodedBody:
    return encode(hls.playlist(listing, code).encode(), PLAYLIST)
