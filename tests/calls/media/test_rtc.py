"""Legs of WebRTC, with callers of aiortc on this machine."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aioice.ice
import pytest
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport

from bot.calls.media import inside, rtc
from bot.calls.media.door import IceServer, Leg, Refused, Unfit
from bot.calls.media.rtc import RtcMedia
from bot.calls.model import Candidate
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE, Samples
from tests.calls.peers import PACKET, Ear, Peer, places

SPEECH = speech(1)  # longer than any test listens, also on a busy machine
MS = SAMPLE_RATE // 1000


def clock() -> Callable[[], Samples]:
    """Return the clock of a call that begins now."""
    began = time.monotonic()
    return lambda: Samples(int((time.monotonic() - began) * SAMPLE_RATE))


class Room:
    """The bot's media, and callers that are taken down at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.media = self.other_media(private=True)
        self.clock = clock()

    def other_media(self, private: bool) -> RtcMedia:
        media = RtcMedia(private)
        self._stack.push_async_callback(media.close)
        return media

    def leg(self, media: RtcMedia | None = None) -> tuple[Leg, Ear]:
        ear = Ear()
        return (media or self.media).leg(ear, self.clock, ()), ear

    def peer(self, *, video: bool = False, data: bool = False) -> Peer:
        peer = Peer(SPEECH, video=video, data=data)
        self._stack.push_async_callback(peer.close)
        return peer

    async def call(self) -> tuple[Leg, Ear, Peer]:
        """Let a caller call, and be heard."""
        (leg, ear), peer = self.leg(), self.peer()
        await peer.call(leg)
        await ear.hears(5)
        return leg, ear, peer


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack:
        yield Room(stack)


def offsets(ear: Ear) -> list[int]:
    """Return the distances between the places in the source and on the clock, without repeats."""
    return list(dict.fromkeys(at - source for source, at in places(ear.sounds)))


@pytest.mark.parametrize("outgoing", [False, True])
async def test_both_sides_can_call(room: Room, outgoing: bool) -> None:
    """Whether the bot calls or is called, each packet arrives as it was sent, at its place."""
    (leg, ear), peer = room.leg(), room.peer()
    await (peer.is_called_by(leg) if outgoing else peer.call(leg))
    await asyncio.wait_for(ear.connects.wait(), 60)
    await ear.hears(25)
    await leg.close()
    assert [source for source, _ in places(ear.sounds)] == [number * PACKET for number in range(len(ear.sounds))]
    assert len(offsets(ear)) == 1
    assert sum(packet.lost_before for packet in ear.sounds) == 0
    assert not ear.ends.is_set()


