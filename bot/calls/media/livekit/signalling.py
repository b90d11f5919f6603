"""The WebSocket to an SFU: LiveKit's signalling (`livekit_rtc.proto`), as protocol 16 has it.

The token goes in a header, where no proxy logs it. An SFU is named by a member of the room, so nothing of it is
trusted: it must lie in the public Internet, unless the homeserver stands for it (`private`); it is not followed
elsewhere; its messages are bounded in size and are read no faster than `MOST_MESSAGES`.
"""

import asyncio
import logging
import time
from types import SimpleNamespace

import aiohttp
from google.protobuf.message import DecodeError
from livekit.protocol import rtc
from yarl import URL

from bot.calls.media.bounds import Bucket
from bot.calls.media.door import Refused
from bot.matrix.media import PrivateAddress, address_of_stranger, strangers
from bot.matrix.wire import USER_AGENT

PROTOCOL = 16
CONNECT_S = 8.0  # to the first message
MOST_BYTES = 1024 * 1024  # of a message
MOST_MESSAGES = 100  # a second
BURST = 2000
MOST_BYTES_READ = 256 * 1024  # a second
BYTES_BURST = 4 * MOST_BYTES
SILENT_S = 20.0  # without a message, where the SFU names no time
LEAST_PING_S = 1.0
SEND_S = 0.5
CLOSE_S = 0.5
REFUSALS = frozenset({401, 403, 404})  # of the token, or of a room that doesn't exist

log = logging.getLogger(__name__)


class Signalling:
    """A WebSocket."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http, self._socket = http, socket
        self._messages = Bucket(MOST_MESSAGES, BURST)
        self._bytes = Bucket(MOST_BYTES_READ, BYTES_BURST)
        self._silent_s = SILENT_S
        self._pinging: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def receive(self) -> rtc.SignalResponse | None:
        """Return the next message; None at the end, which also is silence and a message that is malformed."""
        free = self._messages.take(1, time.monotonic())
        await asyncio.sleep(
            0 if free else 1 / MOST_MESSAGES
        )  # messages that are there already are no pause by themselves
        try:
            message = await self._socket.receive(self._silent_s)
            if message.type is not aiohttp.WSMsgType.BINARY:
                return None
            if not self._bytes.take(len(message.data), time.monotonic()):
                await asyncio.sleep(len(message.data) / MOST_BYTES_READ)
            return rtc.SignalResponse.FromString(message.data)
        except (TimeoutError, DecodeError, aiohttp.ClientError, OSError) as error:
            log.info("signalling ends: %s", type(error).__name__)
            return None

    async def send(self, **message: object) -> None:
        """Send a request, by the name of its message; it is lost where the WebSocket has ended."""
        request = rtc.SignalRequest(**message)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_bytes(request.SerializeToString())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.info("a message to the SFU was not sent: %s", type(error).__name__)

    def keep_alive(self, interval_s: int, timeout_s: int) -> None:
        """Send pings from now on, as the SFU wishes."""
        if timeout_s > 0:
            self._silent_s = min(timeout_s, SILENT_S)
        if interval_s > 0 and self._pinging is None:
            self._pinging = asyncio.ensure_future(self._ping(max(interval_s, LEAST_PING_S)))

    async def close(self) -> None:
        """Close it, also where the caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close()
        except TimeoutError:
            log.debug("the SFU did not close the WebSocket")
        await self._http.close()

    async def _ping(self, interval_s: float) -> None:
        while not self._socket.closed:
            await asyncio.sleep(interval_s)
            now = int(time.time() * 1000)
            await self.send(ping=now)
            await self.send(ping_req=rtc.Ping(timestamp=now))


async def connect(url: str, token: str, *, private: bool, resume: str | None = None) -> Signalling:
    """Connect to an SFU. `resume`: the id of the participant that we are. Raises Refused (`bad_url`, `private_address`,
    `refused`, `unreachable`)."""
    address = _address(url, private).update_query(
        protocol=str(PROTOCOL), sdk="unknown", version="1", auto_subscribe="0", adaptive_stream="0"
    )
    if resume is not None:
        address = address.update_query(reconnect="1", sid=resume)
    http = _http(private)
    try:
        async with asyncio.timeout(CONNECT_S):
            headers = {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}
            return Signalling(http, await http.ws_connect(address, headers=headers, max_msg_size=MOST_BYTES))
    except BaseException as error:
        await http.close()
        if isinstance(error, (TimeoutError, aiohttp.ClientError, OSError, ValueError)):
            raise Refused(_reason(error)) from None  # without what it says, which may hold the token
        raise


def _http(private: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_stay)
    return aiohttp.ClientSession(
        connector=strangers(private=private),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
    )


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status in REFUSALS:
        return "refused"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddress):
        return "private_address"
    return "unreachable"


async def _stay(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    """Refuse to be redirected."""
    raise Refused("unreachable")


def _address(url: str, private: bool) -> URL:
    try:
        address = address_of_stranger(url, "wss", private=private)
    except ValueError:
        raise Refused("bad_url") from None
    except PrivateAddress:
        raise Refused("private_address") from None
    return address.with_query(None).with_fragment(None) / "rtc"
