"""The guard before strangers' descriptions."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.calls.media import sdp
from bot.calls.media.door import Refused

AUDIO = """m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 93.184.216.34 47948 typ host generation 0 network-cost 999
a=candidate:2 1 udp 2113937151 192.168.1.9 47949 typ host
a=ice-ufrag:w8rY
a=ice-pwd:LdrRd4EIjUv2sdF3qIl5lcZ8
a=ice-options:trickle
a=fingerprint:sha-256 9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11:9C:0B:3A:11
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:stream track
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=rtpmap:9 G722/8000
a=ssrc:3582174154 cname:somebody
"""
VIDEO = """m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:w8rY
a=ice-pwd:LdrRd4EIjUv2sdF3qIl5lcZ8
a=setup:actpass
a=mid:1
a=sendrecv
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
"""
DATA = """m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:w8rY
a=setup:actpass
a=mid:2
a=sctp-port:5000
"""
OURS = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic:WMS *
m=audio 33787 UDP/TLS/RTP/SAVPF 111
c=IN IP4 93.184.216.35
a=recvonly
a=mid:0
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=candidate:1 1 udp 2130706431 93.184.216.35 33787 typ host
a=ice-ufrag:ymfQ
a=ice-pwd:R6FMezKLWIK773QOkRsV8t
a=fingerprint:sha-256 AA
a=setup:active
"""


def described(*lines: str, group: str = "0 1 2") -> str:
    head = f"v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {group}\na=msid-semantic: WMS stream\n"
    return (head + "".join(lines)).replace("\n", "\r\n")


def test_only_the_audio_line_is_handed_on() -> None:
    """From an offer with picture and data, aiortc gets Opus alone, and no candidate."""
    remote = sdp.read(described(AUDIO, VIDEO, DATA), "offer")
    assert (remote.mid, remote.index, remote.payload_types, remote.direction) == ("0", 0, (111,), "sendrecv")
    assert len(remote.candidates) == 2
    minimal = remote.minimal()
    assert [line for line in minimal.split("\r\n") if line.startswith("m=")] == ["m=audio 9 UDP/TLS/RTP/SAVPF 111"]
    assert "candidate" not in minimal
    assert "a=ice-ufrag:w8rY" in minimal


@pytest.mark.parametrize(
    ("lines", "mids"),
    [
        ((AUDIO, VIDEO, DATA), "0 1"),
        ((VIDEO, AUDIO), "1 0"),
        ((DATA, AUDIO, VIDEO.replace("m=video 9", "m=video 0")), "0"),
        ((AUDIO, VIDEO.replace("m=video 9", "m=video 0") + "a=bundle-only\n"), "0 1"),
        ((AUDIO, VIDEO.replace("a=mid:1", "a=mid:7")), "0"),
    ],
)
def test_every_line_is_answered(lines: tuple[str, ...], mids: str) -> None:
    """Each line of an offer has one in the answer, in the same order: ours, inactive within our transport, or
    declined."""
    group = " ".join(re.findall(r"a=mid:([0-2])", "".join(lines)))
    remote = sdp.read(described(*lines, group=group), "offer")
    answer = sdp.completed(OURS.replace("\n", "\r\n"), remote)
    assert answer.count("a=group:BUNDLE") == 1
    assert f"a=group:BUNDLE {mids}\r\n" in answer
    answers = re.split(r"(?=^m=)", answer, flags=re.MULTILINE)[1:]
    assert len(answers) == len(lines)
    for offered, answered in zip(lines, answers, strict=True):
        kind, mid = offered[: offered.index(" ")], re.findall(r"a=mid:(\w)", offered)[0]
        assert answered.startswith(kind)
        assert f"a=mid:{mid}\r\n" in answered
        assert ("a=recvonly" in answered) == (mid == "0")
        assert answered.startswith(f"{kind} 0 ") == (mid not in mids.split())
        assert ("a=ice-ufrag:ymfQ" in answered) == (mid in mids.split())


def test_the_answer_has_no_group_that_was_not_offered() -> None:
    """Without a BUNDLE group in the offer there is none in the answer."""
    offer = described(AUDIO, VIDEO).replace("a=group:BUNDLE 0 1 2\r\n", "")
    answer = sdp.completed(OURS.replace("\n", "\r\n"), sdp.read(offer, "offer"))
    assert "BUNDLE" not in answer
    assert "m=video 0 " in answer


