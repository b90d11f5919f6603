"""Matrix user ids in running text, in whatever form they are written. Pure.

The grammar is the specification's (appendices, user identifiers and server names; `matrix:` addresses, MSC2312), with
the historical localparts. Text holds much that only resembles an id ("Live @18:30", `git@github.com:me/tool.git`), so
the server decides:

- the server of a member of the room: always an id;
- another server: an id if it is a host name with a top-level domain, an IP address or `localhost`, and no letter or
  digit stands before the `@`, as in addresses of mail and scp;
- a single label: an id only where the form says so: in a link, with escapes, in a `matrix:` address.

The text is decoded first (`bot.feeds.decoding`). The time is linear in its length: each step of the scan masks what it
looked at, or leaves it behind.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from bot.feeds.decoding import Decoded, decode

SOMEBODY = "Somebody"
"""Name of people who have none that can be shown."""

_SIGN = re.compile("[@%&\ufe6b\uff20]|matrix", re.IGNORECASE)
"""At least one of these stands in every text that holds an id."""
_STOP = re.compile(r"[:\s]")
_HOST_CHARACTERS = 255
_HOST = re.compile(
    rf"(?P<host>\[[0-9a-f:.]{{2,45}}\]|[a-z0-9](?:[a-z0-9_-]|\.(?=[a-z0-9])){{0,{_HOST_CHARACTERS - 1}}})"
    r"(?P<port>:[0-9]{1,5}(?![a-z0-9]))?",
    re.IGNORECASE | re.ASCII,
)
_LABEL_ENDS = re.compile(r"[.-]|_")
_TOP_LEVEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+", re.IGNORECASE | re.ASCII)
_HOUR = re.compile(r"[0-9]{1,2}", re.ASCII)
_MINUTES = re.compile(r"[0-9]{2}(?:h|am|pm|uhr)?(?![a-z0-9-])", re.IGNORECASE | re.ASCII)
_OF_URI = re.compile(r"(?://[^/]*/)?(?:u|user)/(?P<localpart>[^/?#]+)", re.IGNORECASE)
_SCHEME = "matrix:"


def may_hold(text: str) -> bool:
    """Return whether a text may hold an id: a cheap test, before the servers of the room are looked up."""
    return _SIGN.search(text) is not None


def masked(text: str, servers: Collection[str] = ()) -> str:
    """Replace each user id by `Somebody`. `servers`: those of the room's members, in lower case."""
    if not may_hold(text):
        return text
    end, parts = 0, []
    for first, last in _Scan(decode(text), servers).run():
        parts += [text[end:first], SOMEBODY]
        end = last
    return "".join([*parts, text[end:]])


def holds(text: str, servers: Collection[str] = (), *, name: bool = False) -> bool:
    """Return whether a text holds a user id. In a `name`, which is replaced as a whole, any server counts."""
    return may_hold(text) and bool(_Scan(decode(text), servers, name=name).run())


