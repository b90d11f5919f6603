"""The reception of a stream: what is asked for again, and what is reported."""

import struct

from aiortc.rtp import RtcpPacket, RtcpRrPacket, RtcpRtpfbPacket

from bot.calls.media.livekit.reception import ASKED, Reception, report

OURS, THEIRS = 7, 9


def received(*sequences: int) -> Reception:
    reception = Reception(THEIRS)
    for sequence in sequences:
        reception.note(struct.pack("!BBHII", 0x80, 111, sequence % (1 << 16), 0, THEIRS))
    return reception


def requested(reception: Reception) -> list[int]:
    """Return the numbers that a request names, as aiortc reads it."""
    if not reception.misses:
        return []
    empty, request = RtcpPacket.parse(report(OURS, []) + reception.request(OURS))
    assert isinstance(empty, RtcpRrPacket)
    assert isinstance(request, RtcpRtpfbPacket)
    assert (request.ssrc, request.media_ssrc) == (OURS, THEIRS)
    return list(request.lost)


def reported(reception: Reception) -> tuple[int, int, int]:
    """Return the loss of late (of 256), all loss, and the highest number."""
    (packet,) = RtcpPacket.parse(report(OURS, [reception.block()]))
    assert isinstance(packet, RtcpRrPacket)
    (block,) = packet.reports
    assert block.ssrc == THEIRS
    return block.fraction_lost, block.packets_lost, block.highest_sequence


def test_what_is_missing_is_asked_for_a_few_times() -> None:
    """Numbers in a hole are requested, across the end of the numbers too, until they come or were asked for enough."""
    reception = received(65533, 65534, 2)
    assert requested(reception) == [65535, 0, 1]
    reception.note(struct.pack("!BBHII", 0x80, 111, 0, 0, THEIRS))
    assert [requested(reception) for _ in range(ASKED)] == [[65535, 1]] * (ASKED - 1) + [[]]


def test_a_jump_is_no_loss() -> None:
    """A stream that goes on elsewhere begins anew."""
    assert not received(1, 2, 5000).misses
    assert not received(5000, 1, 2).misses
    assert reported(received(1, 2, 5000))[1] == 0


def test_packets_out_of_order_are_not_missed() -> None:
    """A packet that was overtaken fills its hole, and one that comes twice changes nothing."""
    reception = received(1, 3, 2, 3, 4)
    assert not reception.misses
    assert reported(reception) == (0, 0, 4)


def test_loss_is_reported() -> None:
    """Reports tell the loss since the last, and all of it."""
    reception = received(1, 2, 4)
    assert reported(reception) == (64, 1, 4)
    for sequence in (5, 6, 7):
        reception.note(struct.pack("!BBHII", 0x80, 111, sequence, 0, THEIRS))
    assert reported(reception) == (0, 1, 7)
