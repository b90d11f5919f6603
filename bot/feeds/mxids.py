"""Matrix user ids in running text: where they stand, whatever they are written as. Pure.

The grammar is the specification's (appendices, user identifiers and server names; `matrix:` addresses, MSC2312), with
the historical localparts. Text holds much that only resembles an id ("Live @18:30", `git@github.com:me/tool.git`), so
the server decides:

- a server that somebody in the room comes from: always an id;
- another one: an id where it is a host name with a top-level domain, an IP address or `localhost`, and where no letter
  or digit stands in front of the `@`, as in mail addresses and those of scp;
- a single label: an id only where the text says so by its form: in a link, with escapes, in a `matrix:` address.

Escapes of links and HTML, also escaped again, wide forms of ASCII and invisible characters are read as what they stand
for. The time is linear in the text's length: what one step of the scan looked at is masked or never looked at again.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise

SOMEBODY = "Somebody"

_SIGN = re.compile("[@%&\ufe6b\uff20]|matrix", re.IGNORECASE)
"""Some of it stands in every text that holds an id."""
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_COLONS, _DOTS = "\ufe13\ufe55\ua789\u2236", "\u2024\u3002\uff61"
_READ_AS = {**_WIDE, **str.maketrans(_COLONS + _DOTS + "\ufe6b", ":" * len(_COLONS) + "." * len(_DOTS) + "@")}
_ESCAPE = re.compile(
    rf"%(?:25)*(?P<byte>[0-9a-f]{{2}})"
    r"|&(?:amp;)*(?:#x0*(?P<hex>[0-9a-f]{1,5})|#0*(?P<number>[0-9]{1,6})|(?P<name>commat|colon|period|sol));?"
    rf"|[{_INVISIBLE}]+",
    re.IGNORECASE,
)
_ENTITIES = {"commat": "@", "colon": ":", "period": ".", "sol": "/"}
_LAYERS = 4  # escapes of escapes of escapes: no program follows that many
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
    """Whether it is worth asking which servers are known."""
    return _SIGN.search(text) is not None


def masked(text: str, servers: Collection[str] = ()) -> str:
    """The text with `Somebody` for each user id. `servers`: names of known ones, in small letters."""
    if not may_hold(text):
        return text
    end, parts = 0, []
    for first, last in _Scan(_read(text), servers).run():
        parts += [text[end:first], SOMEBODY]
        end = last
    return "".join([*parts, text[end:]])


def holds(text: str, servers: Collection[str] = (), *, name: bool = False) -> bool:
    """Whether a user id stands in it. In a `name`, which is short and replaced as a whole, each server will do."""
    return may_hold(text) and bool(_Scan(_read(text), servers, name=name).run())


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text as it is understood. Character i stands in the original from `places[i]` to `places[i + 1]`."""

    text: str
    places: list[int]
    escaped: frozenset[int]  # which characters were escapes


def _read(text: str) -> _Reading:
    plain, places, escaped = text.translate(_READ_AS), list(range(len(text) + 1)), frozenset[int]()
    for _ in range(_LAYERS):
        if not _ESCAPE.search(plain):
            break
        plain, places = _without_a_layer(plain, places)
    if len(plain) < len(text):
        escaped = frozenset(at for at, (first, last) in enumerate(pairwise(places)) if last - first > 1)
    return _Reading(plain, places, escaped)


def _without_a_layer(plain: str, places: list[int]) -> tuple[str, list[int]]:
    parts, kept, end = [], [], 0
    for found in _ESCAPE.finditer(plain):
        parts.append(plain[end : found.start()])
        kept += places[end : found.start()]
        character = _character(found)
        if character:
            parts.append(character)
            kept.append(places[found.start()])
        end = found.end()
    return "".join([*parts, plain[end:]]), kept + places[end:]


def _character(found: re.Match[str]) -> str:
    """What an escape stands for; nothing for what is invisible. Beyond ASCII one stands for all others."""
    if found["name"]:
        return _ENTITIES[found["name"].lower()]
    if found["byte"] or found["hex"]:
        code = int(found["byte"] or found["hex"], 16)
    elif found["number"]:
        code = int(found["number"])
    else:
        return ""
    return " " if code < 0x20 else chr(code) if code < 0x7F else "\ufffd"


