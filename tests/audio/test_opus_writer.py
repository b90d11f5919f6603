"""Rewritten Opus files: the same sound as the packets, to the bit."""

import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.ogg import OggPage, lacing_of, read_pages, write_page
from bot.audio.opus_head import TAGS, Head, read_head, usual_head
from bot.audio.opus_packets import MAX_DURATION, duration, lost, together, well_formed
from bot.audio.opus_reader import OpusReader
from bot.audio.opus_writer import OpusWriter
from tests.audio.sounds import Captured, Pcm, Studio, captured, signal
from tests.audio.test_opus import HEAD

FORMS = {
    "as Element Web": ("-b:a", "24k", "-application", "voip"),
    "SILK alone": ("-b:a", "10k", "-application", "voip"),
    "hybrid": ("-b:a", "20k", "-application", "voip", "-cutoff", "20000"),
    "CELT alone": ("-b:a", "64k", "-application", "lowdelay"),
    "constant rate": ("-b:a", "32k", "-vbr", "off"),
    "large": ("-b:a", "250k"),
    "with error correction": ("-b:a", "24k", "-application", "voip", "-fec", "1", "-packet_loss", "20"),
    **{
        f"frames of {ms} ms": ("-b:a", "48k", "-application", "audio", "-frame_duration", ms)
        for ms in ("2.5", "5", "10", "40", "60")
    },
}


def packets_of(data: bytes) -> list[bytes]:
    return [packet for page in OpusReader(io.BytesIO(data)) for packet in page.packets]


def rewritten(data: bytes) -> bytes:
    reader, out = OpusReader(io.BytesIO(data)), io.BytesIO()
    pages = list(reader)
    assert reader.head is not None
    writer = OpusWriter(out, reader.head, pre_skip=reader.head.pre_skip)
    for page in pages:
        for packet in page.packets:
            writer.put(packet)
    writer.close()
    return out.getvalue()


def as_they_are(packets: Sequence[bytes], head: Head) -> bytes:
    """Write a plain file of these packets, ten to a page."""
    pages = [OggPage(2, 0, 1, 0, lacing_of(head.packet), head.packet), OggPage(0, 0, 1, 1, lacing_of(TAGS), TAGS)]
    granule = 0
    for at in range(0, len(packets), 10):
        some = packets[at : at + 10]
        granule += sum(map(duration, some))
        pages.append(OggPage(0, granule, 1, len(pages), b"".join(map(lacing_of, some)), b"".join(some)))
    return b"".join(map(write_page, pages))


def heard(studio: Studio, data: bytes, channels: int = 1) -> Pcm:
    path = studio.folder / "heard.opus"
    path.write_bytes(data)
    return studio.hear(path, channels)


def encoded(studio: Studio, sound: Pcm, *form: str, channels: int = 1) -> bytes:
    return studio.record("a.opus", sound, ("-c:a", "libopus", *form, "-f", "ogg"), channels=channels).read_bytes()


