"""Routes below a studio's address, `/studio/<token>/`: one member broadcasts by them into one room.

The only requests that change anything are here. The access is decided at each of them, and again while an upload runs.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

from bot.feeds.addresses import TOKEN
from bot.settings import Settings
from bot.studio.life import Problem, problem_for
from bot.web import bodies, respond
from bot.web.access import StudioAccess, Verdict
from bot.web.bodies import BodyError
from bot.web.claims import AddressClaims
from bot.web.listening import Listening
from bot.web.messages import Messages
from bot.web.studio_bounds import StudioBounds, TooManyError
from bot.web.studio_page import StudioPage
from storage.errors import DiskFullError, StoreError
from storage.records import StudioState
from storage.store import Store

if TYPE_CHECKING:
    from bot.audio.ffmpeg import Ffmpeg
    from bot.web.studio_work import StudioWork

MOST_JSON = 64 * 1024
"""Bytes of a request's JSON: the longest title and description, each character written as two escapes."""
AGAIN_S = 5
"""Seconds after which a page may try again what can't be done now. A browser keeps what is not taken."""
LONGEST_SLICE_MS = 3_600_000
INVALID = "invalid"
"""The problem of a request that can't be read, beside those of `bot.studio.life`."""
UNKNOWN = "unknown"
"""The problem of an address that never was, which a page tells from the 404 of a proxy whose bot is away."""
LATER = "later"
"""The problem of a request that can't be answered now."""

_CLIENT = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SLICE = re.compile(r"slice-([1-9][0-9]{0,5})")
_MS = re.compile(r"[0-9]{1,7}")
_STATUS = {
    Problem.OVER: 410,
    Problem.ELSEWHERE: 409,
    Problem.WAITING: 409,
    Problem.OTHER_BYTES: 409,
    Problem.TOO_MANY: 429,
    Problem.TOO_FAST: 429,
    Problem.TOO_LARGE: 413,
    Problem.BROADCAST_FULL: 507,
    Problem.ROOM_FULL: 507,
    Problem.DISK_FULL: 507,
}
_AGAIN = {Problem.TOO_FAST: 10, Problem.ROOM_FULL: 600, Problem.DISK_FULL: 60}
"""Seconds after which a refused step may be tried again; others never will be taken."""
_FULL = {
    Problem.BROADCAST_FULL: "this broadcast is as large as one may be",
    Problem.ROOM_FULL: "the room has used up its space on this server",
    Problem.DISK_FULL: "the server's disk is full",
}
"""Sentences for programs on what is full. A page has words of its own."""
_STEPS = ("start", "pause", "resume", "stop", "texts")
_FIELDS = ("title", "description")


class _NotOpenError(Exception):
    """The end of an access while a request was answered."""

    def __init__(self, access: StudioAccess) -> None:
        super().__init__()
        self.access = access


