"""Media, streamed from the homeserver to a file: capped, checked and decrypted on the way, in constant memory.

One redirect is allowed, without the token, and never into a private network other than the homeserver's own host: the
connection goes to the address that was checked.
"""

import asyncio
import base64
import binascii
import errno
import hashlib
import hmac
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

from bot import counted
from bot.addresses import is_public
from bot.errors import GiveUp, TryLater, WrongBytes
from bot.matrix.address import parse_mxc
from bot.matrix.wire import CONNECT_S, USER_AGENT, NotMatrix, Refused, Wire, failure, path, read_body
from storage.errors import DiskFullError
from storage.records import EncryptedFile, MediaSource

READ_BYTES = 64 * 1024
MAX_ERROR_BYTES = 64 * 1024
STALLED_S = 30.0  # without a byte; the homeserver may fetch the media from another one first
GRACE_S = 90.0
LEAST_BYTES_PER_S = 4 * 1024  # after the grace; a slower download is tried again later
UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchedMedia:
    """A downloaded file: the number of decrypted bytes and their SHA-256 in lower-case hex."""

    bytes: int
    sha256: str


class PrivateAddress(OSError):
    """A host name or address in a private network, where a redirect must not lead."""


class PublicResolver(AbstractResolver):
    """A resolver that gives public addresses only, and any for `own_host`. Raises PrivateAddress if none is left."""

    def __init__(self, own_host: str | None) -> None:
        self._own_host = own_host
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await self._system.resolve(host, port, family)
        if host == self._own_host:
            return addresses
        public = [address for address in addresses if is_public(address["host"])]
        if not public:
            raise PrivateAddress("the host has no public address")
        return public

    async def close(self) -> None:
        await self._system.close()


def strangers(*, private: bool) -> aiohttp.TCPConnector:
    """Make a connector to hosts that strangers name: into the public Internet alone, unless they may be `private`. It
    connects to the address that was judged; one that is no name is the caller's to judge (`is_literal`)."""
    return aiohttp.TCPConnector(resolver=None if private else PublicResolver(None), use_dns_cache=False)


class Decryption:
    """Hash and cipher of an attachment, fed in parts (Client-Server API, sending encrypted attachments)."""

    def __init__(self, file: EncryptedFile | None) -> None:
        self._cipher: CipherContext | None = None
        self._announced: bytes | None = None
        if file is not None:
            key, counter = _exactly(file.key, 32), _exactly(file.iv, 16)
            self._announced = _exactly(file.sha256, 32)
            self._cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
        self._sealed = hashlib.sha256()
        self._clear = hashlib.sha256()

    def update(self, part: bytes) -> bytes:
        if self._cipher is not None:
            self._sealed.update(part)
            part = self._cipher.update(part)
        self._clear.update(part)
        return part

    def finish(self, size: int) -> str:
        """Give the hex SHA-256 of the `size` decrypted bytes. Raises WrongBytes if the announced hash differs.

        WrongBytes carries the decrypted hash: equal hashes of two downloads mean equal answers, because the cipher
        maps bytes one to one.
        """
        if self._announced is not None and not hmac.compare_digest(self._sealed.digest(), self._announced):
            raise WrongBytes(size, self._clear.hexdigest())
        return self._clear.hexdigest()


def _exactly(text: str, length: int) -> bytes:
    """Decode base64 of either alphabet, padded or not, of exactly this length. Raises GiveUp (bad_key)."""
    try:
        plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != length:
        raise GiveUp("the media's key is malformed", reason="bad_key")
    return raw


