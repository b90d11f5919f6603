"""Descriptions that are exchanged with an SFU."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.calls.media.door import Refused
from bot.calls.media.livekit.description import Local, Source, offer, read

PRINT = ":".join(["AB"] * 32)
LOCAL = Local("abcd", "x" * 24, PRINT, ("1 1 udp 1 192.0.2.1 5 typ host",))
HEAD = f"v=0\na=fingerprint:sha-256 {PRINT}\na=group:BUNDLE 0 1 2 3\n"
TRANSPORT = f"a=ice-ufrag:lfhR\na=ice-pwd:{'p' * 24}\na=setup:actpass\n"
DATA = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:0\na=sctp-port:5000\n{TRANSPORT}"
SOUND = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\na=mid:1\na=rtpmap:111 opus/48000/2\na=rtpmap:63 red/48000/2\n"
    "a=rtcp-fb:111 nack\n"
    "a=sendonly\na=msid:PA_1 TR_1\na=ssrc:77 cname:x\na=ssrc:77 msid:PA_1 TR_1\n"
)
IDLE = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:2\na=rtpmap:111 opus/48000/2\na=inactive\na=ssrc:78 cname:x\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:3\na=rtpmap:96 VP8/90000\na=sendonly\na=ssrc:79 cname:x\n"
OFFER = HEAD + DATA + SOUND + IDLE + VIDEO


def test_streams_are_those_of_opus_that_are_sent() -> None:
    """A stream is known by its SSRC, with its track and its payload type; idle lines and video have none."""
    assert read(OFFER, "offer", {}).sources == {77: Source("TR_1", (111,))}
    assert read(OFFER, "offer", {"1": "TR_2"}).sources == {77: Source("TR_2", (111,))}


def test_a_line_is_one_stream() -> None:
    """The first of several SSRCs in a line counts, if it is one."""
    many = "a=ssrc:5 cname:x\na=ssrc:6 cname:x\n"
    assert list(read(OFFER.replace("a=ssrc:77 cname:x\n", many), "offer", {}).sources) == [5]
    assert not read(OFFER.replace("a=ssrc:77", "a=ssrc:9999999999"), "offer", {}).sources


def test_each_line_is_answered() -> None:
    """Sound is received as Opus, everything else is inactive, within one transport."""
    answer = read(OFFER, "offer", {}).answer(LOCAL)
    head, *lines = answer.split("m=")
    assert "a=group:BUNDLE 0 1 2 3" in head
    assert [line.split()[0] for line in lines] == ["application", "audio", "audio", "video"]
    assert "audio 9 UDP/TLS/RTP/SAVPF 111\r\n" in lines[1]
    assert "a=recvonly" in lines[1]
    assert "a=rtcp-fb:111 nack" in lines[1]
    assert all("a=inactive" in line for line in lines[2:])
    assert ["a=setup:active" in line and "a=ice-ufrag:abcd" in line for line in lines] == [
        True,
        *[False] * (len(lines) - 1),
    ]


def test_lines_that_are_declined_stay_so() -> None:
    """A line of port 0 is answered by port 0, and is not in the transport."""
    answer = read(OFFER.replace("m=video 9", "m=video 0"), "offer", {}).answer(LOCAL)
    assert "m=video 0 " in answer
    assert "a=group:BUNDLE 0 1 2\r\n" in answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad_sdp"),
        (HEAD, "bad_sdp"),
        (OFFER.replace("lfhR", "no\u00e4"), "bad_sdp"),
        (OFFER.replace("AB", "XY"), "bad_sdp"),
        (OFFER.replace("actpass", "active"), "bad_sdp"),
        (OFFER.replace("m=video 9", "m=video x"), "bad_sdp"),
        (OFFER + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n" * 700, "too_large"),
        (OFFER + "a=x\n" * 200_000, "too_large"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """A description that can't be read, or is too large, is refused."""
    with pytest.raises(Refused, match=reason):
        read(text, "offer", {})


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_offer_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever an SFU says, it is answered or refused."""
    lines = data.draw(st.permutations(OFFER.splitlines())) if data.draw(st.booleans()) else OFFER.splitlines()
    text = "\n".join(data.draw(st.lists(st.sampled_from([*lines, data.draw(st.text(max_size=40))]), max_size=60)))
    with contextlib.suppress(Refused):
        read(text, data.draw(st.sampled_from(["offer", "answer"])), {}).answer(LOCAL)


def test_our_offer_has_our_microphone_alone() -> None:
    """Our own offer is read as any other: one line that sends."""
    text = offer(LOCAL, "TR_own", 5, 2)
    assert read(text, "offer", {}).sources == {5: Source("TR_own", (111,))}
    assert text.count("m=") == 1
    assert "a=candidate:1 1 udp" in text