class ProblemError(Exception):
    """A step that is refused, for this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StudioRequest:
    """A request below the open address of a studio."""

    request: web.BaseRequest
    token: str
    access: StudioAccess


class Studios:
    """The answers to requests below `/studio/<token>/`. `ffmpeg`: None where it is
    looked for at the first picture."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        claims: AddressClaims,
        listening: Listening,
        messages: Messages,
        pages: StudioPage,
        bounds: StudioBounds,
        base: Callable[[], str],
        clock: Callable[[], datetime],
        ffmpeg: "Ffmpeg | None" = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._claims = claims
        self._listening = listening
        self._messages = messages
        self._pages = pages
        self._bounds = bounds
        self._base = base
        self._clock = clock
        self._ffmpeg = ffmpeg
        self._known_work: StudioWork | None = None

    @property
    def _work(self) -> "StudioWork":
        if self._known_work is None:
            # Here, for it takes memory that `aircheck web` need not spend.
            from bot.web.studio_work import StudioWork

            self._known_work = StudioWork(
                self._store, self._settings, self._claims, self._listening, self._base, self._clock, self._ffmpeg
            )
        return self._known_work

    async def answer(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        if not TOKEN.fullmatch(token):
            return respond.not_found()
        try:
            return await self._of(StudioRequest(request, token, await self._open(token)), name)
        except _NotOpenError as error:
            return self._closed(request, name, error.access)
        except TooManyError as error:
            return _refused(Problem.TOO_FAST, 429, again_s=error.after_s)
        except ProblemError as error:
            return _refused(
                error.problem,
                _STATUS[error.problem],
                again_s=_AGAIN.get(error.problem),
                detail=_FULL.get(error.problem),
            )
        except BodyError as error:
            problem = str(Problem.TOO_LARGE) if error.status == 413 else INVALID
            return _refused(problem, error.status, detail=error.sentence)
        except DiskFullError:
            return _refused(Problem.DISK_FULL, 507, _AGAIN[Problem.DISK_FULL], _FULL[Problem.DISK_FULL])
        except StoreError:
            return _refused(LATER, 503, again_s=AGAIN_S)

    async def _open(self, token: str) -> StudioAccess:
        """Return the open access of a token. Raises _NotOpenError."""
        access = await self._claims.studio(token)
        if access.verdict is not Verdict.OPEN:
            raise _NotOpenError(access)
        return access

    def _closed(self, request: web.BaseRequest, name: str, access: StudioAccess) -> web.StreamResponse:
        match access.verdict:
            case Verdict.LATER:
                return respond.later() if name == "" else _refused(LATER, 503, again_s=AGAIN_S)
            case Verdict.ENDED:
                page = self._messages.studio_ended(request, access.claim.room) if name == "" else None
                return page or _refused(Problem.OVER, 410)
        return _refused(UNKNOWN, 404) if name == "state" else respond.not_found()

    async def _of(self, asked: StudioRequest, name: str) -> web.StreamResponse:
        self._bounds.ask(asked.access.studio.id)
        method = "GET" if asked.request.method == "HEAD" else asked.request.method
        numbered = _SLICE.fullmatch(name)
        match name, method:
            case "", "GET":
                return await self._page(asked)
            case "state", "GET":
                return await self._state(asked)
            case "cover", "PUT":
                return await self._cover(asked)
            case "cover", "DELETE":
                return await self._no_cover(asked)
            case _, "PUT" if numbered is not None:
                return await self._slice(asked, int(numbered[1]))
            case _, "POST" if name in _STEPS:
                return await self._step(asked, name)
        if numbered is not None or name in ("", "state", "cover", *_STEPS):
            allowed = {"": "GET, HEAD", "state": "GET, HEAD", "cover": "PUT, DELETE"}
            return respond.not_allowed(allowed.get(name, "POST" if name in _STEPS else "PUT"))
        return respond.not_found()

    async def _page(self, asked: StudioRequest) -> web.StreamResponse:
        name = await self._work.name(asked.access.room.room_id)
        return await asyncio.to_thread(self._pages.answer, asked.access.room, name)

    async def _state(self, asked: StudioRequest) -> web.Response:
        return _told(await self._work.state((await self._open(asked.token)).studio))

    async def _step(self, asked: StudioRequest, step: str) -> web.Response:
        said = await self._said(asked.request)
        access = await self._open(asked.token)
        studio, client = access.studio, _client(said.get("client"), needed=step != "texts")
        self._bounds.change(studio.id)
        texts = _texts(said) if step in ("start", "texts") else {}
        if texts:
            await self._work.tell(studio.id, client, texts)
        if step != "texts":
            assert client is not None
            await self._work.step(studio.id, client, step, _last(said.get("last")))
        return await self._state(asked)

    async def _said(self, request: web.BaseRequest) -> Mapping[str, object]:
        """Read the JSON object of a request. Raises BodyError."""
        body = await bodies.whole(request, MOST_JSON)
        try:
            said = json.loads(body.decode(), parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise BodyError(400, "the body is no JSON") from None
        if not isinstance(said, dict):
            raise BodyError(400, "the body is no JSON object")
        return said

    async def _slice(self, asked: StudioRequest, number: int) -> web.Response:
        studio, headers = asked.access.studio, asked.request.headers
        client, duration_ms = _client(headers.get("X-Client")), _duration(headers.get("X-Duration-Ms"))
        assert client is not None
        if problem := problem_for(studio, client, self._clock(), late=True):
            raise ProblemError(problem)
        if studio.state is StudioState.WAITING:
            raise ProblemError(Problem.WAITING)
        self._bounds.slice(studio.id, studio.room_id)
        with self._bounds.uploading(studio.id, studio.room_id):
            await self._work.refuse_full_disk()
            async with bodies.spooled(
                asked.request,
                self._work.scratch(),
                self._work.most_bytes,
                lambda: self._check(asked.token),
                lambda count: self._bounds.received(studio.id, studio.room_id, count),
            ) as spool:
                if not spool.size:
                    raise BodyError(400, "the slice is empty")
                await self._check(asked.token)
                new = await self._work.add(studio.id, client, number, spool, duration_ms)
        return _told({"number": number}, 201 if new else 200)

    async def _cover(self, asked: StudioRequest) -> web.Response:
        studio = asked.access.studio
        self._bounds.picture(studio.id)
        with self._bounds.uploading(studio.id, studio.room_id):
            await self._work.refuse_full_disk()
            async with bodies.spooled(
                asked.request, self._work.scratch(), self._work.most_picture_bytes, lambda: self._check(asked.token)
            ) as spool:
                picture = await self._work.picture(spool.path, spool.key)
        if picture is None:
            raise BodyError(415, "no picture that can be used: JPEG, PNG, WebP or GIF")
        await self._check(asked.token)
        await self._work.show(studio.id, picture)
        return await self._state(asked)

    async def _no_cover(self, asked: StudioRequest) -> web.Response:
        self._bounds.change(asked.access.studio.id)
        await self._work.show(asked.access.studio.id, None)
        return await self._state(asked)

    async def _check(self, token: str) -> None:
        """Raise _NotOpenError where an address that was open is so no more."""
        await self._open(token)


def _refused(problem: str, status: int, again_s: int | None = None, detail: str | None = None) -> web.Response:
    headers = {**respond.UNKEPT, **({"Retry-After": str(again_s)} if again_s is not None else {})}
    about = {"problem": str(problem), **({"detail": detail} if detail is not None else {})}
    return web.json_response(about, status=status, headers=headers)


def _told(content: Mapping[str, object], status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers=respond.UNKEPT)


def _no_number(name: str) -> None:
    raise ValueError(name)


def _client(name: object, *, needed: bool = True) -> str | None:
    """Return the name of a client. Raises BodyError."""
    if name is None and not needed:
        return None
    if not isinstance(name, str) or not _CLIENT.fullmatch(name):
        raise BodyError(400, "the name of the client has to be 8 to 64 letters, digits, - and _")
    return name


def _duration(header: str | None) -> int | None:
    if header is None:
        return None
    if not _MS.fullmatch(header) or not 0 < int(header) <= LONGEST_SLICE_MS:
        raise BodyError(400, "X-Duration-Ms is no duration")
    return int(header)


def _last(number: object) -> int | None:
    """Return the number of the last slice, 0 where there is none. Raises BodyError."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1_000_000:
        raise BodyError(400, "`last` is no number of a slice")
    return number


def _texts(said: Mapping[str, object]) -> dict[str, str | None]:
    """Return the texts that a request names. Raises BodyError."""
    texts: dict[str, str | None] = {}
    for name in _FIELDS:
        if name not in said:
            continue
        text = said[name]
        if text is not None and not isinstance(text, str):
            raise BodyError(400, f"`{name}` is no text")
        texts[name] = text
    return texts
