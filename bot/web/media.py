"""Episodes over HTTP: HEAD, ranges and validators, so that the parts of a download always come from one file."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import quote

from aiohttp import web

from bot.feeds.catalog import Published
from bot.feeds.text import clean_line
from bot.feeds.titles import episode_title
from bot.settings import Settings
from bot.web import files
from bot.web.access import Family
from bot.web.caches import LruCache
from bot.web.conditions import Representation, ResponsePlan, plan_response
from bot.web.connections import Transferring
from bot.web.respond import OF_FAMILY, content_range, http_date, later, not_found
from bot.web.stem_names import WholeStem
from storage.records import BlobKey

log = logging.getLogger(__name__)

AUDIO = "audio/mpeg"
STEM = "audio/ogg"
FILE_NAME_CHARACTERS = 100


class Media:
    """Answers with episodes' audio. `transferring` says whether one more download may begin."""

    def __init__(self, settings: Settings, open_files: files.Files, transferring: Transferring) -> None:
        self._transferring = transferring
        self._zone = settings.feeds.zone
        self._files = open_files
        self._known: LruCache[tuple[object, ...], dict[str, str]] = LruCache(1024)

    async def audio(
        self, request: web.BaseRequest, family: Family, published: Published, still_allowed: files.StillAllowed
    ) -> web.StreamResponse:
        """Answer with an episode's file or a range of it. A large one is sent for as long as it is still allowed."""
        recording, episode = published
        modified = episode.made_at.replace(microsecond=0)
        shared = partial(self._headers, family, published)
        return await self._file(request, recording.code, episode.blob, modified, shared, still_allowed)

    async def stem(
        self,
        request: web.BaseRequest,
        family: Family,
        published: Published,
        stem: WholeStem,
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        """Answer with the file of a stem or a range of it, as `audio`."""
        recording, episode = published
        title = f"{episode_title(recording, self._zone)} - {stem.file_name.removesuffix('.ogg')}"
        modified = episode.made_at.replace(microsecond=0)

        def headers() -> dict[str, str]:
            named = disposition(title, f"{recording.code}-{stem.number}", "ogg", saved=True)
            return {**_of_file(family, stem.blob, modified), "Content-Type": STEM, "Content-Disposition": named}

        return await self._file(request, recording.code, stem.blob, modified, headers, still_allowed)

    async def _file(
        self,
        request: web.BaseRequest,
        code: str,
        blob: BlobKey,
        modified: datetime,
        shared: Callable[[], dict[str, str]],
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        """Answer with a blob of a recording, or a range of it; `shared`: the headers of every answer about it."""
        try:
            file = await self._files.open(blob)
        except OSError as error:
            log.error("recording %s: the audio can't be opened: %s", code, error.strerror)
            return not_found()
        try:
            # A blob is named by the SHA-256 of its bytes: a strong tag, and a healed episode has another one.
            plan = plan_response(request.method, request.headers, Representation(blob, file.size, modified))
            headers = {**shared(), **content_range(plan, file.size)}
            if plan.status in (200, 206) and request.method != "HEAD" and plan.count > files.SMALL:
                return await self._large(request, file, plan, headers, still_allowed)
            return await _answer(request, file, plan, headers)
        finally:
            self._files.release(file)

    async def _large(
        self,
        request: web.BaseRequest,
        file: files.OpenFile,
        plan: ResponsePlan,
        headers: dict[str, str],
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        with self._transferring() as admitted:
            if not admitted:
                return later()
            response = await _start(request, plan, headers)
            await files.send(request, response, file, plan.start, plan.count, still_allowed)
            return response

    def _headers(self, family: Family, published: Published) -> dict[str, str]:
        """Return the headers of every answer about this file. Apps ask for it in many ranges, so they are cached."""
        recording, episode = published
        key = (family, recording.code, recording.title, recording.broadcaster_name, episode.blob, episode.made_at)
        headers = self._known.get(key)
        if headers is None:
            headers = {
                **_of_file(family, episode.blob, episode.made_at),
                "Content-Type": AUDIO,  # of a range too: Apple plays nothing without
                "Content-Disposition": disposition(episode_title(recording, self._zone), recording.code, "mp3"),
            }
            self._known.put(key, headers)
        return headers


async def _answer(
    request: web.BaseRequest, file: files.OpenFile, plan: ResponsePlan, headers: dict[str, str]
) -> web.StreamResponse:
    if plan.status not in (200, 206):
        return web.Response(status=plan.status, headers=headers)
    if request.method == "HEAD":
        return await _start(request, plan, headers)
    body = await files.read(file, plan.start, plan.count)
    return web.Response(status=plan.status, headers=headers, body=body)


async def _start(request: web.BaseRequest, plan: ResponsePlan, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=plan.status, headers=headers)
    response.content_length = plan.count
    await response.prepare(request)
    return response


def _of_file(family: Family, blob: BlobKey, modified: datetime) -> dict[str, str]:
    return {
        **OF_FAMILY[family],
        "ETag": f'"{blob}"',
        "Last-Modified": http_date(modified),
        "Accept-Ranges": "bytes",
    }


def disposition(title: str, plain: str, ending: str, *, saved: bool = False) -> str:
    """Return the name to save the file under (RFC 6266): the title, and `plain` for clients that read ASCII only.
    `saved`: the file is to be saved, and not played in place."""
    name = clean_line(title, FILE_NAME_CHARACTERS).translate(str.maketrans('/\\:*?"<>|', "---------")).strip(". ")
    encoded = quote(f"{name}.{ending}", safe="")
    how = "attachment" if saved else "inline"
    return f"{how}; filename=\"{plain}.{ending}\"; filename*=UTF-8''{encoded}"
