"""The requests of Icecast source clients: what HTTP libraries don't take. Pure.

A source sends `PUT` or, in older clients, the method `SOURCE`, then sound without an end: in chunks, with a
Content-Length, or neither, until the connection closes. It waits for `100 Continue` or `200 OK` first. So these
requests are read here, and not by aiohttp, for which a request without a length has no body.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from bot.errors import GiveUp
from bot.words import SOURCE_MOUNT, SOURCE_USER

MOST_HEAD = 16 * 1024
"""Bytes of the longest request line with its headers."""
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LONGEST_SIZE = 16  # digits of a chunk's size
_LONGEST_LINE = 1024
_BY_PROXIES = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via"})


class Mounts:
    """The mount points of sources: below the root, and below the paths of the addresses that are told, which a proxy
    takes away and who comes past the proxy names too."""

    def __init__(self, *paths: str) -> None:
        self._paths = frozenset({SOURCE_MOUNT, *(path + SOURCE_MOUNT for path in paths)})
        puts = (b"PUT " + mount.encode() + behind for mount in self._paths for behind in (b" ", b"?"))
        self._beginnings = (b"SOURCE ", *puts)

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def are_meant(self, beginning: bytes) -> bool | None:
        """Return whether a connection that begins so is a source's; None where more bytes have to tell."""
        if beginning.startswith(self._beginnings):
            return True
        return None if any(start.startswith(beginning) for start in self._beginnings) else False


class Body(Enum):
    """The way in which the end of a source's sound is told."""

    CHUNKED = auto()
    SIZED = auto()
    ENDLESS = auto()  # by the end of the connection


@dataclass(frozen=True, slots=True)
class Head:
    """The request of a source."""

    path: str
    password: str | None  # of the user `source`
    body: Body
    size: int  # of a sized body
    expects: bool  # the client waits for `100 Continue`
    forwarded: bool = False  # by a web server

    @property
    def has_lost_its_sound(self) -> bool:
        """Whether no sound will come: to a web server, a request that tells no length has no body."""
        return self.forwarded if self.body is Body.ENDLESS else self.body is Body.SIZED and not self.size

    @property
    def is_answered_at_its_end(self) -> bool:
        """Whether the answer follows the sound, and says what became of it. Web servers may drop what comes behind an
        answer. Without one, clients that ask for no `100 Continue` may wait before they send."""
        return self.expects or self.forwarded


def read_head(data: bytes) -> Head | None:
    """Read a request up to its empty line; None for what is none. Lines may end as DarkIce's do, without a carriage
    return (RFC 9112, section 2.2)."""
    lines = [line.removesuffix("\r") for line in data.decode("latin-1").split("\n")]
    words = lines[0].split(" ")
    if len(words) != 3 or words[0] not in ("PUT", "SOURCE") or not words[2].startswith(("HTTP/1.", "ICE/1.")):
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.lower()] = value.strip()
    body, size = _body(headers)
    if body is None:
        return None
    if words[0] == "SOURCE" and not size:  # libshout announces 0 bytes, and sends without an end
        body = Body.ENDLESS
    expects = headers.get("expect", "").lower() == "100-continue"
    forwarded = not headers.keys().isdisjoint(_BY_PROXIES)
    return Head(words[1].partition("?")[0], password_of(headers), body, size, expects, forwarded)


def _body(headers: Mapping[str, str]) -> tuple[Body | None, int]:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and coding.lower() != "identity":
        return (Body.CHUNKED if coding.lower() == "chunked" and length is None else None), 0
    if length is None or length.startswith("-"):
        return Body.ENDLESS, 0
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        return None, 0
    return Body.SIZED, int(length)


def password_of(headers: Mapping[str, str]) -> str | None:
    """Return the password of the user `source` by Basic authentication (RFC 7617); None for none, or another user.
    `headers` have names in any case, or in lower case."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(credentials.strip(), validate=True).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if colon and user == SOURCE_USER else None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a source. `headers`: those that only it has."""

    status: int
    phrase: str
    headers: Mapping[str, str] = field(default_factory=dict)


OK = Reply(200, "OK")
MALFORMED = Reply(400, "Bad Request")
WRONG = Reply(401, "Authentication Required", {"WWW-Authenticate": 'Basic realm="Aircheck"'})
IN_USE = Reply(403, "Mountpoint in use")
NOT_FOUND = Reply(404, "Not Found")
ENDED = Reply(410, "This studio has ended: ask for a new one")
LENGTH = Reply(411, "A web server between takes no sound without its length: send in chunks, or to another port")
NO_SOUND = Reply(415, "Unsupported Media Type")
LATER = Reply(503, "Service Unavailable", {"Retry-After": "30"})


def answer(reply: Reply) -> bytes:
    """Write an answer to a source; the connection is closed after it, or has no more answers."""
    body = f"{reply.phrase}\n" if reply.status >= 400 else ""
    headers = {"Server": "Aircheck", "Cache-Control": "no-store", "Connection": "close", **reply.headers}
    if body:
        headers |= {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    lines = (f"HTTP/1.1 {reply.status} {reply.phrase}", *(f"{name}: {value}" for name, value in headers.items()))
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
METADATA = (
    '<?xml version="1.0"?>\n<iceresponse><message>Metadata update successful</message>'
    "<return>1</return></iceresponse>\n"
)
"""The answer of Icecast to the title of a song. The title is not used: an episode's own is said by its speaker."""


class Dechunker:
    """The sound in a chunked body (RFC 9112, section 7.1). `ended`: its last chunk has come."""

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk that are still to come
        self._line = bytearray()  # the size of the next chunk, so far
        self._behind = False  # the line break behind a chunk is still to come
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes in; give the sound in them. Raises GiveUp (`not_audio`) for what is not made of chunks."""
        sound, at = bytearray(), 0
        while at < len(data) and not self.ended:
            if self._left:
                part = data[at : at + self._left]
                sound += part
                at += len(part)
                self._left -= len(part)
                self._behind = not self._left
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            at = end + 1 if end >= 0 else len(data)
            if len(self._line) > _LONGEST_LINE:
                raise _not_chunked()
            if end >= 0:
                self._take_line()
        return bytes(sound)

    def _take_line(self) -> None:
        line, self._line = bytes(self._line).strip(), bytearray()
        if self._behind:
            if line:
                raise _not_chunked()
            self._behind = False
            return
        size = line.partition(b";")[0].strip()
        if not size or len(size) > _LONGEST_SIZE or size.strip(b"0123456789abcdefABCDEF"):
            raise _not_chunked()
        self._left = int(size, 16)
        self.ended = not self._left


def _not_chunked() -> GiveUp:
    return GiveUp("the source's request is malformed", reason="not_audio")