async def test_lost_packets_cost_nothing_else(room: Room) -> None:
    """Over lines that lose one and five packets of a hundred, and on which packets overtake each other, exactly these
    are missing, as silence of their length."""
    lines = []
    for loss in (0.01, 0.05):
        (leg, ear), peer = room.leg(), room.peer()
        peer.line.loss, peer.line.overtaken = loss, 0.3
        await peer.call(leg)
        lines.append((leg, ear, peer))
    for leg, ear, peer in lines:
        await ear.hears(130)
        await leg.close()
        assert len(offsets(ear)) == 1
        numbers = [source // PACKET for source, _ in places(ear.sounds)]
        missing = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
        assert len(missing) <= peer.line.dropped
        assert sum(packet.lost_before for packet in ear.sounds) == len(missing) * PACKET


async def test_pauses_have_their_length(room: Room) -> None:
    """Sound that a caller doesn't send (DTX), and the time for which its clock stands still, are holes of the right
    length, and not lost."""
    leg, ear, peer = await room.call()
    peer.talker.hush(25)
    await ear.hears(30)
    assert len(found := offsets(ear)) == 2
    assert found[1] - found[0] == 25 * PACKET
    peer.talker.stall()
    stalled = time.monotonic()
    await asyncio.sleep(0.8)
    peer.talker.resume()
    took_s = time.monotonic() - stalled
    await ear.hears(len(ear.sounds) + 20)
    await leg.close()
    assert len(found := offsets(ear)) == 3
    assert abs(found[2] - found[1] - took_s * SAMPLE_RATE) < 200 * MS
    assert sum(packet.lost_before for packet in ear.sounds) == 0


async def test_a_replaced_track_goes_on(room: Room) -> None:
    """When a caller goes on with another SSRC and other timestamps, nothing is missing, and the sound goes on."""
    _, ear, peer = await room.call()
    peer.new_ssrc()
    peer.talker.jump = -(2**31) + 12345
    await ear.hears(25)
    numbers = [source // PACKET for source, _ in places(ear.sounds)]
    assert numbers == list(range(len(numbers)))
    first, *more = offsets(ear)
    assert all(abs(each - first) < 200 * MS for each in more)


async def test_the_end_of_a_caller_is_noticed(room: Room) -> None:
    """When a caller hangs up, its listener is told once."""
    leg, ear, peer = await room.call()
    await peer.close()
    await asyncio.wait_for(ear.ends.wait(), 60)
    await leg.close()
    assert ear.ended_times == 1
    with pytest.raises(Refused, match="closed"):
        await leg.offer()


async def test_a_caller_who_is_gone_is_noticed(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a caller dies without a good-bye, its leg ends when ICE gets no answers; others go on."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.01)
    monkeypatch.setattr(aioice.stun, "RETRY_RTO", 0.25)  # the others answer within it, also on a busy machine
    _, ear, peer = await room.call()
    _, other, _ = await room.call()
    peer.kill()
    await asyncio.wait_for(ear.ends.wait(), 60)
    await other.hears(len(other.sounds) + 5)
    assert not other.ends.is_set()


async def test_picture_and_data_are_declined(room: Room) -> None:
    """A caller with video and a data channel is heard, and gets neither; it may offer them later, too."""
    (leg, ear), peer = room.leg(), room.peer(video=True, data=True)
    await peer.call(leg)
    await ear.hears(5)
    directions = [each.currentDirection for each in peer.connection.getTransceivers()]
    assert directions == ["sendrecv", "inactive"]
    assert "m=application 0 " in peer.answered
    (leg, ear), peer = room.leg(), room.peer()
    await peer.is_called_by(leg)
    await ear.hears(5)
    peer.connection.addTransceiver("video")
    await peer.accept((await leg.renegotiate(await peer.offer())).sdp)
    await ear.hears(len(ear.sounds) + 5)
    assert peer.connection.getTransceivers()[1].currentDirection == "inactive"


async def test_hostile_packets_end_nothing(room: Room) -> None:
    """Garbage within the encrypted line changes nothing, too many packets are dropped, and the sound goes on
    afterwards."""
    _, ear, peer = await room.call()
    for size in (0, 1, 40, 1300):
        await peer.send(b"\x80\x60" + bytes(6) + b"evil" + os.urandom(size))
    await peer.send(b"\x80\xc8\0\1evil")  # a report without its fields
    await peer.send(b"\x8f\xce\0\5evil\0\0\0\0REMB\xff" + bytes(7))  # an estimate about 255 streams, without these
    await peer.dtls.transport._send(b"")
    await peer.dtls.transport._send(b"\x80")
    await ear.hears(len(ear.sounds) + 10)
    for number in range(2 * rtc.MOST_PACKETS * rtc.BURST_S):
        await peer.send(b"\x80\x60" + number.to_bytes(2) + bytes(4) + b"evil\x78")
    assert not ear.ends.is_set()
    await ear.hears(len(ear.sounds) + 10)


async def test_no_connection_into_private_networks(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the homeserver is in a private network, candidates there, those that come later and checks from there are
    not answered; the leg ends when its time is up."""
    monkeypatch.setattr(rtc, "CONNECT_S", 0.3)
    (leg, ear), peer = room.leg(room.other_media(private=False)), room.peer()
    await peer.call(leg)
    text = peer.connection.localDescription.sdp
    lines = [line[2:] for line in text.split("\r\n") if line.startswith("a=candidate")]
    await leg.add_candidates([Candidate(line, "0", 0) for line in lines])
    await asyncio.wait_for(ear.ends.wait(), 60)
    assert not ear.connects.is_set()


async def test_candidates_can_come_later(room: Room) -> None:
    """A leg connects to candidates that come after the description, and to those that come before it."""
    for outgoing in (False, True):
        (leg, ear), peer = room.leg(), room.peer()
        offer = await leg.offer() if outgoing else None
        text = await peer.answer(offer.sdp) if offer else await peer.offer()
        lines = [line[2:] for line in text.split("\r\n") if line.startswith("a=candidate")]
        bare = "".join(line + "\r\n" for line in text.split("\r\n")[:-1] if "candidate" not in line)
        trickled = [Candidate(line, "0", 0) for line in lines] + [Candidate("", None, None)]
        if offer:
            await leg.add_candidates(trickled)
            await leg.accept(bare)
        else:
            await peer.accept((await leg.answer(bare)).sdp)
            await leg.add_candidates(trickled)
        await ear.hears(5)


async def test_only_so_many_candidates_count(room: Room) -> None:
    """However many candidates come, a leg tries few."""
    leg, _ = room.leg()
    await leg.add_candidates(
        [Candidate(f"candidate:1 1 udp 1 192.0.2.7 {port} typ host", "0", 0) for port in range(1, 999)]
    )
    await leg.answer(await room.peer().offer())
    assert isinstance(leg, rtc.RtcLeg)
    assert leg._candidates == 64


async def test_what_comes_at_the_wrong_time_is_refused(room: Room) -> None:
    """An answer without an offer, an offer while ours stands, and a restart of ICE are refused by a code."""
    leg, _ = room.leg()
    peer = room.peer()
    offer = await peer.offer()
    with pytest.raises(Refused, match="wrong_state"):
        await leg.accept(offer)
    await leg.answer(offer)
    with pytest.raises(Refused, match="ice_restart"):
        await leg.renegotiate(await room.peer().offer())
    leg, _ = room.leg()
    await leg.offer()
    with pytest.raises(Refused, match="wrong_state"):
        await leg.answer(offer)


async def test_the_beep_is_heard(room: Room) -> None:
    """A caller hears nothing of the bot but the beep."""
    leg, _, peer = await room.call()
    assert peer.loudest == 0
    leg.beep()
    await asyncio.wait_for(peer.hears.wait(), 60)


async def test_closing_takes_no_time() -> None:
    """Legs in any state, and all at once, are closed within a second, and what waited is handed on before. The machine
    may be busy: the quickest of some rooms counts."""
    assert min([await closed_within_s() for _ in range(4)]) < 1.0


async def closed_within_s() -> float:
    """Close legs in any state; give the seconds that it took."""
    async with AsyncExitStack() as stack:
        return await _closed_within_s(Room(stack))


async def _closed_within_s(room: Room) -> float:
    leg, ear, peer = await room.call()
    peer.line.loss = 1.0
    waiting, _ = room.leg()
    gathering, _ = room.leg()
    unfinished = asyncio.ensure_future(gathering.offer())
    await waiting.answer(await room.peer().offer())
    began = time.monotonic()
    await leg.close()
    heard = len(ear.sounds)
    await room.media.close()
    took_s = time.monotonic() - began
    await asyncio.wait([unfinished])
    assert len(ear.sounds) == heard
    assert isinstance(unfinished.exception(), Refused | None)
    return took_s


async def test_a_leg_that_is_closed_while_it_is_made_ends_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leg that is closed while it takes a description is not waited for any longer: its end is told to nobody."""
    monkeypatch.setattr(rtc, "CONNECT_S", 0.0)
    leg, ear = room.leg()
    assert isinstance(leg, rtc.RtcLeg)
    take = leg._peer.setRemoteDescription

    async def taken(description: object) -> None:
        await take(description)
        leg.end()

    monkeypatch.setattr(leg._peer, "setRemoteDescription", taken)
    with pytest.raises(Refused, match="closed"):
        await leg.answer(await room.peer().offer())
    assert (leg._patience, ear.ended_times) == (None, 0)


async def test_servers_that_are_not_understood_are_passed_over(room: Room) -> None:
    """Only the homeserver's STUN and TURN servers are asked, those with an address that is understood."""
    servers = IceServer(("turn:turn.example.org?transport=udp", "turn:", "http://x", "stun:stun.example.org"), "u", "p")
    assert [server.urls for server in rtc._servers([servers])] == [servers.urls[0], servers.urls[3]]
    leg, _ = room.leg()
    assert isinstance(leg, rtc.RtcLeg)
    assert leg._hold._ice._connection.stun_server is None


def test_another_aiortc_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed aiortc has all that is taken hold of; one without says what is missing."""
    inside.check()
    with monkeypatch.context() as patch:
        patch.setattr(RTCIceTransport, "addRemoteCandidate", lambda self, candidate, mid: None)
        with pytest.raises(Unfit, match="addRemoteCandidate"):
            inside.check()
    monkeypatch.setattr(RTCDtlsTransport, "__init__", lambda self: None)
    with pytest.raises(Unfit, match="_rx_srtp"):
        inside.check()
