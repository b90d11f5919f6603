"""The places of packets on the clock of the call."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.media.door import OpusPacket
from bot.calls.media.reorder import Ordered
from bot.calls.media.rtp import RtpPacket
from bot.calls.media.rtpclock import AHEAD, TOLERANCE, RtpClock
from storage.records import SAMPLE_RATE, Samples

PACKET = 960
MS = SAMPLE_RATE // 1000
BEGIN = 10_000  # on the clock of the call


def ordered(timestamp: int, arrived: int, lost: int = 0, begins: bool = False) -> Ordered:
    packet = RtpPacket(111, 0, timestamp % 2**32, 1, b"", Samples(arrived))
    return Ordered(packet, lost, begins)


def placed(clock: RtpClock, packets: Iterable[Ordered]) -> list[OpusPacket]:
    """Place packets, and hold the rule: places rise, and packets don't overlap."""
    sounds = [sound for each in packets for sound in clock.push(each, Samples(PACKET))] + clock.flush()
    end = 0
    for sound in sounds:
        assert sound.at >= end
        assert 0 <= sound.lost_before <= sound.at - end
        end = sound.at + sound.samples
    return sounds


def talk(numbers: Iterable[int], jitter_ms: int = 0, origin: int = 0) -> list[Ordered]:
    """Return packets with these numbers, sent in time and up to `jitter_ms` late."""
    chance = random.Random(1)
    return [
        ordered(origin + number * PACKET, BEGIN + number * PACKET + chance.randrange(jitter_ms * MS + 1), 0, not number)
        for number in numbers
    ]


def later(packet: Ordered, by: int) -> Ordered:
    """Return the packet as if it had arrived later."""
    return packet._replace(packet=packet.packet._replace(arrived=Samples(packet.packet.arrived + by)))


@given(
    origin=st.sampled_from([0, 5, 2**31 - 3000, 2**32 - 5000]),
    jitter_ms=st.sampled_from([0, 5, 60, 200]),
    unsent=st.sets(st.integers(1, 400), max_size=200),
)
def test_places_keep_the_distances_of_the_source(origin: int, jitter_ms: int, unsent: set[int]) -> None:
    """Whatever the jitter, with pauses of DTX and where the timestamps wrap, each packet lies where the source had it,
    later by one same delay; unsent sound is not lost."""
    numbers = [number for number in range(400) if number not in unsent]
    sounds = placed(RtpClock(), talk(numbers, jitter_ms, origin))
    offsets = {sound.at - number * PACKET for sound, number in zip(sounds, numbers, strict=True)}
    assert len(offsets) == 1
    assert BEGIN <= offsets.pop() <= BEGIN + jitter_ms * MS
    assert all(sound.lost_before == 0 for sound in sounds)


def test_lost_sound_is_told_from_unsent() -> None:
    """A hole is lost as far as numbers are missing; the rest was not sent."""
    clock = RtpClock()
    packets = talk([0, 1, 2, 5, 10])
    packets[3] = packets[3]._replace(lost=2)
    packets[4] = packets[4]._replace(lost=1)
    assert [sound.lost_before for sound in placed(clock, packets)] == [0, 0, 0, 2 * PACKET, PACKET]


def test_the_first_packets_decide_together() -> None:
    """A first packet that was held up on the way doesn't shift all others."""
    packets = talk(range(10))
    sounds = placed(RtpClock(), [later(packets[0], 50 * MS), *packets[1:]])
    assert [sound.at for sound in sounds] == [BEGIN + number * PACKET for number in range(10)]


def test_what_settles_is_due_without_another_packet() -> None:
    """A stream of one packet is placed, too."""
    clock = RtpClock()
    assert clock.push(ordered(0, 5000, begins=True), Samples(PACKET)) == []
    due = clock.due
    assert due is not None
    assert [sound.at for sound in clock.expire(due)] == [5000]


def test_a_sender_that_stood_still_goes_on_in_its_place() -> None:
    """When a sender stops for three seconds with its clock, what follows lies three seconds later, from the first
    packet on."""
    stalled = [later(each, 3 * SAMPLE_RATE) for each in talk(range(300, 600))]
    sounds = placed(RtpClock(), [*talk(range(300)), *stalled])
    assert [sound.at - BEGIN for sound in sounds[:300]] == [number * PACKET for number in range(300)]
    assert [sound.at - BEGIN - 3 * SAMPLE_RATE for sound in sounds[300:]] == [n * PACKET for n in range(300, 600)]
    assert all(sound.lost_before == 0 for sound in sounds)


