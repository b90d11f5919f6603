"""Local copies of blobs that lie elsewhere: whole files, of so many bytes together; the least recently used go first.

The folder is empty when the process starts: a copy is a convenience, and none is trusted after a crash. A copy
appears under its name when it is whole and its hash is right. One that is in use stays, also where there are too many
bytes. One of a blob that no row names any more goes, whichever process has removed the blob.
"""

import asyncio
import itertools
import secrets
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from storage.errors import StoreError
from storage.private import FOLDER_MODE
from storage.records import BlobKey

Fetch = Callable[[Path], Awaitable[None]]
"""A function that writes a whole blob to a path, and has compared its hash."""
Named = Callable[[Sequence[BlobKey]], Awaitable[frozenset[BlobKey]]]
"""A function that returns those of some blobs that a row names. Raises StoreError."""
LOOKED_AT_ONCE = 500


@dataclass(slots=True)
class _Copy:
    path: Path
    bytes: int
    users: int = 0
    dropped: bool = False


class Cache:
    """The copies of this process, in a folder of their own below `folder`; at most `most_bytes` that nobody uses."""

    def __init__(self, folder: Path, most_bytes: int, named: Named) -> None:
        self.folder = folder / f"media-{secrets.token_hex(4)}"
        self.most_bytes = most_bytes
        self.bytes = 0  # of all copies
        self._named = named
        self._copies: OrderedDict[BlobKey, _Copy] = OrderedDict()  # the last used last
        self._locks: WeakValueDictionary[BlobKey, asyncio.Lock] = WeakValueDictionary()
        self._numbers = itertools.count()

    def path(self, key: BlobKey) -> Path | None:
        """Return where a copy is; it may be removed at any time, but what was opened stays open."""
        copy = self._copies.get(key)
        if copy is None:
            return None
        self._copies.move_to_end(key)
        return copy.path

    @asynccontextmanager
    async def local(self, key: BlobKey, fetch: Fetch) -> AsyncIterator[Path]:
        """Provide a copy, fetched where there is none, that stays as long as the context lasts. Several who ask at once
        wait for one fetch."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            copy = await self._there(key)
            fetched = copy is None
            if copy is None:
                copy = await self._fetch(key, fetch)
        try:
            if fetched:
                await self._look_again(key)  # its blob may have gone while it was fetched
            elif not copy.dropped:
                self._copies.move_to_end(key)
            yield copy.path
        finally:
            copy.users -= 1
            if copy.dropped and not copy.users:
                await _unlink([copy.path])
            await self._shrink()

    async def take(self, part: Path, key: BlobKey) -> None:
        """Make a finished file on the same disk the copy of a blob: what was just made is read soon."""
        if key in self._copies:
            return
        size = (await asyncio.to_thread(part.stat)).st_size
        if size <= self.most_bytes:
            path = await asyncio.to_thread(self._new, key)
            await asyncio.to_thread(part.replace, path)
            await self._add(key, _Copy(path, size))
            await self._look_again(key)  # its blob may have gone since its row was committed
            await self._shrink()

    async def drop(self, keys: list[BlobKey]) -> None:
        """Remove copies: at once those that nobody uses, the others when their users are done."""
        copies = [copy for key in keys if (copy := self._pop(key)) is not None]
        for copy in copies:
            copy.dropped = True
        await _unlink([copy.path for copy in copies if not copy.users])

    async def drop_unnamed(self) -> None:
        """Remove the copies of blobs that no row names any more. Raises StoreError."""
        keys = [*self._copies]
        for start in range(0, len(keys), LOOKED_AT_ONCE):
            some = keys[start : start + LOOKED_AT_ONCE]
            named = await self._named(some)
            await self.drop([key for key in some if key not in named])

    async def close(self) -> None:
        """Remove all copies, also those in use, and their folder."""
        self._copies.clear()
        self.bytes = 0
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def _look_again(self, key: BlobKey) -> None:
        """Remove the copy of a blob that no row names, or of which that can't be told now."""
        try:
            named = await self._named([key])
        except StoreError:
            named = frozenset()
        if key not in named:
            await self.drop([key])

    async def _there(self, key: BlobKey) -> _Copy | None:
        """Return a copy for one more user, if its file is there: another process may have emptied the folder."""
        copy = self._copies.get(key)
        if copy is not None:
            copy.users += 1
            if not await asyncio.to_thread(copy.path.exists):
                copy.users -= 1
                await self.drop([key])
                return None
        return copy

    def _pop(self, key: BlobKey) -> _Copy | None:
        copy = self._copies.pop(key, None)
        self.bytes -= copy.bytes if copy is not None else 0
        return copy

    async def _fetch(self, key: BlobKey, fetch: Fetch) -> _Copy:
        """Return a new copy for one user."""
        path = await asyncio.to_thread(self._new, key)
        part = path.with_suffix(".part")
        try:
            await fetch(part)
            size = (await asyncio.to_thread(part.stat)).st_size
            await asyncio.to_thread(part.replace, path)
        finally:
            await _unlink([part])
        return await self._add(key, _Copy(path, size, users=1))

    async def _add(self, key: BlobKey, copy: _Copy) -> _Copy:
        """Enter a copy, unless there is one since."""
        if (there := self._copies.get(key)) is not None:
            there.users += copy.users
            await _unlink([copy.path])
            return there
        self._copies[key] = copy
        self.bytes += copy.bytes
        return copy

    async def _shrink(self) -> None:
        """Remove the copies that were used longest ago, down to the bytes allowed."""
        too_many, gone = self.bytes - self.most_bytes, []
        for key, copy in self._copies.items():
            if too_many <= 0:
                break
            if not copy.users:
                gone.append(key)
                too_many -= copy.bytes
        await self.drop(gone)

    def _new(self, key: BlobKey) -> Path:
        """Return a path that no other copy has or had: an old one may still be on its way out. Blocking."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        return self.folder / f"{key}-{next(self._numbers)}"


async def _unlink(paths: list[Path]) -> None:
    if paths:
        await asyncio.to_thread(_unlink_all, paths)


def _unlink_all(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
