"""A trial of a bucket: a small object is written, read by a range and at a signed address, and deleted."""

import asyncio
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import obstore

from storage.blobs.s3 import S3Blobs
from storage.blobs.troubles import told
from storage.errors import MediaStoreError
from storage.records import BlobKey

_TIMEOUT_S = 10


async def probe(blobs: S3Blobs) -> float | None:
    """Try everything that is needed; return by how many seconds the server's clock is ahead of ours, where it tells its
    time. Raises MediaStoreError."""
    data = secrets.token_bytes(64)
    name = BlobKey(f"check-{secrets.token_hex(8)}")  # never taken for a blob
    path = blobs.bucket.path(name)
    with told():
        await obstore.put_async(blobs.objects, path, data)
        try:
            if bytes(await obstore.get_range_async(blobs.objects, path, start=8, length=8)) != data[8:16]:
                raise MediaStoreError("the media store gave other bytes than were stored")
            address = await blobs.address(name, mime="audio/mpeg", disposition="inline")
            skew_s = await asyncio.to_thread(_ask, address, data)
        finally:
            await obstore.delete_async(blobs.objects, path)
    return skew_s


def _ask(address: str, data: bytes) -> float | None:
    """Read a signed address as a listener would. Blocking."""
    parts = urlsplit(address)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        body, date = answer.read(len(data) + 1), answer.getheader("Date")
    except (OSError, HTTPException):
        raise MediaStoreError("a signed address of the media store can't be reached") from None
    finally:
        connection.close()
    if answer.status != 200 or body != data:
        raise MediaStoreError(f"a signed address of the media store is refused: {answer.status}")
    try:
        return (parsedate_to_datetime(date or "") - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
