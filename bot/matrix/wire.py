"""JSON over HTTP to the homeserver: one connection pool, and one mapping of failures to errors."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot import counted
from bot.errors import GiveUp, NotOwner, TryLater
from bot.matrix import nesting
from storage.records import Json

MIB = 1024 * 1024
MAX_BODY_BYTES = 16 * MIB  # of one answer
MAX_STATE_BYTES = 64 * MIB  # of one with whole rooms: the first sync of a large account has tens of megabytes
MAX_ERROR_BYTES = 64 * 1024
CONNECT_S = 10
LOCKED_FOR_S = 300.0
LIMITED_AT_MOST_S = 5.0  # cap of our own back-off while the homeserver says how long to wait
LONGEST_WISH_S = 600.0  # of a retry_after_ms; longer ones are cut to this
ERRCODE = re.compile(r"[A-Za-z0-9_.]{1,80}", re.ASCII)
DIGITS = 100
OUT_OF_RANGE = 1 << 63
USER_AGENT = "Aircheck"


class Refused(GiveUp):
    """A refusal. `errcode` is Matrix's (M_FORBIDDEN, …), empty for a request for authentication."""

    def __init__(self, sentence: str, *, reason: str, status: int, errcode: str, body: Json) -> None:
        super().__init__(sentence, reason=reason)
        self.status = status
        self.errcode = errcode
        self.body = body


class NotMatrix(TryLater):
    """A refusal without a Matrix error, as a proxy answers while the homeserver restarts.

    It says nothing about the request.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the homeserver answered {status}, without a Matrix error")
        self.status = status


class TokenRevoked(TryLater):
    """The access token has ended; the session logs in again, the others try later. `soft`: the device still exists."""

    def __init__(self, *, soft: bool) -> None:
        super().__init__("the homeserver has ended the bot's session")
        self.soft = soft


class TooLong(TryLater):
    """An answer was longer than its limit, and was not read to its end."""

    def __init__(self) -> None:
        super().__init__("the homeserver's answer is too long")


class Backoff:
    """Growing pauses with jitter, in seconds, never shorter than the other side asks for."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 30.0) -> None:
        self._longest_s = longest_s
        self._next_s = first_s

    def next(self, wish_s: float | None = None) -> float:
        pause = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._longest_s)
        return max(pause, wish_s or 0.0)


def path(*parts: str, api: str = "client/v3") -> str:
    """Build a path from quoted parts. Raises GiveUp (bad_address) for a part that would leave its folder."""
    if any(part in {"", ".", ".."} for part in parts):
        raise GiveUp("an id is malformed", reason="bad_address")
    return "/".join(["/_matrix", api, *(quote(part, safe="") for part in parts)])


