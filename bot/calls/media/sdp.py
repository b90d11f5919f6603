"""The guard between strangers' SDP (RFC 8866) and aiortc. Pure.

Of an offer or answer only one audio line counts: the first, and later the same again. Its parts are read one by one,
each by its grammar, and a new, minimal description is written from them for aiortc, which so never sees a codec but
Opus, a video line or a data channel. `completed` writes our answer for all lines: further audio and video is inactive
within the same transport; everything else is declined. (Chromium restarts ICE, which aiortc can't, when it uses the
place of a declined line again, so as little as possible is declined.)

Candidates are kept apart, and lead to the public Internet alone, unless private networks are allowed.
Names (`….local`) are never resolved.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.addresses import is_public
from bot.calls.media.door import Refused

MOST_BYTES = 64 * 1024
MOST_LINES = 4000
MOST_SECTIONS = 64  # m= lines
MOST_FORMATS = 128  # in one m= line
MOST_CANDIDATES = 64  # of one leg
MOST_FINGERPRINTS = 8

_LINE = re.compile(r"m=([a-z]{1,16}) (\d{1,5}) ([A-Z0-9/]{1,32}) ([\w.\-]{1,64}(?: [\w.\-]{1,64})*) ?", re.ASCII)
TOKEN = re.compile(r"[\w!#$%&'*+.^`{|}~\-]{1,64}", re.ASCII)
FRAGMENT = re.compile(r"[A-Za-z0-9+/]{4,256}")
PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_FINGERPRINT = re.compile(r"(sha-256|sha-384|sha-512) ((?:[0-9A-F]{2}:){31,63}[0-9A-F]{2})", re.ASCII | re.IGNORECASE)
_OPUS = re.compile(r"(\d{1,3}) opus/48000/2", re.ASCII | re.IGNORECASE)
_NAMED_FORMAT = re.compile(r"(\d{1,3}) [\w.\-]{1,32}/\d{1,6}(?:/\d)?", re.ASCII)
_CANDIDATE = re.compile(
    r"(?:candidate:)?([\w+/]{1,32}) 1 udp (\d{1,10}) ([0-9A-F.:]{2,45}) (\d{1,5}) typ (host|srflx|relay)(?: .*)?",
    re.ASCII | re.IGNORECASE,
)
_DYNAMIC = range(96, 128)  # payload types that are bound to codecs by the description (RFC 3551)
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_ROLES = {"offer": ("actpass", "active", "passive"), "answer": ("active", "passive")}
END = "\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    """An ICE candidate that may be connected to: component 1, UDP."""

    foundation: str
    priority: int
    host: str
    port: int
    type: str


@dataclass(frozen=True, slots=True)
class Section:
    """An m= line with the attributes that follow it."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]

    def values(self, name: str) -> Iterator[str]:
        return (value for key, value in self.attributes if key == name)

    def value(self, name: str) -> str | None:
        return next(self.values(name), None)

    @property
    def mid(self) -> str:
        return self.value("mid") or ""

    @property
    def declined(self) -> bool:
        """Whether the line is out of use: port 0, and not just bundled with others (RFC 8843, section 6)."""
        return self.port == 0 and self.value("bundle-only") is None

    @property
    def may_stay(self) -> bool:
        """Whether the line can be part of our answer, if not with sound or picture then inactive."""
        kind = self.kind in ("audio", "video") and self.formats[0].isdigit()
        return kind and not self.declined and bool(TOKEN.fullmatch(self.mid))


