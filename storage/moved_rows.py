"""Restored rows on their way into the database of a place: into the folder as a file, or into a server."""

from storage import journal, row_copies, snapshot
from storage.backup_folder import Manifest
from storage.database import Connection, Database
from storage.dialect import be_patient
from storage.place import Place
from storage.secret import SecretFile, SharedSecret


async def refuse_others(place: Place, manifest: Manifest, *, goes_on: bool) -> None:
    """Refuse a server's database that another process uses, or that holds anything but what the restore has brought
    that is gone on with. Raises StoreError, NotEmptyError among them."""
    if place.database_url is None:
        return
    from storage.postgresql import refuse_company  # here, for it takes memory that others need not spend

    await refuse_company(place.database_url)
    target = await Database.open(place)
    try:
        async with target.read() as db:
            if not (goes_on and await _is_moved(db, manifest)):
                await row_copies.refuse_rows(db)
    finally:
        await target.close()


async def move(rows: Database, place: Place, manifest: Manifest, secret: bytes | None, *, goes_on: bool) -> None:
    """Bring rows and secret to where they belong; the file of the rows itself stays where it is. Rows that an
    interrupted restore has brought are left alone. Raises StoreError."""
    if place.database_url is None:
        if secret is not None:
            await SecretFile(place.directory).replace(secret)
        return
    target = await Database.open(place)
    try:
        async with rows.read() as reading, target.write() as writing:
            if not (goes_on and await _is_moved(writing, manifest)):
                for connection in (reading, writing):
                    await be_patient(connection)
                await row_copies.copy(reading, writing, lambda *_: None)
        if secret is not None:
            await SharedSecret(target).replace(secret)
    finally:
        await target.close()


async def _is_moved(db: Connection, manifest: Manifest) -> bool:
    return await journal.get(db, snapshot.STORE) == manifest.store
