"""Connections of the web server: how many there may be, and how long one may be held for nothing.

The recorder has the first claim on the process's files. The web has a share of the limit, and looks at how many are
free. A new connection takes the place of the one that has waited longest without a request: who holds idle ones keeps
nobody out. Where all are busy it is refused, which costs an accept and a close. Downloads and streams have a share of
the places, so that short requests are answered whatever is downloaded.

Who sends no whole request in time, or takes nothing of what is sent to them, is closed.
"""

import asyncio
import logging
import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, cast

from aiohttp import web

from bot import descriptors
from bot.web.clients import Callers

log = logging.getLogger(__name__)

RESERVED = 256
"""Files that are the recorder's: database, homeserver, chunks, ffmpeg. Half of them where there are few."""
MOST = 4000
KEPT_FREE = 64
PER_CALLER = 100
TRANSFERS = 0.75
"""Share of the places that downloads and streams may have."""
LONGEST_QUEUE = 128
AT_ONCE = 4
"""Times that a whole queue may be accepted before the first of it, if refused, is closed."""
FIRST_REQUEST_S = 15.0  # from the connection, or the first byte of a later request, to its last header
STUCK_S = 30.0  # so long may a client take nothing
LOOK_S = 1.0
TOLD_EACH_S = 60.0
Transferring = Callable[[], AbstractContextManager[bool]]
CUT = struct.pack("ii", 1, 0)  # SO_LINGER: what the kernel still holds goes with the connection
_TCP_INFO_BYTES = 128
_ACKED_AT = 120  # tcpi_bytes_acked, since Linux 4.1


