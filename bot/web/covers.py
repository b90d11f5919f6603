"""Pictures: a recording's own; else that of its room, which is the one that a moderator chose, else the operator's own
file, else the one that was made of the room's avatar or name."""

import re
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from bot.pictures.cover import drawn_cover
from bot.pictures.one_at_a_time import apart
from bot.pictures.own import own_picture
from bot.pictures.sizes import SIDES, small
from bot.settings import FeedsSettings
from bot.web.caches import OnceCache
from bot.web.library import View
from storage.records import Recording
from storage.store import Store

PICTURES = 16
"""Pictures that are kept in memory."""
SMALL_BYTES = 16 * 1024 * 1024
_OF_RECORDING = re.compile(r"cover-([a-z]{6})-")  # in place of six letters, a room's has a hash


class Covers:
    """The pictures of all rooms. Call `prepare` first."""

    def __init__(self, store: Store, settings: FeedsSettings) -> None:
        self._store = store
        self._file = Path(settings.image).expanduser() if settings.image else None
        self._own: bytes | None = None
        self._pictures: OnceCache[str, bytes] = OnceCache(PICTURES)
        self._small: OnceCache[str, bytes] = OnceCache(SMALL_BYTES, len)

    async def prepare(self) -> None:
        """Read the operator's own file. Raises ConfigError when `feeds.image` names something that is no picture."""
        if self._file is not None:
            self._own = await apart(own_picture, self._file)

    def name(self, view: View, recording: Recording | None = None) -> str:
        """Return the file name of a room's picture, or of that of a recording. It changes with the picture, for apps
        keep what they have under one address; and it names the recording whose own it is, for not everybody who hears a
        room may hear that one."""
        if recording is not None and recording.cover is not None:
            return f"cover-{recording.code}-{recording.cover[:16]}.jpg"
        if view.room.own_cover is not None:
            return _named(view.room.own_cover)
        if self._own is not None:
            return _named(sha256(self._own).hexdigest())
        if view.room.cover is not None:
            return _named(view.room.cover)
        return _named(sha256(f"{view.room.key}{view.face.title}".encode()).hexdigest())

    async def picture(self, view: View, recording: Recording | None = None) -> bytes | None:
        """Return a square JPEG; None when its file is gone."""
        if recording is not None and recording.cover is not None:
            return await self._read(self.name(view, recording), partial(self._store.blobs.read, recording.cover))
        if self._own is not None and view.room.own_cover is None:
            return self._own
        return await self._read(self.name(view), partial(self._make, view))

    async def _read(self, name: str, make: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes | None:
        try:
            return await self._pictures.get(name, make)
        except FileNotFoundError:
            return None

    def server_name(self, title: str) -> str:
        """Return the file name of the picture of the feed of all podcasts, which has this title."""
        return _named(sha256(self._own if self._own is not None else title.encode()).hexdigest())

    async def of_server(self, title: str) -> bytes:
        """Return the picture of the feed of all podcasts: the operator's own file, else its title, drawn."""
        if self._own is not None:
            return self._own
        draw = partial(apart, drawn_cover, title, title)
        return await self._pictures.get(self.server_name(title), draw)

    async def named(self, view: View, name: str, recording: Recording | None = None) -> bytes | None:
        """Return the view's picture of this file name, or that of a recording, which may be one of its smaller sizes;
        None for any other."""
        whole = self.name(view, recording)
        side = next((side for side in SIDES if name == sized(whole, side)), None)
        if side is None:
            return await self.picture(view, recording) if name == whole else None
        try:
            return await self._small.get(name, partial(self._shrink, view, recording, side))
        except FileNotFoundError:
            return None

    async def _shrink(self, view: View, recording: Recording | None, side: int) -> bytes:
        picture = await self.picture(view, recording)
        if picture is None:
            raise FileNotFoundError
        return await apart(small, picture, side)

    async def _make(self, view: View) -> bytes:
        blob = view.room.own_cover or view.room.cover
        if blob is not None:
            return await self._store.blobs.read(blob)
        return await apart(drawn_cover, view.face.title, view.room.key)


def sized(name: str, side: int) -> str:
    """Return the file name of a picture in one of its smaller sizes."""
    return f"{name.removesuffix('.jpg')}-{side}.jpg"


def recording_of(name: str) -> str | None:
    """Return the code of the recording whose own picture has this file name; None for that of a room."""
    named = _OF_RECORDING.match(name)
    return named[1] if named else None


def _named(digest: str) -> str:
    return f"cover-{digest[:16]}.jpg"
