"""A room's picture: the one that a moderator chose, else the operator's own file, else the one that was made of the
room's avatar or name."""

import asyncio
from functools import partial
from hashlib import sha256
from pathlib import Path

from bot.pictures.cover import drawn_cover
from bot.pictures.own import own_picture
from bot.settings import FeedsSettings
from bot.web.caches import OnceCache
from bot.web.library import View
from storage.store import Store

PICTURES = 16
"""Pictures that are kept in memory."""


class Covers:
    """The pictures of all rooms. Call `prepare` first."""

    def __init__(self, store: Store, settings: FeedsSettings) -> None:
        self._store = store
        self._file = Path(settings.image).expanduser() if settings.image else None
        self._own: bytes | None = None
        self._pictures: OnceCache[str, bytes] = OnceCache(PICTURES)

    async def prepare(self) -> None:
        """Read the operator's own file. Raises ConfigError when `feeds.image` names something that is no picture."""
        if self._file is not None:
            self._own = await asyncio.to_thread(own_picture, self._file)

    def name(self, view: View) -> str:
        """Return the file name. It changes with the picture, for apps keep what they have under one address."""
        if view.room.own_cover is not None:
            return _named(view.room.own_cover)
        if self._own is not None:
            return _named(sha256(self._own).hexdigest())
        if view.room.cover is not None:
            return _named(view.room.cover)
        return _named(sha256(f"{view.room.key}{view.face.title}".encode()).hexdigest())

    async def picture(self, view: View) -> bytes | None:
        """Return a square JPEG; None when its file is gone."""
        if self._own is not None and view.room.own_cover is None:
            return self._own
        try:
            return await self._pictures.get(self.name(view), partial(asyncio.to_thread, self._make, view))
        except FileNotFoundError:
            return None

    def _make(self, view: View) -> bytes:
        blob = view.room.own_cover or view.room.cover
        if blob is not None:
            return self._store.blobs.read(blob)
        return drawn_cover(view.face.title, view.room.key)


def _named(digest: str) -> str:
    return f"cover-{digest[:16]}.jpg"