class Line(web.RequestHandler):
    """One connection. `busy`: a request of it is being answered."""

    def __init__(self, lines: "Lines", server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._lines = lines
        self._line: asyncio.Transport | None = None
        self.busy = False
        self.since = 0.0  # the connection, the end of the last answer, or the first byte of a request
        self.asks = True  # a request is due or has begun
        self.taken = Taken(0.0)
        self.caller: str | None = None
        self.through_proxy = False
        self.asker: str | None = None  # of the request that is answered, where a proxy tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = cast("asyncio.Transport", transport)
        if self._lines.let_in(self, self._line):
            super().connection_made(transport)
        else:
            cut(self._line)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lines.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.busy and not self.asks:
            self.asks, self.since = True, self._lines.now()
        super().data_received(data)

    @property
    def held(self) -> bool:
        """Whether the client owes us a request, and nothing is on its way to it."""
        return not self.busy and self._line is not None and not self._line.get_write_buffer_size()

    def is_over(self, now: float) -> bool:
        """Whether the client has kept it waiting for too long."""
        if self._line is None or self.held:
            return self.asks and now - self.since > FIRST_REQUEST_S  # between requests aiohttp looks at the time
        if not self._line.get_write_buffer_size():  # the answer is made, or goes out by another way
            self.taken = Taken(now)
            return False
        return self.taken.is_stuck(self._line, now)

    def cut(self) -> None:
        if self._line is not None:
            cut(self._line)


class Taken:
    """What a client took of what is sent to it, looked at now and then."""

    def __init__(self, now: float) -> None:
        self._bytes = (0, 0)
        self._since = now

    def is_stuck(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Whether it took nothing for too long; to be asked only while something waits to be sent."""
        measure = (_acknowledged(transport), transport.get_write_buffer_size())
        if measure != self._bytes or measure == (0, 0):  # the kernel doesn't say
            self._bytes, self._since = measure, now
        return now - self._since > STUCK_S


def cut(transport: asyncio.WriteTransport) -> None:
    """Closes at once, with all that was not sent yet."""
    with suppress(OSError, AttributeError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
    transport.abort()


def _acknowledged(transport: asyncio.BaseTransport) -> int:
    """How many bytes the other side has; 0 where the kernel doesn't say."""
    line = transport.get_extra_info("socket")
    try:
        told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("Q", told, _ACKED_AT)[0])
    except (OSError, AttributeError, struct.error):
        return 0


def places(limit: int) -> int:
    """How many connections the web may have of so many files."""
    return max(1, min(MOST, (limit - min(RESERVED, limit // 2)) * 3 // 4))


def queue(limit: int) -> int:
    """How many connections may wait to be accepted: for a moment each of them is a file above the places."""
    left = limit - min(RESERVED, limit // 2) - places(limit)
    return max(2, min(LONGEST_QUEUE, left // AT_ONCE))


class Lines:
    """All connections of one server, those without a request in the order of their waiting."""

    def __init__(self, callers: Callers, now: Callable[[], float]) -> None:
        self.now = now
        self._callers = callers
        self._limit = descriptors.limit()
        self._most = places(self._limit)
        self._open: dict[Line, None] = {}
        self._waiting: OrderedDict[Line, None] = OrderedDict()  # the longest first
        self._by_caller: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()  # requests through proxies, by who asked them
        self._transfers = 0
        self._free = 0
        self._looked_at = -LOOK_S
        self._refusals: Counter[str] = Counter()
        self._told_at = -TOLD_EACH_S
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def queue(self) -> int:
        """How many may wait at the door."""
        return queue(self._limit)

    def __len__(self) -> int:
        return len(self._open)

    def server(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **options: Any) -> web.Server:
        """aiohttp's server, whose connections are counted here."""
        lines = self

        class Server(web.Server):
            def __call__(self) -> web.RequestHandler:
                return Line(lines, self, loop=asyncio.get_running_loop(), **options)

        return Server(handle)

    def start(self) -> None:
        """Looks after them from now on."""
        self._sweeping = asyncio.get_running_loop().call_later(LOOK_S, self._sweep)

    def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def let_in(self, line: Line, transport: asyncio.Transport) -> bool:
        """Whether there is a place for a new connection, or one is made."""
        now, peer = self.now(), transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else ""
        line.caller, line.since = self._callers.of_connection(host), now
        line.through_proxy = self._callers.behind_proxies and self._callers.trusts(host)
        if line.caller is not None and self._by_caller[line.caller] >= PER_CALLER:
            if not self._make_room(line.caller):
                self._refuse("one address has too many")
                return False
        elif (len(self._open) >= self._most or not self._files_left(now)) and not self._make_room(None):
            self._refuse("there are too many")
            return False
        self._open[line] = self._waiting[line] = None
        self._free -= 1
        if line.caller is not None:
            self._by_caller[line.caller] += 1
        return True

    def forget(self, line: Line) -> None:
        if line in self._open:
            del self._open[line]
            self._waiting.pop(line, None)
            self._free += 1
            if line.caller is not None:
                _take_out(self._by_caller, line.caller)

    def _files_left(self, now: float) -> bool:
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._free = self._limit - descriptors.used() - min(KEPT_FREE, self._limit // 8)
        return self._free > 0

    def _make_room(self, caller: str | None) -> bool:
        """Closes what has waited longest without a request, of one caller or of all."""
        for line in self._waiting:
            if line.held and caller in (None, line.caller):
                self._count("idle closed to make room")
                self.forget(line)
                line.cut()
                return True
        return False

    def begin(self, line: Line, request: web.BaseRequest) -> bool:
        """A request begins to be answered; False: who asks has too many already. Ends with `end`."""
        line.busy, line.asks = True, False
        self._waiting.pop(line, None)
        if line.through_proxy:
            asker = self._callers.of_request(request.headers.get("X-Forwarded-For", ""))
            if asker is not None and self._asking[asker] >= PER_CALLER:
                self._refuse("one address has too many")
                return False
            line.asker = asker
            if asker is not None:
                self._asking[asker] += 1
        return True

    def end(self, line: Line) -> None:
        """Its answer is made."""
        line.busy, line.since = False, self.now()
        if line in self._open:
            self._waiting[line] = None
        if line.asker is not None:
            _take_out(self._asking, line.asker)
            line.asker = None

    @contextmanager
    def transferring(self) -> Iterator[bool]:
        """Around a download or stream; False: there are too many."""
        if self._transfers >= self._most * TRANSFERS:
            self._refuse("there are too many downloads")
            yield False
            return
        self._transfers += 1
        try:
            yield True
        finally:
            self._transfers -= 1

    def _refuse(self, why: str) -> None:
        self._count(f"refused because {why}")

    def _count(self, what: str) -> None:
        self._refusals[what] += 1
        now = self.now()
        if now - self._told_at >= TOLD_EACH_S:
            self._told_at = now
            told = ", ".join(f"{count} {what}" for what, count in sorted(self._refusals.items()))
            self._refusals.clear()
            log.warning("connections of the web: %s (open now: %d of %d)", told, len(self._open), self._most)

    def _sweep(self) -> None:
        now = self.now()
        for line in [line for line in self._open if line.is_over(now)]:
            log.debug("a client kept its connection for nothing")
            line.cut()
        self._sweeping = asyncio.get_running_loop().call_later(LOOK_S, self._sweep)


def _take_out(counted: Counter[str], name: str) -> None:
    """One less; no name stays without any."""
    counted[name] -= 1
    if not counted[name]:
        del counted[name]