@dataclass(slots=True)
class _Scan:
    """A single pass from colon to colon: each may stand between a localpart and a server."""

    decoded: Decoded
    servers: Collection[str]
    name: bool = False
    start: int = 0  # where the next localpart may begin: behind white space and colons that ended none
    ids: list[tuple[int, int]] = field(default_factory=list)

    def run(self) -> list[tuple[int, int]]:
        """Find where ids begin and end in the original text."""
        text, offsets = self.decoded.text, self.decoded.offsets
        for stop in _STOP.finditer(text):
            at = stop.start()
            if self.ids and at < self.ids[-1][1]:
                continue  # it belongs to a server that was found
            if stop[0] != ":" or not self._take_id(at):
                self.start = stop.end()
        return [(offsets[first], offsets[last]) for first, last in self.ids]

    def _take_id(self, colon: int) -> bool:
        """Add the id whose localpart ends at this colon; False where none does."""
        server = _HOST.match(self.decoded.text, colon + 1)
        if server is None:
            return False
        known_end = self._known_end(server)
        return self._take_uri(colon, server, known_end) or self._take_plain(colon, server, known_end)

    def _take_uri(self, colon: int, server: re.Match[str], known_end: int) -> bool:
        if self.decoded.text[max(0, self.start - len(_SCHEME)) : self.start].lower() != _SCHEME:
            return False
        uri = _OF_URI.fullmatch(self.decoded.text, self.start, colon)
        end = known_end or _host_end(server, explicit=True)
        if uri is None or not end:
            return False
        self.ids.append((uri.start("localpart"), end))
        self.start = end
        return True

    def _take_plain(self, colon: int, server: re.Match[str], known_end: int) -> bool:
        first, before = self._sigil(colon)
        if first is None:
            first, before = self._any_sigil(colon) if known_end or self.name else (None, 0)
            if first is None:
                return False
            self.start = first
        localpart, end = self.decoded.text[first + 1 : colon], known_end
        if not end and not _is_time(localpart, server["host"]):
            end = _host_end(server, explicit=self._is_explicit(first))
        if not localpart or not end:
            return False
        del self.ids[before:]
        self.ids.append((first, end))
        return True

    def _known_end(self, server: re.Match[str]) -> int:
        """Return where the longest known server ends that begins here; 0 where none does."""
        host = server["host"].lower()
        if server["port"] and f"{host}{server['port']}" in self.servers:
            return server.end()
        if not self.servers:
            return 0
        ends = [*(label_end.start() for label_end in _LABEL_ENDS.finditer(host)), len(host)]
        names = ((host[:end], server.start() + end) for end in reversed(ends))
        # "@18:30" is a time, whatever somebody calls a server.
        return next((end for name, end in names if name in self.servers and not name.isdigit()), 0)

    def _sigil(self, colon: int) -> tuple[int | None, int]:
        """Return the last `@` before the colon that begins a word, and how many of the found ids stand before that."""
        text, high, before = self.decoded.text, colon, len(self.ids)
        while True:
            low = max(self.start, self.ids[before - 1][1] if before else 0)
            at = text.rfind("@", low, high)
            while at >= 0:
                if at == low or not (text[at - 1].isascii() and text[at - 1].isalnum()):
                    return at, before
                at = text.rfind("@", low, at)
            if not before or self.ids[before - 1][1] <= self.start:
                return None, before
            before -= 1
            high = self.ids[before][0]

    def _any_sigil(self, colon: int) -> tuple[int | None, int]:
        """Return the last `@` before the colon and behind all found ids."""
        low = max(self.start, self.ids[-1][1] if self.ids else 0)
        at = self.decoded.text.rfind("@", low, colon)
        return (at if at >= 0 else None), len(self.ids)

    def _is_explicit(self, at: int) -> bool:
        """Return whether the form of the text says that an id begins here."""
        return self.name or at in self.decoded.escaped or self.decoded.text[max(0, at - 1) : at] in ("/", "=")


def _is_time(localpart: str, host: str) -> bool:
    return _HOUR.fullmatch(localpart) is not None and _MINUTES.match(host) is not None


def _host_end(server: re.Match[str], *, explicit: bool) -> int:
    """Return where a server ends that is not a member's; 0 where it looks like none. `explicit`: a single label is
    enough."""
    host = server["host"].lower()
    if host.startswith("["):
        return server.end() if host.count(":") > 1 else 0
    labels = host.rstrip("-_").split(".")
    if len(labels) == 1:
        alone = host == "localhost" or (explicit and host[0].isalpha() and host != SOMEBODY.lower())
        return server.end() if alone else 0
    if _TOP_LEVEL.fullmatch(labels[-1]):
        return server.end()
    is_ip = len(labels) == 4 and all(label.isdigit() and int(label) < 256 for label in labels)
    return server.end() if is_ip else 0
