"""The descriptions (SDP, RFC 8866) that are exchanged with an SFU. Pure.

An offer of the SFU has a line for each track that we subscribed to, all within one transport. We answer each line of
sound with Opus alone (no redundancy by RFC 2198: its packets would have to be taken apart), the data channel with an
association that is never used, and everything else with nothing. Our own offer has one line, of our microphone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.calls.media.door import Refused
from bot.calls.media.sdp import (
    END,
    FRAGMENT,
    PASSWORD,
    TOKEN,
    Section,
    declined,
    fingerprints,
    matching,
    opus,
    sections,
)

MOST_BYTES = 256 * 1024
MOST_SECTIONS = 256  # m= lines
MOST_LINES = 24 * MOST_SECTIONS
OUR_MID = "0"
OUR_PAYLOAD_TYPE = 111
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_SOUND = "m=audio 9 UDP/TLS/RTP/SAVPF"


@dataclass(frozen=True, slots=True)
class Local:
    """Our end of a transport."""

    fragment: str  # user name of ICE
    password: str
    fingerprint: str
    candidates: tuple[str, ...]

    def lines(self, role: str) -> list[str]:
        lines = [f"a=ice-ufrag:{self.fragment}", f"a=ice-pwd:{self.password}", f"a=setup:{role}"]
        lines += [f"a=fingerprint:sha-256 {self.fingerprint}"]
        return lines + [f"a=candidate:{candidate}" for candidate in self.candidates]


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of packets in an offer: the id of its track, and the payload types that are Opus."""

    track: str
    payload_types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Remote:
    """The end of a transport that an SFU described, and the streams that come through it by their SSRCs."""

    fragment: str
    password: str
    fingerprints: tuple[str, ...]
    role: str
    lite: bool
    candidates: tuple[str, ...]
    sources: Mapping[int, Source]
    lines: tuple[Section, ...]
    bundled: tuple[str, ...]

    def answer(self, local: Local) -> str:
        """Write our answer: receive sound, as the end that begins DTLS."""
        bundled = set(self.bundled)
        parts = [
            _line(line, local if line.mid == self.bundled[0] else None) if line.mid in bundled else declined(line)
            for line in self.lines
        ]
        return _head(self.bundled) + "".join(parts)


def read(text: str, kind: str, tracks: Mapping[str, str]) -> Remote:
    """Check an `offer` or `answer`. `tracks`: ids of tracks by the mids of their lines, where told. Raises Refused."""
    if len(text) > MOST_BYTES or text.count("\n") > MOST_LINES:
        raise Refused("too_large")
    session, lines = sections(text, MOST_SECTIONS)
    used = {line.mid: line for line in lines if not line.declined and TOKEN.fullmatch(line.mid)}
    groups = [value.split()[1:] for value in session.values("group") if value.split()[:1] == ["BUNDLE"]]
    bundled = tuple(dict.fromkeys(mid for mid in (groups[0] if groups else used) if mid in used))
    if not bundled:
        raise Refused("bad_sdp")
    tagged = used[bundled[0]]

    def first(name: str) -> str:
        return next((value for place in (tagged, session) if (value := place.value(name)) is not None), "")

    role = first("setup")
    if role not in (("actpass", "passive") if kind == "offer" else ("active", "passive")):
        raise Refused("bad_sdp")
    return Remote(
        fragment=matching(first("ice-ufrag"), FRAGMENT),
        password=matching(first("ice-pwd"), PASSWORD),
        fingerprints=fingerprints(tagged, session),
        role=role,
        lite=session.value("ice-lite") is not None,
        candidates=tuple(tagged.values("candidate")),
        sources=_sources([used[mid] for mid in bundled], tracks),
        lines=lines,
        bundled=bundled,
    )


def offer(local: Local, track: str, ssrc: int, version: int) -> str:
    """Write our offer: one line, of our microphone. `track`: the id that it was announced by."""
    lines = [f"{_SOUND} {OUR_PAYLOAD_TYPE}", "c=IN IP4 0.0.0.0", "a=sendonly", f"a=mid:{OUR_MID}", "a=rtcp-mux"]
    lines += [f"a=msid:{track} {track}", f"a=rtpmap:{OUR_PAYLOAD_TYPE} opus/48000/2"]
    lines += [f"a=ssrc:{ssrc} cname:{track}", f"a=ssrc:{ssrc} msid:{track} {track}"]
    return _head((OUR_MID,), version) + END.join([*lines, *local.lines("actpass"), ""])


def _head(bundled: Sequence[str], version: int = 1) -> str:
    group = f"a=group:BUNDLE {' '.join(bundled)}"
    return END.join(["v=0", f"o=- 1 {version} IN IP4 0.0.0.0", "s=-", "t=0 0", group, "a=msid-semantic:WMS *", ""])


def _line(line: Section, local: Local | None) -> str:
    """Answer a line that stays: sound is received, the others carry nothing. `local`: the line describes the transport
    of all (RFC 8843, section 7.1.3)."""
    if line.kind == "application":
        body = [f"m=application 9 {line.protocol} {' '.join(line.formats)}", "c=IN IP4 0.0.0.0", "a=sctp-port:5000"]
    else:
        types = _opus(line)
        formats = " ".join(map(str, types)) or line.formats[0]
        direction = "recvonly" if types and _sends(line) else "inactive"
        body = [f"m={line.kind} 9 {line.protocol} {formats}", "c=IN IP4 0.0.0.0", f"a={direction}"]
        body += ["a=rtcp-mux", *(f"a=rtpmap:{number} opus/48000/2" for number in types)]
        body += [f"a=rtcp-fb:{number} nack" for number in types if f"{number} nack" in line.values("rtcp-fb")]
    return END.join([*body, f"a=mid:{line.mid}", *(local.lines("active") if local else ()), ""])


def _sends(line: Section) -> bool:
    return not any(key in ("recvonly", "inactive") for key, _ in line.attributes)


def _opus(line: Section) -> tuple[int, ...]:
    if line.kind != "audio":
        return ()
    try:
        return opus(line)
    except Refused:
        return ()


def _sources(lines: Sequence[Section], tracks: Mapping[str, str]) -> dict[int, Source]:
    found: dict[int, Source] = {}
    for line in lines:
        if not (types := _opus(line)) or not _sends(line):
            continue
        named = (line.value("msid") or "").split()
        track = tracks.get(line.mid) or (named[1] if len(named) == 2 else "")
        if number := _NUMBER.match(line.value("ssrc") or ""):
            found[int(number[0])] = Source(track, types)
    return {ssrc: source for ssrc, source in found.items() if ssrc < 1 << 32}