def test_the_bundled_transport_is_described_by_its_first_line() -> None:
    """If another line comes first in the group, its user name of ICE counts; a declined line's doesn't."""
    first = VIDEO.replace("w8rY", "other").replace("a=setup", "a=fingerprint:sha-256 " + "AB:" * 31 + "AB\na=setup")
    assert sdp.read(described(first, AUDIO, group="1 0"), "offer").fragment == "other"
    assert sdp.read(described(DATA.replace("w8rY", "other"), AUDIO, group="2 0"), "offer").fragment == "w8rY"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_audio"),
        (described(VIDEO, DATA), "no_audio"),
        (described(AUDIO.replace("m=audio 9", "m=audio 0")), "no_audio"),
        (described(AUDIO.replace("opus", "speex")), "no_opus"),
        (described(AUDIO.replace("111", "99999")), "no_opus"),
        (described(AUDIO.replace("rtpmap:111", "rtpmap:112")), "no_opus"),
        (described(AUDIO.replace("a=ice-pwd", "a=x")), "bad_sdp"),
        (described(AUDIO.replace("a=fingerprint:sha-256", "a=fingerprint:md5")), "bad_sdp"),
        (described(AUDIO.replace("actpass", "holdconn")), "bad_sdp"),
        (described(AUDIO.replace("a=mid:0", "a=x")), "bad_sdp"),
        (described(AUDIO.replace("w8rY", "w8rY\x00")), "bad_sdp"),
        (described(AUDIO.replace("m=audio 9", "m=audio nine")), "bad_sdp"),
        (described(*[AUDIO] * 65), "too_large"),
        (described(AUDIO + "a=x\n" * 4000), "too_large"),
        (described(AUDIO + "a=" + "x" * 65_000 + "\n"), "too_large"),
        (described(AUDIO.replace("111 63", " ".join(["63"] * 200) + " 111")), "too_large"),
    ],
)
def test_bad_descriptions_are_refused(text: str, reason: str) -> None:
    """A description without what is needed, or too large, is refused with the reason."""
    with pytest.raises(Refused) as refused:
        sdp.read(text, "offer")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("host", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("169.254.169.254", False, True),
        ("0.0.0.0", False, False),  # noqa: S104
        ("224.0.0.251", False, False),
        ("fe80::1%eth0", False, False),
        ("f4d27523-dcf0-4a7d-8b49-6537700dcdbb.local", False, False),
        ("example.org", False, False),
    ],
)
def test_addresses_that_may_be_connected_to(host: str, public: bool, private: bool) -> None:
    """Candidates lead to public addresses; into private networks only if the homeserver is in one; names nowhere."""
    candidate = f"candidate:1 1 udp 2113937151 {host} 47948 typ host generation 0"
    assert (sdp.address(candidate, private=False) is not None) == public
    assert (sdp.address(candidate, private=True) is not None) == private


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        "candidate:1 2 udp 1 93.184.216.34 9 typ host",
        "candidate:1 1 tcp 1 93.184.216.34 9 typ host tcptype active",
        "candidate:1 1 udp 1 93.184.216.34 0 typ host",
        "candidate:1 1 udp 1 93.184.216.34 70000 typ host",
        "candidate:1 1 udp 9999999999 93.184.216.34 9 typ host",
        "candidate:1 1 udp 1 93.184.216.34 9 typ prflx",
        "candidate:1 1 udp 1 1.2.3 9 typ host",
    ],
)
def test_other_candidates_are_passed_over(candidate: str) -> None:
    """Only UDP candidates of the one component count."""
    assert sdp.address(candidate, private=True) is None


@settings(max_examples=60)
@given(st.data())
def test_any_description_is_read_or_refused(data: st.DataObject) -> None:
    """However a description is damaged, it is refused, or what is handed on and answered is well-formed."""
    text = described(AUDIO, VIDEO, DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = begin + data.draw(st.integers(0, 30))
        text = (
            text[:begin] + data.draw(st.text(st.characters(codec="utf-8"), max_size=8) | st.just("\r\n")) + text[end:]
        )
    try:
        remote = sdp.read(text, "offer")
    except Refused:
        return
    answer = sdp.completed(OURS.replace("\n", "\r\n"), remote)
    for written in (remote.minimal(), answer):
        assert all(re.fullmatch(r"[a-z]=[ -~]*", line) for line in written.split("\r\n")[:-1])
