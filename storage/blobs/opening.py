"""The blobs of a place: those in its folder, or those in its bucket."""

from pathlib import Path

from storage.blobs.door import Blobs
from storage.blobs.folder import FolderBlobs, Rows
from storage.place import Place


def blobs_at(place: Place, rows: Rows, scratch: Path | None = None) -> Blobs:
    """Return the door to the blobs of a place. `rows`: those of the store; `scratch`: the folder in which the files of
    this process grow. Raises StoreError for an address that is none."""
    if place.media_url is None:
        return FolderBlobs(place.directory, rows, scratch)
    from storage.blobs.s3 import S3Blobs  # who has a folder needs no obstore

    return S3Blobs(place, place.media_url, rows, scratch)
