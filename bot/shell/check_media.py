"""The finding of `aircheck check` on a media store by address."""

from contextlib import AbstractAsyncContextManager

from bot.check.finding import Finding, Level
from bot.settings import Settings
from storage.database import Connection
from storage.errors import StoreError

SUBJECT = "media store"
MOST_SKEW_S = 60
"""Seconds between the clocks of which nothing is said; S3 refuses requests from 15 minutes on."""


async def check_media(settings: Settings) -> Finding | None:
    """Write, read, sign and delete a small object. None for media in the folder."""
    place = settings.storage.place
    if place.media_url is None:
        return None
    from storage.blobs.probe import probe  # who has a folder needs no obstore
    from storage.blobs.s3 import S3Blobs

    try:
        blobs = S3Blobs(place, place.media_url, _NoRows())
        skew_s = await probe(blobs)
    except (StoreError, OSError) as error:
        return Finding(Level.FAIL, SUBJECT, str(error))
    where = f"{blobs.origin}, bucket {blobs.bucket.name}"
    if skew_s is not None and abs(skew_s) > MOST_SKEW_S:
        return Finding(Level.WARN, SUBJECT, f"{where}: its clock and ours are {abs(skew_s):.0f} s apart")
    if blobs.bucket.is_plain and not blobs.origin.startswith(("http://127.", "http://localhost", "http://[::1]")):
        return Finding(Level.WARN, SUBJECT, f"{where}: plain http, so that audio crosses the network unencrypted")
    return Finding(Level.OK, SUBJECT, f"{where}: can be written, read, signed for, and deleted from")


class _NoRows:
    def read(self) -> AbstractAsyncContextManager[Connection]:
        raise AssertionError("a trial reads no rows")

    write = read
