"""Files of our own around the packets of others sound the same to the bit."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.ogg import read_pages
from bot.audio.opus import MAX_DURATION, OpusReader, duration, read_head
from bot.audio.opus_writer import OpusWriter, together
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
    return [packet for _, packets in OpusReader(io.BytesIO(data)) for packet in packets]


def rewritten(data: bytes) -> bytes:
    reader, out = OpusReader(io.BytesIO(data)), io.BytesIO()
    pages = list(reader)
    assert reader.head is not None
    writer = OpusWriter(out, reader.head, pre_skip=reader.head.pre_skip)
    for _, packets in pages:
        for packet in packets:
            writer.put(packet)
    writer.close()
    return out.getvalue()


def spoken(samples: int) -> Pcm:
    """Loud and soft, tone, noise and nothing at all: what makes an encoder change its ways."""
    sound = signal(samples)
    sound[samples // 4 : samples // 3] = 0
    sound[samples // 2 :: 2] *= -1
    sound[-samples // 5 :] *= np.float32(0.01)
    return sound


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_it_sounds_the_same(form: str, channels: int, studio: Studio) -> None:
    """Whatever encoder settings its packets are of; and there are fewer of them."""
    sound = spoken(100_001 * channels)[: 100_001 * channels // channels * channels]
    source = studio.record("a.opus", sound, ("-c:a", "libopus", *FORMS[form], "-f", "ogg"), channels=channels)
    data = source.read_bytes()
    rebuilt = studio.folder / "b.opus"
    rebuilt.write_bytes(rewritten(data))
    heard, wanted = studio.hear(rebuilt, channels), studio.hear(source, channels)
    assert np.array_equal(heard[: len(wanted)], wanted)  # its last packet is not trimmed
    there, here = packets_of(data), packets_of(rebuilt.read_bytes())
    assert sum(map(duration, here)) == sum(map(duration, there))
    if form not in ("SILK alone", "with error correction", "frames of 60 ms"):
        assert len(here) <= len(there) / (1 if form.endswith("40 ms") else 2) + 3


@pytest.mark.parametrize("chunk", captured("plain"), ids=lambda chunk: str(chunk.sequence))
def test_a_chunk_of_element_web(chunk: Captured, studio: Studio) -> None:
    """Its packets of 20 ms become a sixth, and sound the same."""
    data = chunk.path.read_bytes()
    if not packets_of(data):
        pytest.skip("an empty tail")
    rebuilt = studio.folder / "b.opus"
    rebuilt.write_bytes(rewritten(data))
    heard, wanted = studio.hear(rebuilt), studio.hear(chunk.path)
    assert len(wanted) <= len(heard)
    assert np.array_equal(heard[: len(wanted)], wanted)
    assert len(packets_of(rebuilt.read_bytes())) <= len(packets_of(data)) / 6 + 10


def frames_of(packet: bytes) -> list[bytes]:
    """Read as RFC 6716, section 3.2.5, says."""
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
    """All of them are in the one packet, in their order."""
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
    """Nothing is lost, doubled or moved, and no packet is longer than a decoder takes."""
    out = io.BytesIO()
    writer = OpusWriter(out, read_head(HEAD), pre_skip=0)
    for packet in packets:
        writer.put(packet)
    writer.close()
    written = packets_of(out.getvalue())
    assert all(duration(packet) <= MAX_DURATION for packet in written)
    assert sum(map(duration, written)) == sum(map(duration, packets))
    expected = [(packet[0] >> 2, packet[2:]) for packet in packets]
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
