"""Episodes over HTTP: HEAD, ranges and validators, so that the parts of a download always come from one file."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import quote

from aiohttp import web

from bot.feeds.catalog import Published
from bot.feeds.stems import WholeStem
from bot.feeds.text import clean_line
from bot.feeds.titles import episode_title
from bot.settings import Settings
from bot.web import files
from bot.web.access import Access, Family
from bot.web.at_once import AtOnce, Known, Whole
from bot.web.caches import LruCache
from bot.web.conditions import Representation, ResponsePlan, plan_response
from bot.web.connections import Transferring
from bot.web.lost_files import LostFiles, StoredFile, episode_file, original_file, stem_file
from bot.web.respond import OF_FAMILY, content_range, elsewhere, http_date, later, not_found
from storage.blobs.door import RemoteBlobs, There
from storage.records import BlobKey, Original

log = logging.getLogger(__name__)

AUDIO = "audio/mpeg"
STEM = "audio/ogg"
OPUS = "audio/ogg; codecs=opus"
FILE_NAME_CHARACTERS = 100


class Media:
    """Answers with episodes' audio. `transferring` says whether one more download may begin."""

    def __init__(
        self,
        settings: Settings,
        open_files: files.Files,
        lost_files: LostFiles,
        transferring: Transferring,
        at_once: AtOnce,
    ) -> None:
        self._lost_files = lost_files
        self._transferring = transferring
        self._zone = settings.feeds.zone
        self._files = open_files
        self._at_once = at_once
        self._known: LruCache[tuple[object, ...], dict[str, str]] = LruCache(1024)

    async def audio(
        self,
        request: web.BaseRequest,
        access: Access,
        known: Known,
        published: Published,
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        """Answer with an episode's file or a range of it. A large one is sent for as long as it is still allowed;
        a small one is given again at once. `known` decides about the address again."""
        recording, episode = published
        modified = episode.made_at.replace(microsecond=0)
        shared = partial(self._headers, access.claim.family, published)

        def keep(answer: web.Response, whole: Whole) -> None:
            self._at_once.keep(request, answer, access, known, whole, 0)

        return await self._file(request, episode_file(recording, episode), modified, shared, still_allowed, keep)

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

        return await self._file(request, stem_file(recording, stem), modified, headers, still_allowed)

    async def original(
        self,
        request: web.BaseRequest,
        family: Family,
        published: Published,
        original: Original,
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        """Answer with the original sound of a recording or a range of it, as `audio`."""
        recording, episode = published
        modified = episode.made_at.replace(microsecond=0)

        def headers() -> dict[str, str]:
            named = disposition(episode_title(recording, self._zone), recording.code, "opus")
            return {**_of_file(family, original.blob, modified), "Content-Type": OPUS, "Content-Disposition": named}

        return await self._file(request, original_file(recording, original), modified, headers, still_allowed)

    async def _file(
        self,
        request: web.BaseRequest,
        stored: StoredFile,
        modified: datetime,
        shared: Callable[[], dict[str, str]],
        still_allowed: files.StillAllowed,
        keep: Callable[[web.Response, Whole], None] = lambda *_: None,
    ) -> web.StreamResponse:
        """Answer with a blob of a recording, or a range of it; `shared`: the headers of every answer about it. One that
        is gone or cut is never sent: under its strong tag, it would be taken for the whole one."""
        if (remote := self._files.remote) is not None:
            return await self._remote(request, remote, stored, modified, shared, still_allowed)
        try:
            file = await self._files.open(stored.blob, stored.bytes)
        except (FileNotFoundError, files.CutError):
            await self._lost_files.report([stored])
            return not_found()
        except OSError as error:
            log.error("recording %s: the audio can't be opened: %s", stored.code, error.strerror)
            return not_found()
        try:
            # A blob is named by the SHA-256 of its bytes: a strong tag, and a healed episode has another one.
            plan = plan_response(request.method, request.headers, Representation(stored.blob, stored.bytes, modified))
            headers = {**shared(), **content_range(plan, stored.bytes)}
            if plan.status in (200, 206) and request.method != "HEAD" and plan.count > files.SMALL:
                return await self._large(request, file, plan, headers, still_allowed)
            answer = await _answer(request, file, plan, headers)
            if isinstance(answer, web.Response):
                keep(answer, partial(self._files.read_at_once, stored.blob, stored.bytes, plan.start, plan.count))
            return answer
        finally:
            self._files.release(file)

    async def _remote(
        self,
        request: web.BaseRequest,
        blobs: RemoteBlobs,
        stored: StoredFile,
        modified: datetime,
        shared: Callable[[], dict[str, str]],
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        """Answer about a blob on another machine by ourselves, but for its bytes: they are had at a signed address."""
        there = await blobs.there(stored.blob)
        if there is None or there.bytes != stored.bytes:
            await self._lost_files.report([stored])
            return not_found()
        plan = plan_response(request.method, request.headers, Representation(stored.blob, stored.bytes, modified))
        headers = shared()
        if plan.status not in (200, 206):
            return web.Response(status=plan.status, headers={**headers, **content_range(plan, stored.bytes)})
        if request.method == "HEAD":
            return await _start(request, plan, headers)
        if _other_part(request, plan, there):
            with self._transferring() as admitted:
                if not admitted:
                    return later()
                response = await _start(request, plan, headers)
                await files.relay(request, response, blobs, stored.blob, stored.bytes, still_allowed)
                return response
        kind, named = headers["Content-Type"], headers["Content-Disposition"]
        family = Family.PUBLIC if "Access-Control-Allow-Origin" in headers else Family.PERSONAL
        return elsewhere(await blobs.address(stored.blob, mime=kind, disposition=named), family)

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


def _other_part(request: web.BaseRequest, plan: ResponsePlan, there: There) -> bool:
    """Return whether a client wants a range only of a file that this one is not. S3 need not heed `If-Range`, and would
    send the range: the end of one file behind the beginning of another. The file's tag there is as good as ours."""
    condition = request.headers.get("If-Range")
    return condition is not None and plan.status == 200 and condition.strip() != there.tag


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
