"""Episodes over HTTP: HEAD, ranges and validators, so that the parts of a download always come from one file."""

import logging
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

log = logging.getLogger(__name__)

AUDIO = "audio/mpeg"
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
        try:
            file = await self._files.open(episode.blob)
        except OSError as error:
            log.error("recording %s: the audio can't be opened: %s", recording.code, error.strerror)
            return not_found()
        try:
            # A blob is named by the SHA-256 of its bytes: a strong tag, and a healed episode has another one.
            representation = Representation(episode.blob, file.size, episode.made_at.replace(microsecond=0))
            plan = plan_response(request.method, request.headers, representation)
            headers = {**self._headers(family, published), **content_range(plan, file.size)}
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
                **OF_FAMILY[family],
                "ETag": f'"{episode.blob}"',
                "Last-Modified": http_date(episode.made_at),
                "Accept-Ranges": "bytes",
                "Content-Type": AUDIO,  # of a range too: Apple plays nothing without
                "Content-Disposition": disposition(episode_title(recording, self._zone), f"{recording.code}.mp3"),
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


def disposition(title: str, plain: str) -> str:
    """Return the name to save the file under (RFC 6266): the title, and `plain` for clients that read ASCII only."""
    name = clean_line(title, FILE_NAME_CHARACTERS).translate(str.maketrans('/\\:*?"<>|', "---------")).strip(". ")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(f'{name}.mp3', safe='')}"
