"""The receiving end of a participant's microphone."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.media.door import OpusPacket
from bot.calls.media.livekit.frames import INJECTED, Sealer
from bot.calls.media.livekit.keyring import Keyring, cipher_of
from bot.calls.media.livekit.microphone import Microphone
from bot.calls.media.livekit.sealed import MOST_WAITING, NO_KEY, PATIENCE, UNENCRYPTED, Unreadable
from bot.calls.media.rtp import HEADER
from storage.records import SAMPLE_RATE, Samples

PACKET = 960
BEGIN = 100_000  # on the clock of the call
KEYS = [bytes([number]) * 16 for number in range(1, 5)]
OPUS = bytes([0x78]) + bytes(range(40))

Told = OpusPacket | Unreadable


def rtp(number: int, payload: bytes, ssrc: int = 7) -> bytes:
    return HEADER.pack(0x80, 111, number % 2**16, number * PACKET % 2**32, ssrc) + payload


@lru_cache(maxsize=5000)
def sealed(number: int, index: int, key: bytes) -> bytes:
    """Return a packet with an encrypted frame that tells its number."""
    return rtp(number, Sealer(index, cipher_of(key), number).seal(opus(number), 7, number * PACKET))


def opus(number: int) -> bytes:
    return OPUS + number.to_bytes(4)


def microphone(*, encrypted: bool = True) -> Microphone:
    made = Microphone(Keyring(), encrypted=encrypted)
    made.payload_types = {111}
    return made


def at(number: int) -> Samples:
    return Samples(BEGIN + number * PACKET)


def numbers(told: Sequence[Told]) -> list[int]:
    """Return the numbers of the packets that are heard."""
    return [int.from_bytes(each.payload[-4:]) for each in told if isinstance(each, OpusPacket)]


def reasons(told: Sequence[Told]) -> list[str]:
    return [each.reason for each in told if isinstance(each, Unreadable)]


def talk(one: Microphone, packets: Sequence[bytes], first: int = 0) -> list[Told]:
    """Have packets arrive, one each 20 ms, and what waits expire in its time."""
    told: list[Told] = []
    for number, packet in enumerate(packets, first):
        while one.due is not None and one.due <= at(number):
            told += one.expire(one.due)
        told += one.push(packet, at(number))
    return told


def test_sound_is_read_with_its_key() -> None:
    """Encrypted frames are heard as what they hold, in order and without a hole."""
    one = microphone()
    one.take_key(3, KEYS[0])
    told = talk(one, [sealed(number, 3, KEYS[0]) for number in range(50)]) + one.flush()
    assert numbers(told) == list(range(50))
    sounds = [each for each in told if isinstance(each, OpusPacket)]
    assert [sound.payload for sound in sounds] == [opus(number) for number in range(50)]
    assert {after.at - before.at for before, after in pairwise(sounds)} == {PACKET}


def test_sound_waits_for_its_key_and_stands_where_it_was_said() -> None:
    """Sound that came up to 10 s before its key is heard when the key comes, in its place."""
    packets = [sealed(number, 0, KEYS[0]) for number in range(490)]
    late, early = microphone(), microphone()
    early.take_key(0, KEYS[0])
    expected = talk(early, packets) + early.flush()
    assert talk(late, packets) == []
    assert late.take_key(0, KEYS[0]) + late.flush() == expected
    assert len(expected) == 490


def test_sound_without_a_key_is_lost_after_10_s() -> None:
    """Sound whose key does not come is silence after 10 s, and told once; the sound behind it is heard."""
    one = microphone()
    one.take_key(1, KEYS[1])
    told = talk(one, [sealed(number, 1, KEYS[1]) for number in range(50)])
    told += talk(one, [sealed(number, 2, KEYS[0]) for number in range(50, 100)], 50)
    told += talk(one, [sealed(number, 1, KEYS[1]) for number in range(100, 1000)], 100) + one.flush()
    assert numbers(told) == [*range(50), *range(100, 1000)]
    assert reasons(told) == [NO_KEY]
    assert sum(each.lost_before for each in told if isinstance(each, OpusPacket)) == 50 * PACKET


def test_sound_of_before_the_first_key_is_not_missed() -> None:
    """Sound with the key of before the bot came is neither heard nor lost, since it was not meant for the bot. Sound
    with the key that the bot was given is heard."""
    one = microphone()
    told = talk(one, [sealed(number, 7, KEYS[0]) for number in range(50)])
    told += one.take_key(8, KEYS[1])
    told += talk(one, [sealed(number, 7, KEYS[0]) for number in range(50, 100)], 50)
    told += talk(one, [sealed(number, 8, KEYS[1]) for number in range(100, 1000)], 100) + one.flush()
    assert numbers(told) == list(range(100, 1000))
    assert reasons(told) == []
    assert {each.lost_before for each in told if isinstance(each, OpusPacket)} == {0}


def test_sound_of_before_the_first_key_holds_up_nothing() -> None:
    """The first frame that is readable is heard at once, whatever waits before it for a key that is not given."""
    one = microphone()
    assert talk(one, [sealed(number, 7, KEYS[0]) for number in range(50)]) == []
    one.take_key(8, KEYS[1])
    heard = [told for number in range(50, 100) for told in one.push(sealed(number, 8, KEYS[1]), at(number))]
    assert numbers(heard + one.expire(at(150))) == list(range(50, 100))


@pytest.mark.parametrize("index", [None, 8])
def test_a_device_that_gives_no_key_is_told(index: int | None) -> None:
    """Sound of a device that gives no key, or another than it uses, is told after the time that a key may take."""
    one = microphone()
    if index is not None:
        one.take_key(index, KEYS[1])
    told = talk(one, [sealed(number, 7, KEYS[0]) for number in range(1200)]) + one.flush()
    assert (numbers(told), reasons(told)) == ([], [NO_KEY])


def test_a_broken_frame_is_lost_alone() -> None:
    """A few frames that can't be decrypted hold nothing up, count as lost, and are not told."""
    one = microphone()
    one.take_key(0, KEYS[0])
    packets = [sealed(number, 0, KEYS[0] if number % 20 else KEYS[2]) for number in range(1, 100)]
    told = talk(one, packets, 1)
    assert numbers(told) == [number for number in range(1, 100) if number % 20]
    assert reasons(told) == []
    assert sum(each.lost_before for each in told if isinstance(each, OpusPacket)) == 4 * PACKET