@dataclass(frozen=True, slots=True)
class Remote:
    """A stranger's description, checked: the audio line that counts, and what else is in it."""

    kind: str  # offer, answer
    mid: str
    index: int  # of the line
    tagged: tuple[str, int]  # mid and index of the line that describes the transport (RFC 8843, section 8)
    direction: str
    payload_types: tuple[int, ...]  # of Opus
    fragment: str  # user name of ICE: a new one means a new connection
    password: str
    fingerprints: tuple[str, ...]
    role: str
    candidates: tuple[str, ...]
    lite: bool
    bundled: tuple[str, ...] | None  # mids of the lines that can share a transport with it, and itself
    sections: tuple[Section, ...]

    def minimal(self) -> str:
        """Write the description for aiortc: the audio line alone, without candidates."""
        lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0", *["a=ice-lite"] * self.lite]
        lines += [f"a=group:BUNDLE {self.mid}", "a=msid-semantic:WMS *"]
        lines += [f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, self.payload_types))}", "c=IN IP4 0.0.0.0"]
        lines += [f"a={self.direction}", f"a=mid:{self.mid}", "a=rtcp-mux"]
        lines += [f"a=rtpmap:{number} opus/48000/2" for number in self.payload_types]
        lines += [f"a=ice-ufrag:{self.fragment}", f"a=ice-pwd:{self.password}"]
        lines += [f"a=fingerprint:{fingerprint}" for fingerprint in self.fingerprints]
        return END.join([*lines, f"a=setup:{self.role}", ""])


def read(text: str, kind: str, mid: str | None = None) -> Remote:
    """Check an `offer` or `answer`. `mid`: of the audio line that was chosen before. Raises Refused."""
    if len(text.encode(errors="replace")) > MOST_BYTES or text.count("\n") > MOST_LINES:
        raise Refused("too_large")
    session, lines = sections(text)
    index, chosen = _chosen(lines, mid)
    groups = [value.split()[1:] for value in session.values("group") if value.split()[:1] == ["BUNDLE"]]
    bundle = next((group for group in groups if chosen.mid in group), None)
    staying = {section.mid: section for section in lines if section.may_stay}
    bundled = list(dict.fromkeys(mid for mid in bundle or () if mid in staying))
    tagged = staying[bundled[0]] if bundled else chosen

    def first(name: str, pattern: re.Pattern[str]) -> str:
        for source in (tagged, chosen, session):
            if (value := source.value(name)) is not None:
                return matching(value, pattern)
        raise Refused("bad_sdp")

    role = first("setup", TOKEN)
    if role not in _ROLES[kind] or not chosen.mid or not TOKEN.fullmatch(chosen.mid):
        raise Refused("bad_sdp")
    return Remote(
        kind=kind,
        mid=chosen.mid,
        index=index,
        tagged=(tagged.mid, lines.index(tagged)),
        direction=next((key for key, _ in (*chosen.attributes, *session.attributes) if key in _DIRECTIONS), "sendrecv"),
        payload_types=opus(chosen),
        fragment=first("ice-ufrag", FRAGMENT),
        password=first("ice-pwd", PASSWORD),
        fingerprints=fingerprints(tagged, chosen, session),
        role=role,
        candidates=tuple(tagged.values("candidate")) or tuple(chosen.values("candidate")),
        lite=session.value("ice-lite") is not None,
        bundled=None if bundle is None else tuple(bundled),
        sections=lines,
    )


def address(candidate: str, private: bool) -> Address | None:
    """Read a candidate; None for one that is not to be connected to. `private`: private networks are allowed."""
    match = _CANDIDATE.fullmatch(candidate)
    if match is None:
        return None
    foundation, priority, host, port, kind = match.groups()
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.is_multicast or ip.is_unspecified or not (private or is_public(host)):
        return None
    if not 0 < int(port) < 1 << 16 or int(priority) >= 1 << 32:
        return None
    return Address(foundation, int(priority), str(ip), int(port), kind.lower())


