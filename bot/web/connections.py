"""Connections of the web server: how many are admitted, and how long one may idle.

A new connection takes the place of the one that has waited longest without a request, so that idle ones keep nobody
out. Where all are busy it is refused, which costs an accept and a close. Downloads and streams have a share of the
places, so that short requests are answered whatever is downloaded.

A client that sends no whole request in time, or takes nothing for `sockets.STUCK_S` of what is sent to it, is
disconnected, whatever it is that is sent. A slow one that goes on taking is not.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from bot import counted, descriptors
from bot.web import capacity, respond
from bot.web.clients import Clients, asked_origin
from bot.web.icecast import Mounts
from bot.web.route_names import OTHER
from bot.web.sockets import Delivery, discard
from bot.web.taken_over import TakenOver, TakeSource

log = logging.getLogger(__name__)

KEPT_FREE = 64
"""Descriptors that stay free, whatever the web may have."""
MOST_OF_A_CLIENT = 100
"""Connections of one client; of one behind a trusted proxy, requests."""
TRANSFERS = 0.75
"""Share of the connections that downloads and streams may have."""
FIRST_REQUEST_S = 15.0
"""Seconds from the connection, or the first byte of a later request, to the last header."""
CHECK_EACH_S = 1.0
LOG_EACH_S = 60.0
ONE_CLIENT = "refused, too many of one address"
ALL_TAKEN = "refused, all places taken"
IDLE = "idle, closed for a new one"
DOWNLOADS = "refused, too many downloads"
_NAMES = {ONE_CLIENT: "client", ALL_TAKEN: "places", IDLE: "idle", DOWNLOADS: "downloads"}
"""Events of the log, and their short names for those who count."""
Transferring = Callable[[], AbstractContextManager[bool]]
AnswerAtOnce = Callable[[str, str, Mapping[str, str]], bytes | bytearray | None]
"""The whole answer to the method, path and headers of a request; None where it is not at hand."""


class ClientConnection(web.RequestHandler):
    """A connection of a client. `busy`: a request of it is being answered."""

    def __init__(self, connections: "Connections", server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._socket: asyncio.Transport | None = None
        self.busy = False
        self.since = 0.0  # the connection, the end of the last answer, or the first byte of a request
        self.request_due = True  # the first one, or one that has begun
        self.delivery = Delivery(0.0)
        self._stop_file: Callable[[], None] | None = None
        self.client: str | None = None
        self.through_proxy = False
        self.forwarded_for: str | None = None  # the client of the running request, where a proxy tells it
        self._beginning: bytes | None = b""  # of a request: its first bytes, until they tell who sends it
        self._source: TakenOver | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        if self._connections.admit(self, self._socket):
            super().connection_made(transport)
        else:
            discard(self._socket)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        if self._source is not None:
            self._source.end(exc)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._source is not None:
            self._source.feed(data)
            return
        if not self.busy and not self.request_due:
            self.request_due, self.since = True, self._connections.now()
            if self._waiter is not None and not self._waiter.done():
                self._beginning = b""  # behind other requests: proxies keep their connections
        if self._beginning is not None:
            data = self._beginning + data
            mounts = self._connections.mounts
            taken = mounts.are_meant(data) if self._connections.take_source is not None else False
            self._beginning = data if taken is None else None
            if taken and self._socket is not None:  # a source client: aiohttp does not take its request
                self._end_keepalive()
                self._source = self._connections.take_over(self, self._socket, data)
            if taken is not False:
                return
        waiter = self._waiter
        if waiter is None or waiter.done():
            super().data_received(data)
            return
        self._waiter = None  # aiohttp's task sleeps on, until there is something to do for it
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if self._messages and not self._answered_at_once():
            waiter.set_result(None)

    def _end_keepalive(self) -> None:
        """Let aiohttp not close the connection, on which it will see no request any more."""
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None

    def _answered_at_once(self) -> bool:
        """Answer the one request that has come, where its answer is at hand and nothing waits to be sent."""
        message, payload = self._messages[0]
        if len(self._messages) > 1 or payload is not EMPTY_PAYLOAD or not isinstance(message, RawRequestMessage):
            return False
        if message.version != HttpVersion11 or message.should_close or message.upgrade or not self.idle:
            return False
        answer = self._connections.at_once(self, message)
        if answer is None or self._parser is None or self._socket is None or self._socket.is_closing():
            return False
        self._messages.popleft()
        self._parser.message_consumed()
        self.request_due, self._keepalive = False, True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        self._socket.write(answer)
        return True

    @property
    def idle(self) -> bool:
        """Whether no request runs and nothing waits to be sent."""
        return not self.busy and self._socket is not None and not self._socket.get_write_buffer_size()

    @property
    def asking(self) -> str | None:
        """The client whose request runs: where a proxy tells, the one behind it; None where that is not known."""
        return self.forwarded_for or self.client

    def origin(self, request: web.BaseRequest) -> str | None:
        """Return the scheme and host by which a request of this connection was made, as `asked_origin`."""
        return asked_origin(request.headers, trusted=self.through_proxy)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses, such as a malformed request, with one line. Its own answer names its version
        and repeats the request. A client that has gone gets no answer, and is no error: its exception is raised."""
        if isinstance(exc, ConnectionError):
            raise exc
        super().handle_error(request, status, exc, message)  # logs it, and raises where an answer has begun
        counted.REQUESTS.add(OTHER, f"{status // 100}xx")
        answer = respond.short(status, HTTPStatus(status).phrase)
        answer.force_close()
        return answer

    def is_over(self, now: float) -> bool:
        """Return whether the client has kept the server waiting for too long."""
        if self._socket is None or self.idle:
            # Between requests aiohttp looks at the time.
            return self.request_due and now - self.since > FIRST_REQUEST_S
        if self._stop_file is None and not self._socket.get_write_buffer_size():  # the answer is being made
            self.delivery = Delivery(now)
            return False
        return self.delivery.is_stuck(self._socket, now)

    @contextmanager
    def sending_file(self, stop: Callable[[], None]) -> Iterator[None]:
        """Send by sendfile in the block: data waits to be sent, though the transport holds none. `stop` ends it, for
        the kernel has to be told before the connection is closed."""
        self._stop_file, self.delivery = stop, Delivery(self._connections.now())
        try:
            yield
        finally:
            self._stop_file = None

    def discard(self) -> None:
        """Close the connection at once and drop all unsent data."""
        if self._stop_file is not None:
            self._stop_file()
        elif self._socket is not None:
            discard(self._socket)