def test_lost_sound_is_told_in_the_packet_behind_it() -> None:
    """Sound that stays unreadable counts as lost, not as unsent."""
    one = microphone()
    one.take_key(0, KEYS[0])
    packets = [sealed(number, 0, KEYS[0] if not 20 <= number < 30 else KEYS[2]) for number in range(60)]
    told = talk(one, packets) + one.flush()
    sounds = [each for each in told if isinstance(each, OpusPacket)]
    assert numbers(told) == [*range(20), *range(30, 60)]
    assert {sound.lost_before for sound in sounds} == {0, 10 * PACKET}


def test_the_time_of_waiting_is_10_s() -> None:
    """The wait is asked for by `due`, counted from the arrival."""
    one = microphone()
    one.push(sealed(0, 0, KEYS[0]), at(0))
    assert one.due == at(0) + PATIENCE
    assert one.expire(Samples(at(0) + PATIENCE - 1)) == []
    one.expire(Samples(at(0) + PATIENCE))
    assert one.take_key(0, KEYS[0]) + one.flush() == []


def test_what_waits_is_bounded() -> None:
    """A flood of frames without a key takes constant memory."""
    one = microphone()
    told = [each for number in range(3 * MOST_WAITING) for each in one.push(sealed(number, 0, KEYS[0]), at(0))]
    assert told == [Unreadable(NO_KEY)]
    heard = one.take_key(0, KEYS[0]) + one.flush()
    assert numbers(heard) == list(range(2 * MOST_WAITING, 3 * MOST_WAITING))[: len(numbers(heard))]


@given(
    rotations=st.lists(st.integers(10, 140), max_size=3, unique=True),
    delays=st.lists(st.integers(-100, 490), min_size=4, max_size=4),
    order=st.randoms(use_true_random=False),
    jitter=st.sampled_from([0, 400, 3000]),
    lost=st.sets(st.integers(0, 149), max_size=20),
)
def test_the_time_when_keys_come_is_not_heard(
    rotations: list[int], delays: list[int], order: random.Random, jitter: int, lost: set[int]
) -> None:
    """Whatever rotates, is lost or trembles: with keys that come at any time within 10 s, the first before the others,
    the sound is the same as with keys that were there before; so a rotation in the middle costs no sample."""
    begins = [0, *sorted(rotations)]
    index = [max(i for i, begin in enumerate(begins) if begin <= number) for number in range(150)]
    packets = [
        (at(number) + order.randrange(jitter + 1), sealed(number, 252 + index[number], KEYS[index[number]]))
        for number in range(150)
        if number not in lost
    ]
    known, late = microphone(), microphone()
    events: list[tuple[int, Callable[[Microphone, Samples], list[Told]]]] = [
        (when, lambda one, now, packet=packet: one.push(packet, now))  # type: ignore[misc]
        for when, packet in packets
    ]
    for i in range(len(begins)):
        known.take_key(252 + i, KEYS[i])
    expected = happened(known, events)
    first = at(0) + delays[0] * PACKET
    for i, begin in enumerate(begins):
        came = max(first, at(begin) + delays[i] * PACKET)
        events.append((came, lambda one, now, i=i: one.take_key(252 + i, KEYS[i])))  # type: ignore[misc]
    assert happened(late, events) == expected


def happened(one: Microphone, events: Sequence[tuple[int, Callable[[Microphone, Samples], list[Told]]]]) -> list[Told]:
    """Have events happen in their order, and what waits expire in its time."""
    told: list[Told] = []
    for when, event in sorted(events, key=lambda event: event[0]):
        while one.due is not None and one.due <= when:
            told += one.expire(one.due)
        told += event(one, Samples(when))
    return told + one.flush()


