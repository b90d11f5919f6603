"""Answers of a web server as a stranger got them, and the ways in which there is none. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """The way in which a request got no answer."""

    NAME = "name"  # the host's name leads nowhere
    REFUSED = "refused"  # nobody listens there
    TIME = "time"
    CERTIFICATE = "certificate"
    TLS = "tls"
    BROKEN = "broken"  # the connection ended before the answer did
    ELSEWHERE = "elsewhere"  # an address that is not below `web.public_url`: never asked


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer. `detail`: of a certificate, what is wrong with it, in the words of OpenSSL."""

    trouble: Trouble
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to GET or HEAD; names of headers are in lower case. `body` is at most as much as was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = True
    """Whether the body is all of it."""
    moved: tuple[str, ...] = ()
    """The addresses to which redirects led, the last of which gave this answer, or was not asked."""

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_redirect(self) -> bool:
        return self.status in (301, 302, 303, 307, 308)


Fetched = Answer | Failure
