"""The transport by which an SFU sends sound: it offers a line for each track that we subscribed to, we answer."""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bot.calls.media.bounds import Bucket
from bot.calls.media.door import Refused
from bot.calls.media.livekit.description import Local, Source, read
from bot.calls.media.livekit.reception import Reception, report
from bot.calls.media.livekit.transport import Relay, Transport

MOST_PACKETS = 200  # a second, of one stream
BURST_PACKETS = 400
MOST_RESTARTS = 0.1  # of ICE, a second
RESTARTS_BURST = 6
REPORT_S = 1.0
REQUEST_S = 0.0525  # between requests for what is missing; LiveKit passes over those within 100 ms of the last
MOST_BLOCKS = 31  # in a report
_SSRC = slice(8, 12)


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream that is received."""

    identity: str
    source: Source
    reception: Reception
    packets: Bucket


class Subscriber:
    """The receiving transport. `owner` tells whose sound a track is, None: nobody's that is received; `heard` takes a
    packet of a participant, with the payload types that are Opus; `changed`: as of Transport."""

    def __init__(
        self,
        *,
        private: bool,
        owner: Callable[[str], str | None],
        heard: Callable[[str, bytes, Collection[int]], None],
        changed: Callable[[bool], None],
    ) -> None:
        self._owner, self._heard = owner, heard
        self._transport = Transport(private=private, admits=self._admits, received=self._received, changed=changed)
        self._sources: Mapping[int, Source] = {}
        self._streams: dict[int, _Stream] = {}
        self._ice = ("", "")  # the user name and password of the SFU
        self._candidates: list[str] = []
        self._local: Local | None = None
        self._restarts = Bucket(MOST_RESTARTS, RESTARTS_BURST)
        self._ssrc = secrets.randbits(32)
        self._missing = asyncio.Event()
        self._reporting = [asyncio.ensure_future(self._report()), asyncio.ensure_future(self._request())]

    @property
    def is_up(self) -> bool:
        return self._transport.is_up

    @property
    def has_ended(self) -> bool:
        return self._transport.has_ended

    async def answer(self, offer: str, tracks: Mapping[str, str], relay: Relay | None) -> str:
        """Answer an offer. `tracks`: ids of tracks by the mids of their lines. Raises Refused."""
        remote = read(offer, "offer", tracks)
        if not self._transport.admits_restart(remote):
            raise Refused("restarted")
        ice = (remote.fragment, remote.password)
        if ice != self._ice or self._local is None:
            if not self._restarts.take(1, time.monotonic()):
                raise Refused("too_many")
            self._local = await self._transport.prepare(relay)
            self._ice = ice
            for candidate in remote.candidates:
                await self._transport.add_candidate(candidate)
            self._transport.connect(remote, controlling=remote.lite, client=True)
        self._sources = remote.sources
        self.route()
        return remote.answer(self._local)

    async def add_candidate(self, text: str) -> None:
        await self._transport.add_candidate(text)

    def route(self) -> None:
        """Find out anew whose sound each stream is."""
        streams = {}
        for ssrc, source in self._sources.items():
            identity = self._owner(source.track)
            if identity is None:
                continue
            before = self._streams.get(ssrc)
            if before is not None and (before.identity, before.source) == (identity, source):
                streams[ssrc] = before
            else:
                streams[ssrc] = _Stream(identity, source, Reception(ssrc), Bucket(MOST_PACKETS, BURST_PACKETS))
        self._streams = streams

    async def close(self) -> None:
        for task in self._reporting:
            task.cancel()
        await self._transport.close()

    def _admits(self, datagram: bytes) -> bool:
        stream = self._streams.get(int.from_bytes(datagram[_SSRC]))
        return stream is not None and stream.packets.take(1, time.monotonic())

    def _received(self, packet: bytes) -> None:
        stream = self._streams.get(int.from_bytes(packet[_SSRC]))
        if stream is None:
            return
        stream.reception.note(packet)
        if stream.reception.misses:
            self._missing.set()
        self._heard(stream.identity, packet, stream.source.payload_types)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            blocks = [stream.reception.block() for stream in self._streams.values()]
            for begin in range(0, len(blocks), MOST_BLOCKS):
                await self._transport.send(report(self._ssrc, blocks[begin : begin + MOST_BLOCKS]))

    async def _request(self) -> None:
        """Ask for what is missing, at once and again; while ICE is restarted it would go to where nobody is."""
        while True:
            await self._missing.wait()
            self._missing.clear()
            for stream in list(self._streams.values()):
                if stream.reception.misses and self._transport.is_settled:
                    await self._transport.send(report(self._ssrc, []) + stream.reception.request(self._ssrc))
            await asyncio.sleep(REQUEST_S)
            if any(stream.reception.misses for stream in self._streams.values()):
                self._missing.set()
