"""JSON over HTTP to the homeserver: one connection pool, one mapping of failures to the decisions they ask for."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot.errors import GiveUp, TryLater
from bot.matrix import nesting
from storage.records import Json

MIB = 1024 * 1024
MAX_BODY_BYTES = 16 * MIB  # of one answer
MAX_STATE_BYTES = 64 * MIB  # of one that holds whole rooms: a first sync of a large account is tens of megabytes
MAX_ERROR_BYTES = 64 * 1024
CONNECT_S = 10
LOCKED_FOR_S = 300.0
LIMITED_AT_MOST_S = 5.0  # a homeserver that says how long it wants us to wait is not left alone for longer
LONGEST_WISH_S = 600.0  # of a retry_after_ms; a homeserver that asks for more is asked again then
ERRCODE = re.compile(r"[A-Za-z0-9_.]{1,80}", re.ASCII)
DIGITS = 100
BEYOND = 1 << 63
USER_AGENT = "Aircheck"


class Refused(GiveUp):
    """The homeserver said no. `errcode` is Matrix's (M_FORBIDDEN, …), empty where it asks for authentication."""

    def __init__(self, sentence: str, *, reason: str, status: int, errcode: str, body: Json) -> None:
        super().__init__(sentence, reason=reason)
        self.status = status
        self.errcode = errcode
        self.body = body


class NotMatrix(TryLater):
    """A refusal without a Matrix error in it: something that stands before the homeserver answered, as a proxy whose
    homeserver is being restarted does. It says nothing of what was asked."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the homeserver answered {status}, without a Matrix error")
        self.status = status


class TokenRevoked(TryLater):
    """The access token has ended; to everyone but the session it is a matter of time. `soft`: the device lives on."""

    def __init__(self, *, soft: bool) -> None:
        super().__init__("the homeserver has ended the bot's session")
        self.soft = soft


class TooLong(TryLater):
    """An answer is longer than may be kept in memory; it was not read to its end."""

    def __init__(self) -> None:
        super().__init__("the homeserver's answer is too long")


class Backoff:
    """Growing pauses with jitter, in seconds; a wish of the other side is honoured."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 30.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next(self, wish_s: float | None = None) -> float:
        pause = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._longest_s)
        return max(pause, wish_s or 0.0)

    def reset(self) -> None:
        self._next_s = self._first_s


def path(*parts: str, api: str = "client/v3") -> str:
    """A path of the homeserver's, each part quoted. Raises GiveUp for a part that would climb."""
    if any(part in {"", ".", ".."} for part in parts):
        raise GiveUp("that is no id of the homeserver's", reason="bad_address")
    return "/".join(["/_matrix", api, *(quote(part, safe="") for part in parts)])