def spoken(samples: int) -> Pcm:
    """Return loud and soft sound, tone, noise and silence, on which encoders change their modes."""
    sound = signal(samples)
    sound[samples // 4 : samples // 3] = 0
    sound[samples // 2 :: 2] *= -1
    sound[-samples // 5 :] *= np.float32(0.01)
    return sound


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_it_sounds_the_same(form: str, channels: int, studio: Studio) -> None:
    """Packets of any encoder settings sound the same, and there are fewer of them."""
    sound = spoken(100_001 * channels)
    source = studio.record("a.opus", sound, ("-c:a", "libopus", *FORMS[form], "-f", "ogg"), channels=channels)
    data = source.read_bytes()
    rebuilt = studio.folder / "b.opus"
    rebuilt.write_bytes(rewritten(data))
    heard, wanted = studio.hear(rebuilt, channels), studio.hear(source, channels)
    assert np.array_equal(heard[: len(wanted)], wanted)  # its last packet is not trimmed
    there, here = packets_of(data), packets_of(rebuilt.read_bytes())
    assert sum(map(duration, here)) == sum(map(duration, there))
    if form not in ("SILK alone", "with error correction", "frames of 40 ms", "frames of 60 ms"):
        assert len(here) <= len(there) / 2 + 3


@pytest.mark.parametrize("chunk", captured("plain"), ids=lambda chunk: str(chunk.sequence))
def test_a_chunk_of_element_web(chunk: Captured, studio: Studio) -> None:
    """The packets of 20 ms of Element Web become a sixth as many, and sound the same."""
    data = chunk.path.read_bytes()
    if not packets_of(data):
        pytest.skip("an empty tail")
    rebuilt = studio.folder / "b.opus"
    rebuilt.write_bytes(rewritten(data))
    heard, wanted = studio.hear(rebuilt), studio.hear(chunk.path)
    assert len(wanted) <= len(heard)
    assert np.array_equal(heard[: len(wanted)], wanted)
    assert len(packets_of(rebuilt.read_bytes())) <= len(packets_of(data)) / 6 + 10


def test_pauses_that_were_not_sent(studio: Studio) -> None:
    """A hybrid frame without bytes is not merged before another, which would make it sound like that one, far too
    loud."""
    sound = spoken(3 * 48_000)
    sound[48_000:96_000] = 0
    data = encoded(studio, sound, *FORMS["hybrid"], "-dtx", "1")
    packets = packets_of(data)
    assert any(len(packet) == 1 and 12 <= packet[0] >> 3 < 16 for packet in packets)
    wanted = heard(studio, data)
    assert np.array_equal(heard(studio, rewritten(data))[: len(wanted)], wanted)


@pytest.mark.parametrize("family", ["1", "255"])
def test_several_streams_in_a_packet(family: str, studio: Studio) -> None:
    """Packets of other mapping families stay as they are, byte for byte."""
    data = encoded(studio, spoken(96_000), "-mapping_family", family, channels=2)
    assert packets_of(rewritten(data)) == packets_of(data)
    wanted = heard(studio, data, 2)
    assert wanted.any()
    assert np.array_equal(heard(studio, rewritten(data), 2)[: len(wanted)], wanted)


def test_another_configuration_in_each_packet(studio: Studio) -> None:
    """Packets of different channels and frame lengths are not merged with each other."""
    sound = spoken(48_000)
    forms = [("-b:a", "48k", "-frame_duration", ms, "-ac", channels) for ms in ("5", "10", "20") for channels in "12"]
    kinds = [packets_of(encoded(studio, sound, *form)) for form in forms]
    mixed = [packet for turn in zip(*kinds, strict=False) for packet in turn]
    alone, by_twos = mixed[::2], [packet for pair in pairwise(mixed) for packet in pair]
    head = usual_head(2)
    for packets in (mixed, alone, by_twos):
        data = as_they_are(packets, head)
        wanted = heard(studio, data, 2)
        assert np.array_equal(heard(studio, rewritten(data), 2)[: len(wanted)], wanted)


MALFORMED = {
    "a frame that is too long": b"\xf8" + bytes(1276),
    "two that are": b"\xf9" + bytes(2552),
    "two of no equal length": b"\xf9\1\2\3",
    "no size": b"\xfa",
    "half a size": b"\xfa\xfc",
    "a size that is too large": b"\xfa\xc8\1\2",
    "three of no equal length": b"\xfb\3\1\2\3\4",
    "sizes that are too large": b"\xfb\x83\xc8\xc8\1",
    "too few sizes": b"\xfb\x86\1",
    "padding that is too long": b"\xfb\x42\xc8\1",
    "padding without an end": b"\xfb\x42\xff\xff",
    "no padding": b"\xfb\x42",
}
WELL_FORMED = (
    b"\xf8",
    b"\xf8" + bytes(1275),
    b"\xf9",
    b"\xf9\1\2",
    b"\xfa\0",
    b"\xfa\1\2\3",
    b"\xfa\xff\xff" + bytes(1275 + 1275),
    b"\xfb\3",
    b"\xfb\3\1\2\3",
    b"\xfb\x83\0\0",
    b"\xfb\x83\1\1\1\2\3",
    b"\xfb\xc2\2\1\1\2\0\0",
    b"\xfb\x41\xff\1" + bytes(255 + 9),
)


@pytest.mark.parametrize("form", ["CELT alone", "hybrid", "SILK alone"])
@pytest.mark.parametrize("name", MALFORMED)
def test_packets_that_no_decoder_takes(name: str, form: str, studio: Studio) -> None:
    """Sound behind a packet that no decoder takes is in its place, and the same half a second later."""
    packets = packets_of(encoded(studio, signal(96_000), *FORMS[form]))
    bad = bytes([packets[50][0] & ~3 | MALFORMED[name][0] & 3]) + MALFORMED[name][1:]
    whole = as_they_are([*packets[:50], *[packets[50]] * (duration(bad) // 960), *packets[50:]], usual_head(1))
    sound = heard(studio, rewritten(as_they_are([*packets[:50], bad, *packets[50:]], usual_head(1))))
    wanted = heard(studio, whole)
    assert len(sound) == len(wanted)
    assert np.array_equal(sound[:44_000], wanted[:44_000])
    assert np.abs(sound[-24_000:] - wanted[-24_000:]).max() < 1e-3


def test_what_is_well_formed() -> None:
    """Packets are judged as in RFC 6716, section 3.4, and a replacement has as many frames and is well-formed."""
    assert [name for name, packet in MALFORMED.items() if well_formed(packet)] == []
    assert [packet for packet in WELL_FORMED if not well_formed(packet)] == []
    for packet in (*MALFORMED.values(), *WELL_FORMED):
        assert duration(lost(packet)) == duration(packet)
        assert well_formed(lost(packet))
        assert lost(packet)[0] >> 2 == packet[0] >> 2


def test_real_packets_are_well_formed() -> None:
    """All packets of a real Element Web are well-formed."""
    assert all(well_formed(packet) for chunk in captured("plain") for packet in packets_of(chunk.path.read_bytes()))


def frames_of(packet: bytes) -> list[bytes]:
    """Read the frames of a packet as in RFC 6716, section 3.2.5."""
    if packet[0] & 3 == 0:
        return [packet[1:]]
    assert packet[0] & 3 == 3
    assert packet[1] >> 6 == 2  # of variable size, without padding
    sizes, at = list[int](), 2
    for _ in range((packet[1] & 63) - 1):
        size, at = packet[at], at + 1
        if size >= 252:
            size, at = size + 4 * packet[at], at + 1
        sizes.append(size)
    frames = []
    for size in sizes:
        frames.append(packet[at : at + size])
        at += size
    return [*frames, packet[at:]]


@given(st.lists(st.integers(0, 1275), min_size=1, max_size=48))
def test_frames_of_any_size(sizes: list[int]) -> None:
    """All frames are in the merged packet, in their order."""
    frames = [bytes([number]) * size for number, size in enumerate(sizes)]
    packet = together([b"\x80" + frame for frame in frames])
    assert frames_of(packet) == frames
    assert packet[0] & 0xFC == 0x80


PACKETS = st.builds(
    lambda config, code, size: bytes([config << 2 | code, 1]) + bytes([config]) * size,
    st.integers(0, 63),
    st.sampled_from([0, 0, 0, 3]),
    st.integers(0, 1400),
)


@given(st.lists(PACKETS, max_size=120))
def test_any_packets(packets: list[bytes]) -> None:
    """Only frames that no decoder takes are lost, none are doubled or moved, and no packet is longer than allowed."""
    out = io.BytesIO()
    writer = OpusWriter(out, read_head(HEAD), pre_skip=0)
    for packet in packets:
        writer.put(packet)
    writer.close()
    written = packets_of(out.getvalue())
    assert all(duration(packet) <= MAX_DURATION for packet in written)
    assert sum(map(duration, written)) == sum(map(duration, packets))
    taken = [len(packet) - (2 if packet[0] & 3 else 1) <= 1275 for packet in packets]
    expected = [(packet[0] >> 2, packet[2:] if takes else b"") for packet, takes in zip(packets, taken, strict=True)]
    found = []
    for packet in written:
        if packet[0] & 3 == 0 or packet[1] >> 6 == 2:
            found += [(packet[0] >> 2, frame[1:]) for frame in frames_of(packet)]
        else:
            found.append((packet[0] >> 2, packet[2:]))
    assert found == expected
    out.seek(0)
    pages = list(read_pages(out))
    assert [page.number for page in pages] == list(range(len(pages)))
    assert [page.ends for page in pages] == [False] * (len(pages) - 1) + [True]
