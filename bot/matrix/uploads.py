"""Media, streamed from a file to the homeserver, in encrypted rooms with a key of its own, in constant memory."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from yarl import URL

from bot.errors import GiveUp, TryLater
from bot.matrix.address import parse_mxc
from bot.matrix.media import GRACE_S, LEAST_BYTES_PER_S
from bot.matrix.wire import CONNECT_S, NotMatrix, Refused, Wire, error_body, failure, path, read_json
from storage.records import EncryptedFile, MediaSource, MxcUri

READ_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024
LIMIT_HOLDS_S = 3600.0
MOST_BYTES = 1 << 30
"""The largest upload where the homeserver names no limit."""


class TooLarge(TryLater):
    """A file that the homeserver, or a proxy before it, does not take. The limit is lower from now on."""

    def __init__(self, limit: int) -> None:
        super().__init__("the homeserver does not take a file of this size", at_most_s=1)
        self.limit = limit


class Sealing:
    """The key, cipher and hash of an attachment (Client-Server API, sending encrypted attachments), fed in parts."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._counter = os.urandom(8) + bytes(8)
        self._cipher: CipherContext = Cipher(algorithms.AES(self._key), modes.CTR(self._counter)).encryptor()
        self._sealed = hashlib.sha256()

    def update(self, part: bytes) -> bytes:
        sealed = self._cipher.update(part)
        self._sealed.update(sealed)
        return sealed

    def finish(self) -> EncryptedFile:
        """Return what opens the file."""
        key = base64.urlsafe_b64encode(self._key).decode("ascii").rstrip("=")
        return EncryptedFile(key, _unpadded(self._counter), _unpadded(self._sealed.digest()))


def _unpadded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii").rstrip("=")


def sealed_file(source: MediaSource) -> dict[str, Any]:
    """Return the `file` of an event (Client-Server API, EncryptedFile v2)."""
    assert source.file is not None
    key = {"kty": "oct", "alg": "A256CTR", "ext": True, "k": source.file.key, "key_ops": ["encrypt", "decrypt"]}
    hashes = {"sha256": source.file.sha256}
    return {"v": "v2", "url": source.mxc, "key": key, "iv": source.file.iv, "hashes": hashes}


class Uploads:
    """Uploads to the wire's homeserver."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._limit: int | None = None
        self._limit_until = 0.0
        self._refused = MOST_BYTES  # half of the smallest size that was refused within the last hour
        self._refused_until = 0.0

    async def limit(self) -> int:
        """Return the bytes that an upload may have (Client-Server API, content repository: config), as the homeserver
        said and refused within the last hour. Raises TryLater, Refused."""
        now = asyncio.get_running_loop().time()
        if now >= self._refused_until:
            self._refused = MOST_BYTES
        if self._limit is None or now >= self._limit_until:
            size = (await self._config()).get("m.upload.size")
            self._limit = size if isinstance(size, int) and 0 < size < MOST_BYTES else MOST_BYTES
            self._limit_until = now + LIMIT_HOLDS_S
        return min(self._limit, self._refused)

    async def _config(self) -> dict[str, Any]:
        """Read the homeserver's limits: as authenticated media, then by the endpoint that old homeservers have."""
        try:
            return await self._wire.call("GET", path("config", api="client/v1/media"))
        except (Refused, NotMatrix) as error:
            if error.status not in (404, 405):
                raise
        try:
            return await self._wire.call("GET", path("config", api="media/v3"))
        except (Refused, NotMatrix) as error:
            if error.status not in (404, 405):
                raise
            return {}

    async def upload(self, file: Path, mimetype: str, *, name: str, sealed: bool) -> MediaSource:
        """Upload a file and return its address. A `sealed` one tells the homeserver neither its type nor its name.

        Raises TryLater, TooLarge, Refused, and OSError for the file's errors.
        """
        sealing = Sealing() if sealed else None
        size = (await asyncio.to_thread(file.stat)).st_size
        url = URL(self._wire.homeserver + path("upload", api="media/v3"), encoded=True)
        headers = {
            **self._wire.authorization(),
            "Content-Type": "application/octet-stream" if sealed else mimetype,
            "Content-Length": str(size),
        }
        patience = aiohttp.ClientTimeout(total=GRACE_S + size / LEAST_BYTES_PER_S, sock_connect=CONNECT_S)
        query = {} if sealed else {"filename": name}
        try:
            async with (
                self._wire.using() as http,
                http.post(
                    url.with_query(query),
                    data=_read(file, sealing),
                    headers=headers,
                    timeout=patience,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise self._refusal(
                        failure(response.status, response.headers, await error_body(response), auth=True), size
                    )
                answer = await read_json(response, MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._limit = None  # ask first next time, before anything is made that can't be sent
            raise TryLater(f"the upload was interrupted ({type(error).__name__})") from None
        return MediaSource(_address(answer), sealing.finish() if sealing else None)

    def _refusal(self, error: Exception, size: int) -> Exception:
        """Return TooLarge for a file that is, also by the limit of a proxy."""
        if isinstance(error, Refused | NotMatrix) and error.status == 413:
            self._refused = min(self._refused, size // 2)
            self._refused_until = asyncio.get_running_loop().time() + LIMIT_HOLDS_S
            return TooLarge(self._refused)
        return error


def _address(answer: Any) -> MxcUri:
    address = answer.get("content_uri") if isinstance(answer, dict) else None
    try:
        parse_mxc(address if isinstance(address, str) else "")
    except GiveUp:
        raise TryLater("the homeserver's answer has no address of the media") from None
    return MxcUri(str(address))


async def _read(file: Path, sealing: Sealing | None) -> AsyncIterator[bytes]:
    """Yield the file's bytes, sealed if so wished. Each part is read off the event loop."""
    with await asyncio.to_thread(file.open, "rb") as source:
        while part := await asyncio.to_thread(source.read, READ_BYTES):
            yield sealing.update(part) if sealing is not None else part
