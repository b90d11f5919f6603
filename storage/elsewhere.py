"""The mark in a folder whose rows are in a database by address, so that nobody uses the file that was left there, or
begins a new one: by a command without the address, say.
"""

from storage.errors import StoreError
from storage.place import ELSEWHERE, Place
from storage.private import sync, write_whole

TEXT = b"The database is in PostgreSQL (storage.database_url); `aircheck move-store --to sqlite` moves it here.\n"


def mark(place: Place) -> None:
    """Mark the folder of a store as its database wants it. Raises OSError. Blocking, short."""
    file = place.directory / ELSEWHERE
    if place.database_url is not None and not file.exists():
        write_whole(file, TEXT)
    elif place.database_url is None and file.exists():
        file.unlink()
        sync(place.directory)


def refuse_elsewhere(place: Place) -> None:
    """Refuse the file in a folder whose rows are in a database by address. Raises StoreError."""
    if place.database_url is None and (place.directory / ELSEWHERE).exists():
        raise StoreError(
            f"the database of {place.directory} is in PostgreSQL: set storage.database_url, or move it back with"
            " `aircheck move-store --to sqlite`"
        )