@dataclass(slots=True)
class _Scan:
    """One pass from colon to colon: each may end a localpart, and what stands behind it be a server."""

    reading: _Reading
    servers: Collection[str]
    name: bool = False
    start: int = 0  # of what may belong to the next localpart: behind white space and colons that ended none
    found: list[tuple[int, int]] = field(default_factory=list)

    def run(self) -> list[tuple[int, int]]:
        """Where ids stand in the original text."""
        text, places = self.reading.text, self.reading.places
        for stop in _STOP.finditer(text):
            at = stop.start()
            if self.found and at < self.found[-1][1]:
                continue  # a server's own
            if stop[0] != ":" or not self._ends_a_localpart(at):
                self.start = stop.end()
        return [(places[first], places[last]) for first, last in self.found]

    def _ends_a_localpart(self, colon: int) -> bool:
        server = _HOST.match(self.reading.text, colon + 1)
        if server is None:
            return False
        known = self._known_end(server)
        if self.reading.text[max(0, self.start - len(_SCHEME)) : self.start].lower() == _SCHEME:
            uri = _OF_URI.fullmatch(self.reading.text, self.start, colon)
            if uri is not None and (end := known or _host_end(server, spoken=True)):
                self.found.append((uri.start("localpart"), end))
                self.start = end
                return True
        first, before = self._sigil(colon)
        if first is None:
            first, before = self._any_sigil(colon) if known or self.name else (None, 0)
            if first is None:
                return False
            self.start = first
        localpart = self.reading.text[first + 1 : colon]
        end = known or (0 if _is_time(localpart, server["host"]) else _host_end(server, spoken=self._spoken(first)))
        if not localpart or not end:
            return False
        del self.found[before:]
        self.found.append((first, end))
        return True

    def _known_end(self, server: re.Match[str]) -> int:
        """Where the longest known server ends that begins here; 0: none does."""
        host = server["host"].lower()
        if server["port"] and f"{host}{server['port']}" in self.servers:
            return server.end()
        if not self.servers:
            return 0
        ends = [*(found.start() for found in _LABEL_ENDS.finditer(host)), len(host)]
        names = ((host[:end], server.start() + end) for end in reversed(ends))
        # "@18:30" is a time, whatever somebody calls a server.
        return next((end for name, end in names if name in self.servers and not name.isdigit()), 0)

    def _sigil(self, colon: int) -> tuple[int | None, int]:
        """The last `@` in front of it that begins a word, and how many of the ids found stand before that."""
        text, high, before = self.reading.text, colon, len(self.found)
        while True:
            low = max(self.start, self.found[before - 1][1] if before else 0)
            at = text.rfind("@", low, high)
            while at >= 0:
                if at == low or not (text[at - 1].isascii() and text[at - 1].isalnum()):
                    return at, before
                at = text.rfind("@", low, at)
            if not before or self.found[before - 1][1] <= self.start:
                return None, before
            before -= 1
            high = self.found[before][0]

    def _any_sigil(self, colon: int) -> tuple[int | None, int]:
        """The last `@` in front of it, behind all ids that were found."""
        low = max(self.start, self.found[-1][1] if self.found else 0)
        at = self.reading.text.rfind("@", low, colon)
        return (at if at >= 0 else None), len(self.found)

    def _spoken(self, at: int) -> bool:
        """Whether the text's form says that an id begins there."""
        return self.name or at in self.reading.escaped or self.reading.text[max(0, at - 1) : at] in ("/", "=")


def _is_time(localpart: str, host: str) -> bool:
    return _HOUR.fullmatch(localpart) is not None and _MINUTES.match(host) is not None


def _host_end(server: re.Match[str], *, spoken: bool) -> int:
    """Where a server ends that nobody knows; 0: it can hardly be one. `spoken`: a single label will do."""
    host = server["host"].lower()
    if host.startswith("["):
        return server.end() if host.count(":") > 1 else 0
    labels = host.rstrip("-_").split(".")
    if len(labels) == 1:
        alone = host == "localhost" or (spoken and host[0].isalpha() and host != SOMEBODY.lower())
        return server.end() if alone else 0
    if _TOP_LEVEL.fullmatch(labels[-1]):
        return server.end()
    is_ip = len(labels) == 4 and all(label.isdigit() and int(label) < 256 for label in labels)
    return server.end() if is_ip else 0