def test_a_device_that_comes_back_begins_with_index_0_again() -> None:
    """A new key of a known index is taken, and an older one that comes late takes nothing away."""
    one = microphone()
    one.take_key(0, KEYS[0])
    told = talk(one, [sealed(number, 0, KEYS[0]) for number in range(50)])
    told += talk(one, [sealed(number, 0, KEYS[1]) for number in range(50, 60)], 50)
    told += one.take_key(0, KEYS[1])
    told += one.take_key(0, KEYS[3])  # sent before the other two
    told += talk(one, [sealed(number, 0, KEYS[1]) for number in range(60, 100)], 60) + one.flush()
    assert numbers(told) == list(range(100))


def test_an_older_key_reads_what_it_can() -> None:
    """Sound with two keys of one index is heard as far as the key that came fits it; the rest is told."""
    one = microphone()
    told = talk(one, [sealed(number, 0, KEYS[number // 20]) for number in range(40)])
    told += one.take_key(0, KEYS[0]) + one.expire(at(1000)) + one.flush()
    assert (numbers(told), reasons(told)) == (list(range(20)), [NO_KEY])


def test_clear_frames_are_refused_where_sound_is_encrypted() -> None:
    """Frames that are not encrypted are not heard in an encrypted call, told once, and count as lost."""
    one = microphone()
    one.take_key(0, KEYS[0])
    told = talk(one, [sealed(number, 0, KEYS[0]) for number in range(50)])
    told += talk(one, [rtp(number, opus(number)) for number in range(50, 80)], 50)
    told += talk(one, [sealed(number, 0, KEYS[0]) for number in range(80, 100)], 80) + one.flush()
    assert numbers(told) == [*range(50), *range(80, 100)]
    assert reasons(told) == [UNENCRYPTED]


def test_an_unencrypted_call_is_heard_as_it_is() -> None:
    """In an unencrypted call frames are taken in clear, and what is no Opus is dropped."""
    one = microphone(encrypted=False)
    told = talk(one, [rtp(number, opus(number)) for number in range(30)])
    told += talk(one, [rtp(30, b"\xff"), rtp(31, b""), rtp(32, opus(32))], 30) + one.flush()
    assert numbers(told) == [*range(30), 32]
    assert reasons(told) == []


def test_a_device_may_encrypt_in_an_unencrypted_call() -> None:
    """In an unencrypted call, sound of a device that says it encrypts is heard with its key, and is no noise before."""
    one = microphone(encrypted=False)
    one.encrypted = True
    packets = [sealed(number, 0, KEYS[0]) for number in range(50)]
    assert talk(one, packets) == []
    assert numbers(one.take_key(0, KEYS[0]) + one.flush()) == list(range(50))


@pytest.mark.parametrize("injected", [INJECTED, INJECTED + b"trailer", b"\xf8anything" + b"trailer"])
def test_silence_of_the_sfu_is_left_out(injected: bytes) -> None:
    """Silence that an SFU puts in while a microphone is muted is neither heard nor lost."""
    one = microphone()
    one.know_injected(b"trailer")
    one.take_key(0, KEYS[0])
    told = talk(one, [sealed(number, 0, KEYS[0]) for number in range(20)])
    told += talk(one, [rtp(number, injected) for number in range(20, 30)], 20)
    told += talk(one, [sealed(number, 0, KEYS[0]) for number in range(30, 40)], 30) + one.flush()
    assert numbers(told) == [*range(20), *range(30, 40)]
    assert reasons(told) == []
    assert {sound.lost_before for sound in told if isinstance(sound, OpusPacket)} == {0}


def test_a_stretch_is_told_once_each_time() -> None:
    """Unreadable sound is told again after 10 s without any."""
    one = microphone()
    one.take_key(0, KEYS[0])
    told: list[Told] = []
    unreadable = [*range(30), *range(200, 230), *range(800, 830)]
    for n in range(900):
        told += talk(one, [rtp(n, opus(n)) if n in unreadable else sealed(n, 0, KEYS[0])], n)
    assert reasons(told + one.flush()) == [UNENCRYPTED, UNENCRYPTED]


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.binary(max_size=60) | st.just(opus(1)), st.integers(0, SAMPLE_RATE)),
        max_size=60,
    ),
    st.booleans(),
)
def test_any_bytes_are_survived(packets: list[tuple[int, bytes, int]], encrypted: bool) -> None:
    """Hostile frames are dropped, or wait; they break nothing, and places only rise."""
    one = microphone(encrypted=encrypted)
    one.take_key(0, KEYS[0])
    now, end = BEGIN, 0
    for number, payload, pause in packets:
        now += pause
        for told in one.push(rtp(number, payload), Samples(now)) + one.expire(Samples(now)):
            if isinstance(told, OpusPacket):
                assert told.at >= end
                end = told.at + told.samples
    one.flush()
    assert one.due is None