def completed(answer: str, offer: Remote) -> str:
    """Write our answer to all lines of an offer, from aiortc's answer to its audio line."""
    head, found, ours = answer.partition("m=audio ")
    ours = found + ours
    parts = []
    for index, section in enumerate(offer.sections):
        if index == offer.index:
            parts.append(ours)
        elif section.may_stay and section.mid in (offer.bundled or ()):
            parts.append(_inactive(section, ours))
        else:
            parts.append(declined(section))
    group = "" if offer.bundled is None else f"a=group:BUNDLE {' '.join(offer.bundled)}{END}"
    head = re.sub(r"a=group:BUNDLE [^\r\n]*\r\n", lambda _: group, head)
    return head + "".join(parts)


def sections(text: str, most: int = MOST_SECTIONS) -> tuple[Section, tuple[Section, ...]]:
    """Split a description into what stands before the m= lines, and these. Raises Refused."""
    session: list[tuple[str, str]] = []
    lines: list[tuple[str, list[tuple[str, str]]]] = []
    for line in re.split(r"\r?\n", text):
        if line.startswith("m="):
            lines.append((line, []))
        elif line.startswith("a="):
            key, _, value = line[2:].partition(":")
            (lines[-1][1] if lines else session).append((key, value.strip()))
    if len(lines) > most:
        raise Refused("too_large")
    return Section("", 0, "", (), tuple(session)), tuple(_section(line, attributes) for line, attributes in lines)


def _section(line: str, attributes: Sequence[tuple[str, str]]) -> Section:
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refused("bad_sdp")
    kind, port, protocol, formats = match.groups()
    if len(formats.split()) > MOST_FORMATS:
        raise Refused("too_large")
    return Section(kind, int(port), protocol, tuple(formats.split()), tuple(attributes))


def _chosen(sections: Sequence[Section], mid: str | None) -> tuple[int, Section]:
    for index, section in enumerate(sections):
        if section.kind == "audio" and not section.declined and (mid is None or section.mid == mid):
            return index, section
    raise Refused("no_audio")


def matching(value: str, pattern: re.Pattern[str]) -> str:
    """Return a value that has this form. Raises Refused."""
    if not pattern.fullmatch(value):
        raise Refused("bad_sdp")
    return value


def opus(section: Section) -> tuple[int, ...]:
    """Return the payload types of Opus in a line. Raises Refused."""
    matches = (_OPUS.fullmatch(value) for value in section.values("rtpmap"))
    numbers = tuple(int(match[1]) for match in matches if match is not None and match[1] in section.formats)
    numbers = tuple(dict.fromkeys(number for number in numbers if number in _DYNAMIC))
    if not numbers:
        raise Refused("no_opus")
    return numbers


def fingerprints(*sources: Section) -> tuple[str, ...]:
    """Return the fingerprints of the first source that has any. Raises Refused."""
    for source in sources:
        if values := tuple(source.values("fingerprint")):
            if len(values) > MOST_FINGERPRINTS:
                raise Refused("too_large")
            found = tuple(value for value in values if _FINGERPRINT.fullmatch(value))
            if found:
                return found
    raise Refused("bad_sdp")


def _inactive(section: Section, ours: str) -> str:
    """Write a line that stays without sound or picture, within our transport. It may be the one that describes it."""
    number = section.formats[0]
    lines = [f"m={section.kind} 9 {section.protocol} {number}", "c=IN IP4 0.0.0.0", "a=inactive"]
    lines += [f"a=mid:{section.mid}", "a=rtcp-mux"]
    matches = (_NAMED_FORMAT.fullmatch(value) for value in section.values("rtpmap"))
    lines += [f"a=rtpmap:{match[0]}" for match in matches if match is not None and match[1] == number][:1]
    lines += re.findall(r"a=(?:candidate|ice-ufrag|ice-pwd|fingerprint|setup):[^\r\n]*", ours)
    return END.join([*lines, ""])


def declined(section: Section) -> str:
    """Write the answer to a line that is not used."""
    lines = [f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0", "a=inactive"]
    lines += [f"a=mid:{section.mid}"] if TOKEN.fullmatch(section.mid) else []
    return END.join([*lines, ""])
