"""The door to the blobs of a store, wherever they lie: callers know their keys, and neither paths nor addresses.

A blob is whole or absent, and its key is the SHA-256 of its bytes. Files grow in a scratch folder, always a local one,
before they become blobs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.database import Changes, Connection
from storage.records import BlobKey


class Arrival(Protocol):
    """Files that become blobs."""

    async def keep(self, db: Connection) -> None:
        """Have the blobs there when this transaction, which writes the rows that name them, is committed. Inside it, so
        that no Forget order removes a blob before its row is there. Raises StoreError."""


class Blobs(Protocol):
    """The blobs of a store, and the scratch folder. Every method raises MediaStoreError where the blobs can't be
    reached."""

    scratch: Path

    @property
    def remote(self) -> "RemoteBlobs | None":
        """The same blobs where they lie on another machine: looking at one is a request then, and the web sends
        listeners there."""

    def prepare(self) -> None:
        """Make the local folders, and empty the scratch folder, where an earlier process may have left files.
        Blocking."""

    async def close(self) -> None:
        """Remove the local copies of this process."""

    def part(self, name: str) -> Path:
        """Return the scratch path of this name. The name must be ours, never part of an event."""

    def relative(self, key: BlobKey) -> str:
        """Return where a blob lies, to be shown to an operator: the path below the storage directory, or its
        address."""

    async def exists(self, key: BlobKey) -> bool:
        """Tell whether a blob is there."""

    async def size(self, key: BlobKey) -> int | None:
        """Return the length of a blob in bytes; None when it is gone."""

    async def unlike(self, sizes: Mapping[BlobKey, int]) -> frozenset[BlobKey]:
        """Return which of these blobs are gone or have another length."""

    async def read(self, key: BlobKey, start: int = 0, count: int = -1) -> bytes:
        """Return `count` bytes from `start` on, fewer at the end; -1: all. Raises FileNotFoundError."""

    async def is_whole(self, key: BlobKey) -> bool:
        """Tell whether a blob exists and its bytes have the hash in its key: it is read from end to end."""

    def open(self, key: BlobKey, buffer: int = 0) -> BinaryIO:
        """Open a blob for reading, in a thread, with a buffer of so many bytes at least. Raises FileNotFoundError.
        Blocking."""

    def local(self, key: BlobKey) -> AbstractAsyncContextManager[Path]:
        """Provide a blob as a local file, for reading only, as long as the context lasts. In a folder the file may be
        missing; elsewhere FileNotFoundError is raised."""

    def arriving(self, *files: tuple[Path, BlobKey], stays: bool = False) -> AbstractAsyncContextManager[Arrival]:
        """Bring finished, synced files of the scratch folder to where blobs lie, outside of any transaction where that
        takes long. `keep` inside of the context makes them stay; without it they are removed again. `stays`: the files
        may lie elsewhere, and stay where they are. Raises DiskFullError."""

    async def discard(self, key: BlobKey) -> None:
        """Remove a blob that rows may name if its bytes are not those of its key: it can be made or fetched again."""

    async def forget(self, keys: Sequence[BlobKey]) -> list[BlobKey]:
        """Remove those of these blobs that no row names; return them. It can be broken off and done again."""

    def pages(self) -> AsyncIterator[list[BlobKey]]:
        """Yield the keys of all blobs, some at a time. Costly elsewhere: a request for a thousand."""


@dataclass(frozen=True, slots=True)
class There:
    """A blob as its server has it. `tag`: the entity tag of the server's answers, with quotes."""

    bytes: int
    tag: str | None


class RemoteBlobs(Blobs, Protocol):
    """Blobs on another machine that hands them out itself, at signed addresses."""

    origin: str
    """The scheme and the host of the signed addresses."""

    async def tend(self, changes: Changes) -> None:
        """Remove local copies of blobs that rows name no more, soon after each commit; until cancelled."""

    async def there(self, key: BlobKey) -> There | None:
        """Return what the server has of a blob, asked some minutes ago at most; None when it is gone."""

    async def address(self, key: BlobKey, *, mime: str, disposition: str) -> str:
        """Return an address at which anybody can read a blob during the next five minutes. Where a role gives the keys,
        the answer there has no such Content-Disposition."""
