"""Blobs in a bucket of S3, or of a server that speaks its protocol, with local copies of what was used last.

An upload is whole or nothing: S3 shows an object when all of it has come. Its bytes are compared with the key on the
way, and with a checksum by the server. No transaction waits for the bucket: marks (`storage.blobs.marks`) keep an
upload and a removal of the same bytes apart.
"""

import asyncio
import hashlib
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import GenericError
from obstore.store import S3Store

from storage import archive
from storage.blobs import marks
from storage.blobs.bucket import Bucket, Keys
from storage.blobs.cache import Cache
from storage.blobs.door import There
from storage.blobs.folder import Rows, empty_folder
from storage.blobs.ranges import RangeFile
from storage.blobs.troubles import told
from storage.database import Changes, Connection
from storage.errors import ClaimLostError, MediaStoreError, StoreError
from storage.place import Place
from storage.records import BlobKey

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

log = logging.getLogger(__name__)

PART = 5 << 20
"""Bytes of one request: the smallest part that S3 takes, so that a slow line is in time with each."""
PARTS_AT_ONCE = 2
TRANSFERS = 4
"""Uploads and fetches at once, of PARTS_AT_ONCE parts in memory each."""
LOOKS_AT_ONCE = 8
LEAST_RANGE = 1 << 20
"""Bytes that a file over ranges reads at once at least."""
PAGE = 1000
ADDRESS_S = 300
REMEMBERED = timedelta(minutes=10)
MOST_REMEMBERED = 4096
TENDED_EVERY_S = 30.0
"""The least time between two looks at the local copies."""
TRIES = 3
"""Fetches until bytes that are not those of the key are given up."""
CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=60),
    "timeout": timedelta(seconds=120),
}
RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(seconds=60),
}
_TYPES = ((b"OggS", "audio/ogg"), (b"ID3", "audio/mpeg"), (b"\xff\xd8\xff", "image/jpeg"), (b"\xff", "audio/mpeg"))


class S3Arrival:
    """Blobs that have arrived in the bucket and are named by no row yet."""

    def __init__(self, token: str, keys: Sequence[BlobKey]) -> None:
        self.token = token
        self.keys = keys
        self.kept = False

    async def keep(self, db: Connection) -> None:
        if not self.keys:
            return
        if await marks.done(db, self.token) != len({*self.keys}):
            raise MediaStoreError("the upload took so long that it was taken for broken off")
        self.kept = True