@pytest.mark.parametrize("spacing", [0.0, 0.05, 0.3])
def test_a_network_that_stood_still_moves_nothing(spacing: float) -> None:
    """Packets that come in a burst behind a pause keep their places, also if they take their time to catch up."""
    late = {number: int(PACKET * (150 + (number - 50) * spacing - number)) for number in range(50, 300)}
    held = [later(packet, max(0, late[number])) for number, packet in enumerate(talk(range(50, 300)), 50)]
    sounds = placed(RtpClock(), [*talk(range(50)), *held])
    assert [sound.at - BEGIN for sound in sounds] == [number * PACKET for number in range(300)]


def test_a_sender_that_catches_up_in_pieces_moves_nothing() -> None:
    """Packets that come in two bursts behind a pause, as from a machine with too much to do, keep their places."""
    bursts = [(packet, 150 if number < 60 else 170) for number, packet in enumerate(talk(range(50, 250)), 50)]
    held = [later(packet, max(0, BEGIN + at * PACKET - packet.packet.arrived)) for packet, at in bursts]
    sounds = placed(RtpClock(), [*talk(range(50)), *held])
    assert [sound.at - BEGIN for sound in sounds] == [number * PACKET for number in range(250)]


@pytest.mark.parametrize("late_ms", [200, 400])
def test_single_late_packets_move_nothing(late_ms: int) -> None:
    """While one packet in ten comes in time, the others may be late."""
    packets = [later(each, late_ms * MS if index % 10 else 0) for index, each in enumerate(talk(range(3000)))]
    sounds = placed(RtpClock(), packets)
    assert {sound.at - number * PACKET for number, sound in enumerate(sounds)} == {BEGIN}


def test_a_sender_that_loses_sound_is_set_right() -> None:
    """When capture loses a fifth of the sound for ten seconds while the timestamps go on evenly, no packet lies more
    than the losses of some four seconds and the tolerance too early, and in the end all lie right again."""
    packets, arrived = [], BEGIN
    for number in range(1500):
        packets.append(ordered(number * PACKET, arrived, begins=not number))
        arrived += PACKET + (PACKET // 4 if 200 <= number < 700 else 0)
    sounds = placed(RtpClock(), packets)
    errors = [each.packet.arrived - sound.at for each, sound in zip(packets, sounds, strict=True)]
    assert max(errors) <= 4.5 * SAMPLE_RATE / 5 + TOLERANCE
    assert min(errors) >= 0
    assert abs(errors[-1]) <= TOLERANCE


@pytest.mark.parametrize(
    "jump", [-(2**31) + 10, -3_600 * SAMPLE_RATE, 2 * SAMPLE_RATE, 3_600 * SAMPLE_RATE, 2**31 - 10]
)
def test_a_jump_of_the_timestamps_begins_anew(jump: int) -> None:
    """When timestamps jump within a stream, as behind a replaced track, the sound goes on without a hole."""
    jumped = [ordered(each.packet.timestamp + jump, each.packet.arrived) for each in talk(range(50, 100))]
    sounds = placed(RtpClock(), [*talk(range(50)), *jumped])
    assert [sound.at - BEGIN for sound in sounds] == [number * PACKET for number in range(100)]


def test_a_fast_clock_is_held_back_in_pauses() -> None:
    """A sender whose clock is too fast by a thousandth, and who pauses now and then, doesn't get away from ours."""
    packets: list[Ordered] = []
    for number in range(20_000):
        if number % 500 > 20:
            packets.append(ordered(number * PACKET * 1001 // 1000, BEGIN + number * PACKET, begins=not packets))
    sounds = placed(RtpClock(), packets)
    ahead = [sound.at - each.packet.arrived for each, sound in zip(packets, sounds, strict=True)]
    assert max(ahead) <= TOLERANCE + 15 * SAMPLE_RATE // 1000


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1) | st.integers(-5000, 100_000),
            st.integers(0, 3000) | st.integers(0, 500_000),
            st.integers(0, 3),
            st.booleans(),
            st.sampled_from([120, 960, 5760]),
        ),
        max_size=200,
    )
)
def test_no_sender_gets_ahead_of_time(packets: list[tuple[int, int, int, bool, int]]) -> None:
    """Whatever the timestamps say, places rise, nothing overlaps, and no sound lies more than a second before its
    time."""
    clock, now, end = RtpClock(), 0, 0
    for timestamp, step, lost, begins, samples in packets:
        now += step
        for sound in clock.push(ordered(timestamp, now, lost, begins), Samples(samples)):
            assert end <= sound.at <= now + AHEAD
            assert 0 <= sound.lost_before <= sound.at - end
            end = sound.at + sound.samples