class Wire:
    """Speaks to one homeserver with one token. The pool opens at the first call; close it."""

    def __init__(self, homeserver: str) -> None:
        self.homeserver = homeserver.rstrip("/")
        self.token: str | None = None
        self._http: aiohttp.ClientSession | None = None
        self._exchanges = 0
        self._closing = False

    @asynccontextmanager
    async def using(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The pool, for one exchange. Raises TryLater once the wire is closing."""
        if self._closing:
            raise TryLater("the Matrix session has ended")
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=60, sock_connect=CONNECT_S)
            self._http = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": USER_AGENT})
        self._exchanges += 1
        try:
            yield self._http
        finally:
            self._exchanges -= 1
            await self._close_when_idle()

    async def close(self) -> None:
        """Nothing new begins. What runs may end (downloads have their own grace); the last one closes the pool."""
        self._closing = True
        await self._close_when_idle()

    async def _close_when_idle(self) -> None:
        if self._closing and not self._exchanges and self._http is not None:
            http, self._http = self._http, None
            await http.close()

    def authorization(self) -> dict[str, str]:
        """The header with the token. Raises TryLater before the first login."""
        if self.token is None:
            raise TryLater("the bot is not logged in yet")
        return {"Authorization": f"Bearer {self.token}"}

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        auth: bool = True,
        timeout_s: float = 60.0,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> dict[str, Any]:
        """One request whose answer is a JSON object of at most so many bytes. Raises TryLater (TooLong for a longer
        one), TokenRevoked or Refused."""
        answer = await self.call_any(
            method, path, body=body, query=query, auth=auth, timeout_s=timeout_s, max_bytes=max_bytes
        )
        if not isinstance(answer, dict):
            raise TryLater("the homeserver's answer is not a JSON object")
        return answer

    async def call_any(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        auth: bool = True,
        timeout_s: float = 60.0,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> Any:
        """As `call`, for answers of any JSON type."""
        url = URL(self.homeserver + path, encoded=True)
        if query:
            url = url.with_query(query)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        headers = self.authorization() if auth else {}
        try:
            async with (
                self.using() as http,
                http.request(
                    method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as response,
            ):
                if response.status == 200:
                    return await read_json(response, max_bytes)
                raise failure(response.status, response.headers, await error_body(response), auth=auth)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TryLater(f"the homeserver can't be reached ({type(error).__name__})") from None


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body. Raises TooLong when it is longer than `limit` bytes."""
    if response.content_length is not None and response.content_length > limit:
        raise TooLong
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise TooLong
    return bytes(body)


async def error_body(response: aiohttp.ClientResponse) -> bytes:
    """What a refusal says; nothing of one that says too much."""
    try:
        return await read_body(response, MAX_ERROR_BYTES)
    except TooLong:
        return b""


async def read_json(response: aiohttp.ClientResponse, limit: int) -> Any:
    """A body as JSON, without what is nested too deep to be read. Raises TryLater."""
    raw = await read_body(response, limit)
    try:
        return parse_json(raw)
    except RecursionError:
        return parse_json(await asyncio.to_thread(nesting.flattened, raw))


def parse_json(raw: bytes) -> Any:
    """Raises TryLater for what is no JSON, RecursionError for what is nested too deep."""
    try:
        return json.loads(raw, parse_int=_whole)
    except ValueError:
        raise TryLater("the homeserver's answer is not JSON") from None


def _whole(digits: str) -> int:
    """A whole number. One that Python would not read, which some homeservers pass on, is as good as the largest that
    no event may hold: it must cost no more than its event."""
    if len(digits) <= DIGITS:
        return int(digits)
    return -BEYOND if digits.startswith("-") else BEYOND


def failure(status: int, headers: Mapping[str, str], raw: bytes, *, auth: bool) -> Exception:
    """What an answer other than 200 asks for. Of its text only the errcode is passed on. A refusal is the homeserver's
    only with a Matrix error in it (Client-Server API, standard error response)."""
    try:
        body = parse_json(raw)
    except (TryLater, RecursionError):
        body = {}
    body = body if isinstance(body, dict) else {}
    errcode = body.get("errcode")
    errcode = errcode if isinstance(errcode, str) and ERRCODE.fullmatch(errcode) else ""
    said = f"{status} {errcode}".rstrip()
    if status == 429 or errcode == "M_LIMIT_EXCEEDED":
        wish_s = wished_pause(headers, body)
        at_most_s = None if wish_s is None else LIMITED_AT_MOST_S
        return TryLater("the homeserver asks for a pause", after_s=wish_s, at_most_s=at_most_s)
    if errcode == "M_USER_LOCKED":
        return TryLater("the bot's account is locked", after_s=LOCKED_FOR_S)
    if auth and status == 401 and errcode in {"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"}:
        return TokenRevoked(soft=body.get("soft_logout") is True)
    if status >= 500 or status in {408, 425} or status < 400:
        return TryLater(f"the homeserver answered {said}")
    if not errcode and "flows" not in body:  # user-interactive authentication, a stage that was not tried yet
        return NotMatrix(status)
    reason = {403: "forbidden", 404: "not_found", 413: "too_large"}.get(status, "refused")
    return Refused(f"the homeserver refused: {said}", reason=reason, status=status, errcode=errcode, body=body)


def wished_pause(headers: Mapping[str, str], body: Json) -> float | None:
    """Seconds that the homeserver wants us to wait (Client-Server API, rate limiting)."""
    after_ms = body.get("retry_after_ms")
    if isinstance(after_ms, int | float) and not isinstance(after_ms, bool) and after_ms >= 0:
        return min(after_ms, LONGEST_WISH_S * 1000) / 1000
    after_s = headers.get("Retry-After", "")
    return min(float(after_s), LONGEST_WISH_S) if after_s.isascii() and after_s.isdigit() else None


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Waits so long, or until the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