class Wire:
    """Requests to one homeserver with one token. The pool opens at the first call; close it. `owns` tells whether this
    process owns the session: if not, no request leaves it."""

    def __init__(self, homeserver: str, owns: Callable[[], bool] = lambda: True) -> None:
        self.homeserver = homeserver.rstrip("/")
        self.token: str | None = None
        self._owns = owns
        self._http: aiohttp.ClientSession | None = None
        self._exchanges = 0
        self._closing = False

    @asynccontextmanager
    async def using(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give the pool for one exchange. Raises TryLater once the wire is closing, NotOwner."""
        if self._closing:
            raise TryLater("the Matrix session has ended")
        if not self._owns():
            raise NotOwner
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
        """Refuse new exchanges; those under way may end, and the last one closes the pool."""
        self._closing = True
        await self._close_when_idle()

    async def cut(self) -> None:
        """Refuse new exchanges, and break off those under way."""
        self._closing = True
        if self._http is not None:
            await self._http.close()

    async def _close_when_idle(self) -> None:
        if self._closing and not self._exchanges and self._http is not None:
            http, self._http = self._http, None
            await http.close()

    def authorization(self) -> dict[str, str]:
        """Give the header with the token. Raises TryLater before the first login."""
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
        """Make a request whose answer is a JSON object of at most `max_bytes`.

        Raises TryLater (TooLong for a longer answer), TokenRevoked or Refused.
        """
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
        """Make a request as `call` does, with an answer of any JSON type."""
        url = URL(self.homeserver + path, encoded=True)
        if query:
            url = url.with_query(query)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        headers = self.authorization() if auth else {}
        outcome = "failed"
        try:
            async with (
                self.using() as http,
                http.request(
                    method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as response,
            ):
                if response.status == 200:
                    answer = await read_json(response, max_bytes)
                    outcome = "answered"
                    return answer
                error = failure(response.status, response.headers, await error_body(response), auth=auth)
                outcome = "refused" if isinstance(error, Refused | TokenRevoked) else "failed"
                raise error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TryLater(f"the homeserver can't be reached ({type(error).__name__})") from None
        finally:
            counted.HOMESERVER.add(outcome)


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read the whole body. Raises TooLong if it is longer than `limit` bytes."""
    if response.content_length is not None and response.content_length > limit:
        raise TooLong
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > limit:
            raise TooLong
    return bytes(body)


async def error_body(response: aiohttp.ClientResponse) -> bytes:
    """Read the body of a refusal; empty if it is too long."""
    try:
        return await read_body(response, MAX_ERROR_BYTES)
    except TooLong:
        return b""


async def read_json(response: aiohttp.ClientResponse, limit: int) -> Any:
    """Read a body as JSON, with null for parts that are nested too deep. Raises TryLater."""
    raw = await read_body(response, limit)
    try:
        return parse_json(raw)
    except RecursionError:
        return parse_json(await asyncio.to_thread(nesting.flattened, raw))


def parse_json(raw: bytes) -> Any:
    """Parse JSON. Raises TryLater for malformed JSON, RecursionError if it is nested too deep."""
    try:
        return json.loads(raw, parse_int=_whole)
    except ValueError:
        raise TryLater("the homeserver's answer is not JSON") from None


def _whole(digits: str) -> int:
    """Parse an integer; one of more than `DIGITS` digits becomes a number just outside of what an event may hold.

    Some homeservers pass on integers that Python refuses to parse: such a number must cost only its own event.
    """
    if len(digits) <= DIGITS:
        return int(digits)
    return -OUT_OF_RANGE if digits.startswith("-") else OUT_OF_RANGE


def failure(status: int, headers: Mapping[str, str], raw: bytes, *, auth: bool) -> Exception:
    """Map an answer other than 200 to an error. Of its text only the errcode is passed on.

    Only an answer with a Matrix error is the homeserver's refusal (Client-Server API, standard error response).
    """
    try:
        body = parse_json(raw)
    except (TryLater, RecursionError):
        body = {}
    body = body if isinstance(body, dict) else {}
    errcode = body.get("errcode")
    errcode = errcode if isinstance(errcode, str) and ERRCODE.fullmatch(errcode) else ""
    words = f"{status} {errcode}".rstrip()
    if status == 429 or errcode == "M_LIMIT_EXCEEDED":
        wish_s = wished_pause(headers, body)
        at_most_s = None if wish_s is None else LIMITED_AT_MOST_S
        return TryLater("the homeserver asks for a pause", after_s=wish_s, at_most_s=at_most_s)
    if errcode == "M_USER_LOCKED":
        return TryLater("the bot's account is locked", after_s=LOCKED_FOR_S)
    if auth and status == 401 and errcode in {"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"}:
        return TokenRevoked(soft=body.get("soft_logout") is True)
    if status >= 500 or status in {408, 425} or status < 400:
        return TryLater(f"the homeserver answered {words}")
    if not errcode and "flows" not in body:  # `flows`: user-interactive authentication is asked for
        return NotMatrix(status)
    reason = {403: "forbidden", 404: "not_found", 413: "too_large"}.get(status, "refused")
    return Refused(f"the homeserver refused: {words}", reason=reason, status=status, errcode=errcode, body=body)


def wished_pause(headers: Mapping[str, str], body: Json) -> float | None:
    """Give the seconds that the homeserver asks to wait (Client-Server API, rate limiting); None if it asks nothing."""
    after_ms = body.get("retry_after_ms")
    if isinstance(after_ms, int | float) and not isinstance(after_ms, bool) and after_ms >= 0:
        return min(after_ms, LONGEST_WISH_S * 1000) / 1000
    after_s = headers.get("Retry-After", "")
    return min(float(after_s), LONGEST_WISH_S) if after_s.isascii() and after_s.isdigit() else None


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait this long, or until the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
