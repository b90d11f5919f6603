"""The folder of a store's blobs, for tests that look into it or damage what is there."""

from storage.blobs.folder import Folder, FolderBlobs
from storage.private import synced
from storage.records import BlobKey
from storage.store import Store


def folder_of(store: Store) -> Folder:
    assert isinstance(store.blobs, FolderBlobs)
    return store.blobs.folder


def add_bytes(store: Store, data: bytes, key: BlobKey) -> None:
    """Store bytes as a blob, whether or not they have this key."""
    folder = folder_of(store)
    part = folder.part(f"bytes-{key}")
    with synced(part) as out:
        out.write(data)
    folder.add(part, key)
