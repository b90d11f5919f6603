"""Episodes over HTTP: HEAD, ranges, validators, and no byte of another file among those of this one."""

import logging
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from bot.feeds.catalog import Published
from bot.feeds.text import clean_line
from bot.feeds.titles import episode_title
from bot.settings import Settings
from bot.web import files
from bot.web.access import Family
from bot.web.conditions import Plan, Representation, plan
from bot.web.respond import OF_FAMILY, http_date, not_found
from storage.records import BlobKey
from storage.store import Store

log = logging.getLogger(__name__)

AUDIO = "audio/mpeg"
FILE_NAME_CHARACTERS = 100


class Media:
    def __init__(self, store: Store, settings: Settings, open_files: files.Files) -> None:
        self._store = store
        self._zone = settings.feeds.zone
        self._files = open_files

    async def audio(self, request: web.Request, family: Family, published: Published) -> web.StreamResponse:
        """One episode's file, or the piece of it that is asked for."""
        recording, episode = published
        try:
            file = await self._files.open(self._path(episode.blob))
        except OSError as error:
            log.error("the audio of recording %s can't be opened: %s", recording.code, error.strerror)
            return not_found()
        try:
            # The blob's name is the SHA-256 of its bytes: a strong tag, and a healed episode has another one.
            now = Representation(episode.blob, file.size, episode.made_at.replace(microsecond=0))
            what = plan(request.method, request.headers, now)
            headers = self._headers(family, published, now, what)
            return await _answer(request, file, what, headers)
        finally:
            self._files.done(file)

    def _path(self, blob: BlobKey) -> Path:
        return self._store.blobs.path(blob)

    def _headers(self, family: Family, published: Published, file: Representation, what: Plan) -> dict[str, str]:
        headers = {
            **OF_FAMILY[family],
            "ETag": f'"{file.tag}"',
            "Last-Modified": http_date(file.modified),
            "Accept-Ranges": "bytes",
        }
        if what.status in (200, 206):
            headers["Content-Type"] = AUDIO  # of a piece too: Apple plays nothing without
            headers["Content-Disposition"] = disposition(
                episode_title(published[0], self._zone), f"{published[0].code}.mp3"
            )
        if what.status == 206:
            headers["Content-Range"] = f"bytes {what.start}-{what.start + what.count - 1}/{file.size}"
        elif what.status == 416:
            headers["Content-Range"] = f"bytes */{file.size}"
        return headers


async def _answer(
    request: web.Request, file: files.OpenFile, what: Plan, headers: dict[str, str]
) -> web.StreamResponse:
    if what.status not in (200, 206):
        return web.Response(status=what.status, headers=headers)
    if request.method == "HEAD" or what.count > files.SMALL:
        response = web.StreamResponse(status=what.status, headers=headers)
        response.content_length = what.count
        await response.prepare(request)
        if request.method != "HEAD":
            await files.send(request, response, file, what.start, what.count)
        return response
    body = await files.read(file, what.start, what.count)
    return web.Response(status=what.status, headers=headers, body=body)


def disposition(title: str, plain: str) -> str:
    """A name to save the file under (RFC 6266): the title where it can be read, six letters elsewhere."""
    name = clean_line(title, FILE_NAME_CHARACTERS).translate(str.maketrans('/\\:*?"<>|', "---------")).strip(". ")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(f'{name}.mp3', safe='')}"
