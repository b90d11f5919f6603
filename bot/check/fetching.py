"""Requests of a stranger to the bot's own public address, and to no other: without cookies, bounded in bytes and time.

Redirects are followed one by one, and only below that address. What a feed names elsewhere is never asked, so that
nobody who can write into a feed can make the bot ask for it.
"""

import asyncio
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from bot.check.answers import Answer, Failure, Fetched, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=8, sock_read=8)
MOST_REDIRECTS = 5
MOST_HEADER_BYTES = 16 * 1024
PIECE_BYTES = 128 * 1024
AGENT = "Aircheck (check of its own feed)"
PLAIN = MappingProxyType({"Accept-Encoding": "identity"})


class Stranger:
    """A client that knows nothing but public addresses that begin with `base`."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = URL(base)

    async def get(self, address: str, most: int, headers: Mapping[str, str] = PLAIN, *, method: str = "GET") -> Fetched:
        """Return the answer with at most so many bytes of its body."""
        body = bytearray()

        def keep(piece: bytes) -> bool:
            body.extend(piece[: most - len(body)])
            return len(body) < most

        fetched = await self.stream(address, keep, headers, method=method)
        if isinstance(fetched, Failure):
            return fetched
        return Answer(fetched.status, fetched.headers, bytes(body), fetched.whole, fetched.moved)

    async def head(self, address: str) -> Fetched:
        return await self.get(address, 0, method="HEAD")

    async def stream(
        self,
        address: str,
        take: Callable[[bytes], bool],
        headers: Mapping[str, str] = PLAIN,
        *,
        method: str = "GET",
    ) -> Fetched:
        """Hand the body to `take` piece by piece, in a thread, until it returns False; return the answer without it."""
        moved: list[str] = []
        while True:
            fetched = await self._ask(method, address, headers, take)
            if isinstance(fetched, Failure):
                return fetched
            answer = Answer(fetched.status, fetched.headers, b"", fetched.whole, tuple(moved))
            location = fetched.headers.get("location") if fetched.is_redirect else None
            target = self._joined(address, location) if location is not None else None
            if target is None:
                return answer
            moved.append(target)
            if len(moved) > MOST_REDIRECTS or not self.is_ours(target):
                return Answer(answer.status, answer.headers, moved=tuple(moved))
            address = target

    def is_ours(self, address: str) -> bool:
        """Return whether an address lies below the base, however it is written."""
        try:
            url = URL(address)
            same = url.origin() == self._base.origin() and url.user is None and url.password is None
        except (ValueError, TypeError):
            return False
        root = self._base.path.rstrip("/") + "/"
        return same and url.path.startswith(root) and ".." not in url.path.split("/")

    def _joined(self, address: str, location: str) -> str | None:
        try:
            return str(URL(address).join(URL(location)))
        except ValueError:
            return None

    async def _ask(
        self, method: str, address: str, headers: Mapping[str, str], take: Callable[[bytes], bool]
    ) -> Fetched:
        if not self.is_ours(address):
            return Failure(Trouble.ELSEWHERE)
        try:
            async with self._http.request(method, address, headers=headers, allow_redirects=False) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                whole = True
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    if not await asyncio.to_thread(take, piece):
                        whole = response.content.at_eof()
                        break
                return Answer(response.status, told, whole=whole)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return _failure(error)


@asynccontextmanager
async def stranger_at(base: str) -> "AsyncIterator[Stranger]":
    """Provide a client of the public address `base`."""
    async with aiohttp.ClientSession(
        timeout=TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": AGENT},
        max_line_size=MOST_HEADER_BYTES,
        max_field_size=MOST_HEADER_BYTES,
    ) as http:
        yield Stranger(http, base)


def unpacked(body: bytes, most: int) -> bytes | None:
    """Unpack gzip, at most so many bytes of it; None for other bytes."""
    try:
        return zlib.decompressobj(wbits=31).decompress(body, most)
    except zlib.error:
        return None


async def certificate_ends(base: str) -> datetime | None:
    """Return when the certificate of the server at `base` ends; None where it can't be had. (aiohttp gives a connection
    away as soon as a short answer is there.)"""
    url = URL(base)
    try:
        async with asyncio.timeout(TIMEOUT.sock_connect):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=ssl.create_default_context())
    except (OSError, TimeoutError, ValueError):
        return None
    try:
        tls = writer.get_extra_info("ssl_object")
        ends = (tls.getpeercert() or {}).get("notAfter")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if ends else None
    finally:
        writer.transport.abort()


def _failure(error: Exception) -> Failure:
    """Tell what kept an answer away; the text of an exception may hold the address, so none is taken on."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure(Trouble.NAME)
        case aiohttp.ClientConnectorCertificateError():
            reason = error.certificate_error
            return Failure(
                Trouble.CERTIFICATE,
                reason.verify_message if isinstance(reason, ssl.SSLCertVerificationError) else "",
            )
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Failure(Trouble.TLS)
        case TimeoutError():
            return Failure(Trouble.TIME)
        case aiohttp.ClientConnectorError():
            return Failure(Trouble.REFUSED)
        case _:
            return Failure(Trouble.BROKEN)