class S3Blobs:
    """The door to a bucket. `rows`: those of the store; `scratch`: the folder in which the files of this process
    grow."""

    def __init__(self, place: Place, url: str, rows: Rows, scratch: Path | None = None) -> None:
        try:
            self.bucket = Bucket.of(url, os.environ)
        except ValueError as error:
            raise StoreError(f"storage.media_url {error}") from None
        self.origin = self.bucket.origin
        self.scratch = scratch or place.directory / "tmp"
        self.cache = Cache(self.scratch, place.cache_bytes, self._named)
        self.keys = Keys.of(os.environ)
        self.objects = _objects(self.bucket)
        self._rows = rows
        self._transfers = asyncio.Semaphore(TRANSFERS)
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._seen: OrderedDict[BlobKey, tuple[There, datetime]] = OrderedDict()

    @property
    def remote(self) -> "S3Blobs":
        return self

    def prepare(self) -> None:
        empty_folder(self.scratch)

    def part(self, name: str) -> Path:
        return self.scratch / name

    def relative(self, key: BlobKey) -> str:
        return self.bucket.shown(key)

    async def close(self) -> None:
        await self.cache.close()

    async def tend(self, changes: Changes) -> None:
        with changes.subscribe() as changed:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await self.cache.drop_unnamed()
                except StoreError as error:
                    log.info("local copies are looked at again in %.0f s: %s", TENDED_EVERY_S, error)
                    changed.set()
                await asyncio.sleep(TENDED_EVERY_S)

    async def _named(self, keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        async with self._rows.read() as db:
            return await archive.referenced(db, keys)

    # ---- looking and reading

    async def exists(self, key: BlobKey) -> bool:
        return await self.size(key) is not None

    async def size(self, key: BlobKey) -> int | None:
        there = await self._look(key)
        return there.bytes if there is not None else None

    async def unlike(self, sizes: Mapping[BlobKey, int]) -> frozenset[BlobKey]:
        keys = [*sizes]
        found = await asyncio.gather(*map(self.size, keys))
        return frozenset(key for key, size in zip(keys, found, strict=True) if size != sizes[key])

    async def there(self, key: BlobKey) -> There | None:
        there, asked_at = self._seen.get(key, (None, None))
        if there is not None and asked_at is not None and datetime.now(UTC) - asked_at < REMEMBERED:
            return there
        return await self._look(key)

    async def read(self, key: BlobKey, start: int = 0, count: int = -1) -> bytes:
        if (copy := self.cache.path(key)) is not None:
            try:
                return await asyncio.to_thread(_read, copy, start, count)
            except FileNotFoundError:
                pass  # it made room for others
        if count < 0:
            data = b"".join([piece async for piece in self._pieces(key, start)])
            if start == 0 and await asyncio.to_thread(_sha256, data) != key:
                raise MediaStoreError("the media store gave other bytes than were stored")
            return data
        return b"".join([piece async for piece in self._pieces(key, start, start + count)])

    async def is_whole(self, key: BlobKey) -> bool:
        digest = hashlib.sha256()
        try:
            async for piece in self._pieces(key):
                await asyncio.to_thread(digest.update, piece)
        except FileNotFoundError:
            return False
        return digest.hexdigest() == key

    def open(self, key: BlobKey, buffer: int = 0) -> BinaryIO:
        if (copy := self.cache.path(key)) is not None:
            try:
                return copy.open("rb")
            except FileNotFoundError:
                pass  # it made room for others
        if not is_key(key):
            raise FileNotFoundError(key)
        path = self.bucket.path(key)

        def read_range(start: int, count: int) -> bytes:
            with told():
                return bytes(obstore.get_range(self.objects, path, start=start, length=count))

        with told():
            size = obstore.get(self.objects, path, options={"range": (0, 1)}).meta["size"]
        return BufferedReader(RangeFile(read_range, size), max(buffer, LEAST_RANGE))

    @asynccontextmanager
    async def local(self, key: BlobKey) -> AsyncIterator[Path]:
        async with self.cache.local(key, partial(self._fetch, key)) as path:
            yield path

    async def address(self, key: BlobKey, *, mime: str, disposition: str) -> str:
        path = self.bucket.path(key)
        if self.keys is None:
            with told():
                return await obstore.sign_async(self.objects, "GET", path, timedelta(seconds=ADDRESS_S))
        answer = {"content-type": mime, "content-disposition": disposition}
        return self.bucket.signed(path, self.keys, datetime.now(UTC), ADDRESS_S, answer=answer)

    async def _look(self, key: BlobKey) -> There | None:
        """Ask for a blob's length, by its first byte: an answer to HEAD has no body, and so no reason."""
        try:
            async with self._looks:
                _, there = await self._range(key, 0, 1)
        except FileNotFoundError:
            self._seen.pop(key, None)
            return None
        self._seen[key] = there, datetime.now(UTC)
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return there

    async def _range(self, key: BlobKey, start: int, end: int) -> tuple[bytes, There]:
        """Read a range, which may reach beyond the end. Raises FileNotFoundError."""
        if not is_key(key):
            raise FileNotFoundError(key)  # a torn name in a row
        with told():
            try:
                answer = await obstore.get_async(self.objects, self.bucket.path(key), options={"range": (start, end)})
                data = bytes(await answer.bytes_async())
            except GenericError as error:
                if "InvalidRange" in str(error):  # nothing is there
                    return b"", There(0, None)
                raise
        there = There(answer.meta["size"], answer.meta["e_tag"])
        if len(data) != max(0, min(end, there.bytes) - start):
            raise MediaStoreError("the media store gave fewer bytes than it has")
        return data, there

    async def _pieces(self, key: BlobKey, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a blob, or a range of it, a request for each piece. Raises FileNotFoundError."""
        while end is None or start < end:
            piece, there = await self._range(key, start, start + PART if end is None else min(end, start + PART))
            if not piece:
                return
            yield piece
            start, end = start + len(piece), there.bytes if end is None else min(end, there.bytes)

    async def _fetch(self, key: BlobKey, part: Path) -> None:
        """Write a blob to a file, and compare its hash."""
        async with self._transfers:
            for _ in range(TRIES):
                digest = hashlib.sha256()
                with await asyncio.to_thread(part.open, "wb") as out:
                    async for piece in self._pieces(key):
                        await asyncio.to_thread(_add, out, digest.update, piece)
                if digest.hexdigest() == key:
                    return
        raise MediaStoreError("the media store gave other bytes than were stored")

    # ---- arriving

    @asynccontextmanager
    async def arriving(self, *files: tuple[Path, BlobKey], stays: bool = False) -> AsyncIterator[S3Arrival]:
        arrival = S3Arrival(secrets.token_hex(16), [key for _, key in files])
        if not files:
            yield arrival
            return
        async with self._rows.write() as db:
            await marks.done(db, _token_of_failed(arrival.keys))  # this try sees to them
            await marks.arriving(db, arrival.keys, arrival.token, datetime.now(UTC))
        try:
            async with asyncio.TaskGroup() as uploads:
                for file, key in files:
                    uploads.create_task(self._upload(file, key))
            yield arrival
            if not arrival.kept:
                await self._take_back(arrival)
        except ExceptionGroup as group:
            await self._take_back(arrival)
            raise group.exceptions[0] from None
        except Exception:
            await self._take_back(arrival)
            raise
        if arrival.kept and not stays:
            for file, key in files:
                await self.cache.take(file, key)

    async def _take_back(self, arrival: S3Arrival) -> None:
        """Remove what arrived for nothing. Where that can't be done now, a mark stays, and ends by itself."""
        try:
            async with self._rows.write() as db:
                await marks.done(db, arrival.token)
            try:
                await self.forget(arrival.keys)
            except MediaStoreError as error:
                log.info("an upload that is not needed may stay for now: %s", error)
                token = _token_of_failed(arrival.keys)
                async with self._rows.write() as db:
                    await marks.done(db, token)
                    await marks.arriving(db, arrival.keys, token, datetime.now(UTC))
        except (StoreError, ClaimLostError) as error:
            log.warning("an upload that is not needed stays marked for now: %s", error)

    async def _upload(self, file: Path, key: BlobKey) -> None:
        async with self._transfers:
            size = (await asyncio.to_thread(file.stat)).st_size
            head = await asyncio.to_thread(_read, file, 0, 8)
            attributes = {"Content-Type": next((kind for begin, kind in _TYPES if head.startswith(begin)), _BYTES)}
            path = self.bucket.path(key)
            source = _compared(file, key)
            with told():
                if size > PART:
                    await obstore.put_async(
                        self.objects,
                        path,
                        source,
                        attributes=attributes,
                        chunk_size=PART,
                        max_concurrency=PARTS_AT_ONCE,
                    )
                else:
                    data = b"".join([piece async for piece in source])
                    await obstore.put_async(self.objects, path, data, attributes=attributes, use_multipart=False)
            if await self.size(key) != size:
                raise MediaStoreError("an upload has not the length of its file")

    # ---- removal and listing

    async def forget(self, keys: Sequence[BlobKey]) -> list[BlobKey]:
        token, keys = secrets.token_hex(16), [key for key in keys if is_key(key)]  # a torn name is that of no object
        async with self._rows.write() as db:
            needed = await archive.referenced(db, keys)
            gone = [key for key in keys if key not in needed]
            if gone:
                await marks.leaving(db, gone, token, datetime.now(UTC))
        if not gone:
            return []
        try:
            await self.cache.drop(gone)
            await self._delete(gone, token)
        finally:
            await self._end(token)
        return gone

    async def discard(self, key: BlobKey) -> None:
        token = secrets.token_hex(16)
        if not is_key(key):
            return
        async with self._rows.write() as db:
            if await marks.of(db, [key]):
                return  # an upload replaces it, or a removal is under way
            await marks.leaving(db, [key], token, datetime.now(UTC))
        try:
            await self.cache.drop([key])
            if await self.size(key) is not None and not await self.is_whole(key):
                await self._delete([key], token)
        finally:
            await self._end(token)

    async def _delete(self, keys: Sequence[BlobKey], token: str) -> None:
        """Delete objects while their marks hold. Raises MediaStoreError."""
        for key in keys:
            self._seen.pop(key, None)
        async with self._rows.read() as db:
            may_remove = await marks.may_remove(db, token, datetime.now(UTC))
        if not may_remove:
            raise MediaStoreError("a removal took so long that it was taken for broken off")
        with told():
            await obstore.delete_async(self.objects, [self.bucket.path(key) for key in keys])

    async def _end(self, token: str) -> None:
        async with self._rows.write() as db:
            await marks.done(db, token)

    async def pages(self) -> AsyncIterator[list[BlobKey]]:
        with told():
            async for page in obstore.list(self.objects, chunk_size=PAGE):
                names = (entry["path"].rpartition("/")[2] for entry in page)
                yield [BlobKey(name) for name in names if is_key(name)]


_BYTES = "application/octet-stream"


def is_key(name: str) -> bool:
    """Return whether a name is that of a blob: what else lies below the prefix is not ours."""
    return len(name) == 64 and not {*name} - {*"0123456789abcdef"}


def _objects(bucket: Bucket) -> S3Store:
    config: S3Config = {
        "endpoint": bucket.origin,
        "region": bucket.region,
        "virtual_hosted_style_request": bucket.virtual,
        "checksum_algorithm": os.environ.get("AWS_CHECKSUM_ALGORITHM", "SHA256"),
    }
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        config=config,
        client_options={**CLIENT, "allow_http": bucket.is_plain},
        retry_config=RETRIES,
    )


async def _compared(file: Path, key: BlobKey) -> AsyncIterator[bytes]:
    """Yield a file in parts. Raises OSError before the last one is used up where it has not this hash: an upload of it
    is aborted then."""
    digest = hashlib.sha256()
    with await asyncio.to_thread(file.open, "rb") as source:
        while piece := await asyncio.to_thread(source.read, PART):
            await asyncio.to_thread(digest.update, piece)
            yield piece
    if digest.hexdigest() != key:
        raise OSError(5, "a file is not the one that its hash names")


def _read(path: Path, start: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(count)


def _token_of_failed(keys: Sequence[BlobKey]) -> str:
    """Return the token that marks all uploads of these blobs that have failed."""
    return _sha256("".join(keys).encode())[:32]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _add(out: BinaryIO, note: Callable[[bytes], object], piece: bytes) -> None:
    out.write(piece)
    note(piece)
