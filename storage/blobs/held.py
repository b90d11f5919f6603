"""The object that tells whose a prefix of a bucket is, so that no store removes what another one needs.

A store has a name of its own for this, which a restored store does not share: it may run beside the one that the backup
is of. It gets the prefix of that one only where it takes its place: the same folder, or the same database.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import obstore

from storage import journal
from storage.blobs.door import Blobs
from storage.blobs.s3 import S3Blobs
from storage.blobs.troubles import told
from storage.errors import MediaHeldError
from storage.place import Place

if TYPE_CHECKING:
    from storage.store import Store

OBJECT = "aircheck-store.json"
MOST_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """A store: its name, and where its rows lie, for people."""

    store: str
    place: str


async def hold(store: "Store", blobs: Blobs) -> None:
    """Take the prefix for this store where it is nobody's. Raises MediaHeldError, StoreError."""
    if not isinstance(blobs, S3Blobs):
        return
    async with store.read() as db:
        name = await journal.get(db, journal.MEDIA_STORE)
    there, where = await _read(blobs), store.place.where
    if there is not None and there.store != name:
        raise _held(blobs, there)
    if name is None:
        async with store.write() as db:
            name = await journal.get(db, journal.MEDIA_STORE) or secrets.token_hex(16)
            await journal.put(db, journal.MEDIA_STORE, name)
    if there != Holder(name, where):
        await _write(blobs, Holder(name, where))


async def take(blobs: Blobs, place: Place, name: str) -> None:
    """Take the prefix for a store of this name that is being made in this place, unless it is that of one elsewhere.
    Raises MediaHeldError, StoreError."""
    if not isinstance(blobs, S3Blobs):
        return
    there = await _read(blobs)
    if there is not None and there.place != place.where:
        raise _held(blobs, there)
    await _write(blobs, Holder(name, place.where))


async def _read(blobs: S3Blobs) -> Holder | None:
    try:
        with told():
            answer = await obstore.get_async(blobs.objects, OBJECT, options={"range": (0, MOST_BYTES)})
            data = bytes(await answer.bytes_async())
        content = json.loads(data)
        return Holder(str(content["store"]), str(content["place"]))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return Holder("", f"?, which the object {OBJECT} does not tell")


async def _write(blobs: S3Blobs, holder: Holder) -> None:
    with told():
        await obstore.put_async(blobs.objects, OBJECT, json.dumps(asdict(holder)).encode(), use_multipart=False)


def _held(blobs: S3Blobs, there: Holder) -> MediaHeldError:
    bucket = blobs.bucket
    address = f"s3://{'/'.join(filter(None, (bucket.name, bucket.prefix, OBJECT)))}"
    return MediaHeldError(
        f"storage.media_url holds the media of another store, that in {there.place}: give this one a prefix of its own;"
        f" if that store is gone for good, delete {address}"
    )