class Connections:
    """All connections of one server; those without a request in the order in which they began to wait."""

    def __init__(self, clients: Clients, now: Callable[[], float]) -> None:
        self.now = now
        self._answer_at_once: AnswerAtOnce = lambda *_: None
        self._clients = clients
        self._descriptors = descriptors.limit()
        self._most = capacity.connections(self._descriptors)
        self._open: dict[ClientConnection, None] = {}
        self._waiting: OrderedDict[ClientConnection, None] = OrderedDict()  # the longest first
        self._by_client: Counter[str] = Counter()
        self._forwarded: Counter[str] = Counter()  # running requests through proxies, by client
        self._transfers = 0
        self._free_descriptors = 0
        self._counted_at = -CHECK_EACH_S
        self._log = _RefusalLog(now)
        self._timer: asyncio.TimerHandle | None = None
        self.take_source: TakeSource | None = None
        self.mounts = Mounts()

    @property
    def backlog(self) -> int:
        """The number of connections that may wait to be accepted."""
        return capacity.backlog(self._descriptors)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def most(self) -> int:
        """The number of connections that may be open."""
        return self._most

    def server(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        at_once: AnswerAtOnce = lambda *_: None,
        **options: Any,
    ) -> web.Server:
        """Make aiohttp's server, whose connections are counted here. `at_once` is asked before `handle`."""
        connections, self._answer_at_once = self, at_once

        class Server(web.Server):
            def __call__(self) -> web.RequestHandler:
                return ClientConnection(connections, self, loop=asyncio.get_running_loop(), **options)

        return Server(handle)

    def start(self) -> None:
        """Begin to close connections whose client keeps the server waiting."""
        self._timer = asyncio.get_running_loop().call_later(CHECK_EACH_S, self._close_overdue)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- connections

    def admit(self, connection: ClientConnection, transport: asyncio.Transport) -> bool:
        """Count a new connection, closing an idle one where needed; False where there is no place for it."""
        now, peer = self.now(), transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else ""
        client = self._clients.of_connection(host)
        connection.client, connection.since = client, now
        connection.through_proxy = self._clients.behind_proxies and self._clients.trusts(host)
        if client is not None and self._by_client[client] >= MOST_OF_A_CLIENT:
            if not self._close_an_idle_one(client):
                self._count(ONE_CLIENT)
                return False
        elif self._is_full(now) and not self._close_an_idle_one(None):
            self._count(ALL_TAKEN)
            return False
        self._open[connection] = self._waiting[connection] = None
        self._free_descriptors -= 1
        if client is not None:
            self._by_client[client] += 1
        return True

    def remove(self, connection: ClientConnection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._waiting.pop(connection, None)
            self._free_descriptors += 1
            if connection.client is not None:
                _decrement(self._by_client, connection.client)

    def _is_full(self, now: float) -> bool:
        if len(self._open) >= self._most:
            return True
        if now - self._counted_at >= CHECK_EACH_S:
            self._counted_at = now
            kept_free = min(KEPT_FREE, self._descriptors // 8)
            self._free_descriptors = self._descriptors - descriptors.used() - kept_free
        return self._free_descriptors <= 0

    def _close_an_idle_one(self, client: str | None) -> bool:
        """Close the connection that has waited longest without a request; `client`: only of this client."""
        for connection in self._waiting:
            if connection.idle and client in (None, connection.client):
                self._count(IDLE)
                self.remove(connection)
                connection.discard()
                return True
        return False

    def _close_overdue(self) -> None:
        now = self.now()
        for connection in [connection for connection in self._open if connection.is_over(now)]:
            log.debug("connection closed: its client neither asked nor read")
            connection.discard()
        self._timer = asyncio.get_running_loop().call_later(CHECK_EACH_S, self._close_overdue)

    # ---- requests

    def begin(self, connection: ClientConnection, request: web.BaseRequest) -> bool:
        """Count a request; False where its client has too many running. Call `end` in both cases."""
        connection.busy, connection.request_due = True, False
        self._waiting.pop(connection, None)
        if connection.through_proxy:
            client = self._clients.of_request(request.headers.get("X-Forwarded-For", ""))
            if self._has_too_many(client):
                self._count(ONE_CLIENT)
                return False
            connection.forwarded_for = client
            if client is not None:
                self._forwarded[client] += 1
        return True

    def take_over(self, connection: ClientConnection, transport: asyncio.Transport, first: bytes) -> TakenOver:
        """Hand a connection over to those who serve source clients. It is busy once its source is let in."""

        def let_in() -> None:
            connection.busy, connection.request_due = True, False
            self._waiting.pop(connection, None)

        assert self.take_source is not None
        return self.take_source(transport, first, let_in, lambda: self.end(connection))

    def _has_too_many(self, client: str | None) -> bool:
        return client is not None and self._forwarded[client] >= MOST_OF_A_CLIENT

    def at_once(self, connection: ClientConnection, message: RawRequestMessage) -> bytes | bytearray | None:
        """Return the answer to a request that is at hand; it is over with its sending."""
        headers = message.headers
        if connection.through_proxy and self._has_too_many(
            self._clients.of_request(headers.get("X-Forwarded-For", ""))
        ):
            return None
        answer = self._answer_at_once(message.method, message.path, headers)
        if answer is not None and connection in self._waiting:
            self._waiting.move_to_end(connection)
        return answer

    def end(self, connection: ClientConnection) -> None:
        """Note that the answer to a request is made."""
        connection.busy, connection.since = False, self.now()
        if connection in self._open:
            self._waiting[connection] = None
        if connection.forwarded_for is not None:
            _decrement(self._forwarded, connection.forwarded_for)
            connection.forwarded_for = None

    @contextmanager
    def transferring(self) -> Iterator[bool]:
        """Count a download or stream while the block runs; yields False where there are too many."""
        if self._transfers >= self._most * TRANSFERS:
            self._count(DOWNLOADS)
            yield False
            return
        self._transfers += 1
        try:
            yield True
        finally:
            self._transfers -= 1

    def _count(self, event: str) -> None:
        counted.TURNED_AWAY.add(_NAMES[event])
        self._log.count(event, len(self._open), self._most)


class _RefusalLog:
    """Counts of what was refused or closed, logged at most once a minute."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: Counter[str] = Counter()
        self._logged_at = -LOG_EACH_S

    def count(self, event: str, connections: int, most: int) -> None:
        self._counts[event] += 1
        now = self._now()
        if now - self._logged_at >= LOG_EACH_S:
            self._logged_at = now
            counts = "; ".join(f"{count} {event}" for event, count in sorted(self._counts.items()))
            self._counts.clear()
            log.warning("web connections: %s (open: %d of %d)", counts, connections, most)


def _decrement(counts: Counter[str], name: str) -> None:
    """Take one off a count; a count of 0 is deleted."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