class Media:
    """Downloads from the wire's homeserver."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def fetch_media(self, source: MediaSource, part: Path, *, max_bytes: int) -> FetchedMedia:
        """Download into `part`, of mode 0600 and on the disk when this returns; any failure but WrongBytes removes it.

        Raises TryLater, DiskFullError, WrongBytes, or GiveUp: not_found, too_large, bad_address, forbidden, bad_key.
        """
        outcome = "refused"
        try:
            with counted.DOWNLOAD_S.timing():
                fetched = await self._fetch(source, part, max_bytes)
            outcome = "done"
            counted.DOWNLOADED.add(by=fetched.bytes)
            return fetched
        except WrongBytes:
            outcome = "wrong"
            raise
        except GiveUp:
            raise
        except BaseException:
            outcome = "later"
            raise
        finally:
            counted.DOWNLOADS.add(outcome)

    async def _fetch(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
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
                raise TryLater(f"the media's download was interrupted ({type(error).__name__})") from None
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise DiskFullError("the disk is full: media could not be stored") from None
            if isinstance(error, OSError):
                raise TryLater(f"the media can't be stored ({error.strerror})") from None
            raise

    @asynccontextmanager
    async def _download(self, server: str, media_id: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Request the bytes: as authenticated media, then by the endpoint that old homeservers have."""
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
                    raise _refusal(error)
            raise GiveUp("the homeserver has no media repository", reason="not_found")

    async def _redirected(
        self, stack: AsyncExitStack, url: URL, response: aiohttp.ClientResponse
    ) -> aiohttp.ClientResponse:
        """Request the redirect's target without the token. Raises GiveUp (forbidden)."""
        own_host = url.host
        target = _target(url, response.headers.get("Location", ""))
        if target.scheme not in ("http", "https") or not target.host or target.user or target.password:
            raise GiveUp("the media's redirect is malformed", reason="forbidden")
        if is_literal(target.host) and target.host != own_host and not is_public(target.host):
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
    """Write the decrypted bytes; give their number. Raises GiveUp (too_large), TryLater if they come too slowly."""
    clock = asyncio.get_running_loop().time
    began, size = clock(), 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        async for part_bytes in response.content.iter_chunked(READ_BYTES):
            size += len(part_bytes)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if clock() - began > GRACE_S + size / LEAST_BYTES_PER_S:
                raise TryLater("the media downloads too slowly")
            file.write(decryption.update(part_bytes))
        file.flush()
        await asyncio.to_thread(os.fsync, descriptor)
    return size


def _target(url: URL, location: str) -> URL:
    """Resolve a redirect's target, with every escape as it was sent. Raises GiveUp (forbidden).

    A signed address breaks when `%27` becomes an apostrophe, so only characters that no request may hold are escaped.
    """
    try:
        location.encode()  # fails for bytes that were not UTF-8
        target = url.join(URL(UNSENDABLE.sub(lambda match: quote(match[0]), location), encoded=True))
        assert target.port is None or target.port >= 0  # yarl parses the port only now
        return target
    except ValueError:
        raise GiveUp("the media's redirect is malformed", reason="forbidden") from None


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=STALLED_S)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)


def is_literal(host: str) -> bool:
    """Tell whether aiohttp connects without the resolver, as it also does for shorthands such as 127.1."""
    return ":" in host or host.replace(".", "").isdigit()


def address_of_stranger(text: str, secure: str, *, private: bool) -> URL:
    """Check an address that a stranger gave, of the scheme `secure` (`https`, `wss`), or where it may be private of
    that without TLS too. A name in it is judged when it is connected to.

    Raises ValueError where it makes no sense, PrivateAddress where it may not be private and is, or is without TLS.
    """
    url = URL(text)
    if url.scheme not in (secure, secure.removesuffix("s")) or not url.host or url.port == 0:
        raise ValueError("no such address")
    if url.user is not None or url.password is not None:
        raise ValueError("an address with a password")
    if not private and (url.scheme != secure or (is_literal(url.host) and not is_public(url.host))):
        raise PrivateAddress("the address is not of the public Internet, by TLS")
    return url


def _is_unknown_endpoint(error: Exception) -> bool:
    """Tell whether the endpoint does not exist, which old homeservers answer without a Matrix error."""
    if isinstance(error, Refused):
        return error.status in (404, 405) and error.errcode == "M_UNRECOGNIZED"
    return isinstance(error, NotMatrix) and error.status in (404, 405)


def _too_large(max_bytes: int) -> GiveUp:
    return GiveUp(f"the media is larger than {max_bytes} bytes", reason="too_large")


def _refusal(error: Exception) -> Exception:
    """Map a refusal: media that is not uploaded yet may come (M_NOT_YET_UPLOADED), the rest is given up."""
    if not isinstance(error, Refused):
        return error
    if error.errcode == "M_NOT_YET_UPLOADED":
        return TryLater("the media is not uploaded yet")
    reason = {401: "forbidden", 403: "forbidden", 413: "too_large"}.get(error.status, "not_found")
    return GiveUp(error.sentence, reason=reason)
