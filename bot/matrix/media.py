"""Media, streamed from the homeserver to a file: capped, checked and decrypted on the way, in constant memory.

A redirect is followed by hand, once, without the token, and never into a private network other than the
homeserver's own host: the address that was checked is the one that is connected to.
"""

import asyncio
import base64
import binascii
import errno
import hashlib
import hmac
import ipaddress
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from yarl import URL

from bot.errors import GiveUp, TryLater, WrongBytes
from bot.matrix.address import parse_mxc
from bot.matrix.wire import CONNECT_S, USER_AGENT, NotMatrix, Refused, Wire, failure, path, read_body
from storage.errors import DiskFullError
from storage.records import EncryptedFile, MediaSource

PIECE = 64 * 1024
MAX_ERROR_BYTES = 64 * 1024
STALLED_S = 30.0  # without one byte; the homeserver may fetch from another one first
GRACE_S = 90.0
LEAST_BYTES_PER_S = 4 * 1024  # after the grace: who drips is given up for now
UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchedMedia:
    """What lies in the file: decrypted bytes and the lower-case hex SHA-256 of them."""

    bytes: int
    sha256: str


class PrivateAddress(OSError):
    """A host name that leads where strangers must not send us."""


def is_public(address: str) -> bool:
    """Is it an address of the open Internet, also where IPv4 is wrapped in IPv6?"""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96") or ip in ipaddress.ip_network("::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, `own_host` to any. Raises PrivateAddress if nothing is left."""

    def __init__(self, own_host: str | None) -> None:
        self._own_host = own_host
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        if host == self._own_host:
            return found
        public = [one for one in found if is_public(one["host"])]
        if not public:
            raise PrivateAddress("the host has no public address")
        return public

    async def close(self) -> None:
        await self._system.close()


class Decryption:
    """Hashes and decrypts an attachment piece by piece (Client-Server API, sending encrypted attachments)."""

    def __init__(self, file: EncryptedFile | None) -> None:
        self._cipher: CipherContext | None = None
        self._wanted: bytes | None = None
        if file is not None:
            key, counter = _exactly(file.key, 32), _exactly(file.iv, 16)
            self._wanted = _exactly(file.sha256, 32)
            self._cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
        self._sealed = hashlib.sha256()
        self._clear = hashlib.sha256()

    def update(self, piece: bytes) -> bytes:
        if self._cipher is not None:
            self._sealed.update(piece)
            piece = self._cipher.update(piece)
        self._clear.update(piece)
        return piece

    def finish(self, size: int) -> str:
        """Hex SHA-256 of the decrypted bytes, so many as were put in. Raises WrongBytes: two answers that decrypt to
        the same are the same, for the cipher maps bytes one to one."""
        if self._wanted is not None and not hmac.compare_digest(self._sealed.digest(), self._wanted):
            raise WrongBytes(size, self._clear.hexdigest())
        return self._clear.hexdigest()


def _exactly(text: str, length: int) -> bytes:
    """Base64 of either alphabet, padded or not. Raises GiveUp (bad_key)."""
    try:
        plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != length:
        raise GiveUp("the media's key is malformed", reason="bad_key")
    return raw


class Media:
    """Downloads from one homeserver with the wire's token."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def fetch_media(self, source: MediaSource, part: Path, *, max_bytes: int) -> FetchedMedia:
        """Into `part` (0600, on the disk when this returns; removed on any failure but WrongBytes).

        Raises TryLater, DiskFullError, WrongBytes, or GiveUp: not_found, too_large, bad_address, forbidden, bad_key.
        """
        server, media_id = parse_mxc(source.mxc)
        decryption = Decryption(source.file)
        try:
            async with self._download(server, media_id) as response:
                if response.content_length is not None and response.content_length > max_bytes:
                    raise _too_large(max_bytes)
                size = await _store(response, part, decryption, max_bytes)
            return FetchedMedia(size, decryption.finish(size))
        except WrongBytes:
            raise
        except BaseException as error:
            _discard(part)
            if isinstance(error, PrivateAddress):
                raise GiveUp("the media's redirect leads into a private network", reason="forbidden") from None
            if isinstance(error, aiohttp.ClientError | TimeoutError):
                raise TryLater(f"the media's download broke off ({type(error).__name__})") from None
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise DiskFullError("the disk is full: media could not be stored") from None
            if isinstance(error, OSError):
                raise TryLater(f"the media can't be written ({error.strerror})") from None
            raise

    @asynccontextmanager
    async def _download(self, server: str, media_id: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer that carries the bytes. Authenticated media first, the way before it on old homeservers."""
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(self._wire.using())
            for where in (
                path("download", server, media_id, api="client/v1/media"),
                path("download", server, media_id, api="media/v3"),
            ):
                url = URL(self._wire.homeserver + where, encoded=True)
                headers = {**self._wire.authorization(), "Accept-Encoding": "identity"}
                response = await stack.enter_async_context(
                    http.get(url, headers=headers, timeout=_timeout(), allow_redirects=False)
                )
                if response.status in REDIRECTS:
                    response = await self._redirected(stack, url, response)
                if response.status == 200:
                    yield response
                    return
                error = failure(
                    response.status, response.headers, await read_body(response, MAX_ERROR_BYTES), auth=True
                )
                if not _is_unknown_endpoint(error):
                    raise _said_no(error)
            raise GiveUp("the homeserver has no media repository", reason="not_found")

    async def _redirected(
        self, stack: AsyncExitStack, url: URL, response: aiohttp.ClientResponse
    ) -> aiohttp.ClientResponse:
        """The answer at the other address, asked without the token. Raises GiveUp (forbidden)."""
        own_host = url.host
        target = _target(url, response.headers.get("Location", ""))
        if target.scheme not in ("http", "https") or not target.host or target.user or target.password:
            raise GiveUp("the media's redirect is malformed", reason="forbidden")
        if _is_literal(target.host) and target.host != own_host and not is_public(target.host):
            raise PrivateAddress("the redirect names a private address")
        connector = aiohttp.TCPConnector(resolver=PublicResolver(own_host), use_dns_cache=False)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        try:
            answer = await stack.enter_async_context(
                http.get(target, headers=headers, timeout=_timeout(), allow_redirects=False)
            )
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PrivateAddress):
                raise error.os_error from None
            raise
        if answer.status in REDIRECTS:
            raise GiveUp("the media is redirected more than once", reason="forbidden")
        return answer


async def _store(response: aiohttp.ClientResponse, part: Path, decryption: Decryption, max_bytes: int) -> int:
    """Write the decrypted bytes; how many they are. Raises GiveUp (too_large), TryLater for one who drips."""
    clock = asyncio.get_running_loop().time
    began, size = clock(), 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        async for piece in response.content.iter_chunked(PIECE):
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if clock() - began > GRACE_S + size / LEAST_BYTES_PER_S:
                raise TryLater("the media comes too slowly")
            file.write(decryption.update(piece))
        file.flush()
        await asyncio.to_thread(os.fsync, descriptor)
    return size


def _target(url: URL, location: str) -> URL:
    """Where a redirect leads, with every escape as it was sent: a signed address is another one with `%27` written as
    an apostrophe. Only what can't stand in a request is escaped. Raises GiveUp (forbidden)."""
    try:
        location.encode()  # not so if bytes came that are no UTF-8
        target = url.join(URL(UNSENDABLE.sub(lambda found: quote(found[0]), location), encoded=True))
        assert target.port is None or target.port >= 0  # it is taken apart only now
        return target
    except ValueError:
        raise GiveUp("the media's redirect is malformed", reason="forbidden") from None


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=STALLED_S)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)


def _is_literal(host: str) -> bool:
    """Would aiohttp connect to it without asking the resolver? It does so for shorthands such as 127.1 too."""
    return ":" in host or host.replace(".", "").isdigit()


def _is_unknown_endpoint(error: Exception) -> bool:
    """Old homeservers answer so without a Matrix error."""
    if isinstance(error, Refused):
        return error.status in (404, 405) and error.errcode == "M_UNRECOGNIZED"
    return isinstance(error, NotMatrix) and error.status in (404, 405)


def _too_large(max_bytes: int) -> GiveUp:
    return GiveUp(f"the media is larger than {max_bytes} bytes", reason="too_large")


def _said_no(error: Exception) -> Exception:
    """Media that is announced and not uploaded yet comes later (M_NOT_YET_UPLOADED); what is refused is refused."""
    if not isinstance(error, Refused):
        return error
    if error.errcode == "M_NOT_YET_UPLOADED":
        return TryLater("the media is not uploaded yet")
    reason = {401: "forbidden", 403: "forbidden", 413: "too_large"}.get(error.status, "not_found")
    return GiveUp(error.sentence, reason=reason)
