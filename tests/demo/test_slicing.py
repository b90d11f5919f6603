"""Slices against those of a real Element Web."""

import io
from collections.abc import Iterable, Sequence
from itertools import chain

import pytest

from bot.audio.ogg import OggPage, PacketReader, read_pages
from bot.demo.slicing import HEAD, PACKET, PRE_SKIP, SPEECH_PARTS, Slicer, speech
from tests.lab import DATA, decode

CAPTURED_RUNS = [("chunk1", "chunk2", "chunk3"), ("chunk4", "chunk5")]


def pages(data: bytes) -> list[OggPage]:
    return list(read_pages(io.BytesIO(data)))


def captured(run: Iterable[str]) -> list[bytes]:
    return [(DATA / "element_web" / "plain" / f"{name}.ogg").read_bytes() for name in run]


@pytest.mark.parametrize("names", CAPTURED_RUNS)
def test_slices_are_those_of_the_real_client(names: tuple[str, ...]) -> None:
    """The packets of a captured run, sliced here, make the captured chunks again, byte for byte but for the rate
    that the browser's sound card had."""
    real = [pages(data) for data in captured(names)]
    reader = PacketReader()
    packets = [packet for page in chain(*(chunk[2:] for chunk in real)) for packet in reader.feed(page)]
    run = Slicer(real[0][0].serial, chunk_seconds=5)
    slices = [*run.feed(packets), run.end()]
    made = [pages(piece.data) for piece in slices]
    assert [chunk[1:] for chunk in made] == [chunk[1:] for chunk in real]
    assert [piece.last for piece in slices] == [False] * (len(slices) - 1) + [True]
    rate = slice(12, 16)
    for ours, theirs in zip((chunk[0] for chunk in made), (chunk[0] for chunk in real), strict=True):
        assert without(ours.body, rate) == without(theirs.body, rate)
        assert (ours.flags, ours.granule, ours.number) == (theirs.flags, theirs.granule, theirs.number)


def without(data: bytes, cut: slice) -> bytes:
    return data[: cut.start] + data[cut.stop :]


def joined(chunks: Sequence[bytes]) -> bytes:
    """The first chunk of a run whole, then the audio pages of the others."""
    headers = sum(27 + len(page.lacing) + len(page.body) for page in pages(chunks[0])[:2])
    return chunks[0] + b"".join(data[headers:] for data in chunks[1:])


@pytest.mark.parametrize("part", range(1, SPEECH_PARTS + 1))
def test_slices_join_to_the_whole_run(part: int) -> None:
    """The slices of the shipped speech join to the run's one Ogg file, whose decoded length is known exactly."""
    run = Slicer(7, chunk_seconds=5)
    slices = [*run.feed(speech(part)), run.end()]
    assert joined([piece.data for piece in slices]) == run.ogg()
    assert sum(piece.samples for piece in slices) == len(speech(part)) * PACKET == run.samples
    assert len(decode(run.ogg())) == run.audible == run.samples - PRE_SKIP


def test_a_slice_ends_with_the_page_that_makes_it_long_enough() -> None:
    """With pages of 0.8 s a chunk of 5 s is 5.6 s long, one of 4 s is 4 s long."""
    for seconds, samples in ((5, 268_800), (4, 192_000), (0.5, 38_400)):
        made = Slicer(1, chunk_seconds=seconds).feed(speech(1))
        assert {piece.samples for piece in made} == {samples}
    assert Slicer(1, chunk_seconds=5).feed(speech(1))[0].duration_ms == 5600


def test_a_stop_right_after_a_page_makes_a_page_without_packets() -> None:
    """A run that ends on a page's end has a last page without sound, alone in its chunk if the chunk ended too."""
    run = Slicer(1, chunk_seconds=0.8)
    assert len(run.feed(speech(1)[:40])) == 1
    tail = run.end()
    (last,) = pages(tail.data)[2:]
    assert (tail.samples, last.ends, last.granule, last.body) == (0, True, -1, b"")
    assert run.samples == 38_400


def test_a_run_without_sound_decodes_to_nothing() -> None:
    """Nobody spoke before stop: one page, no samples, and never a negative length."""
    run = Slicer(1, chunk_seconds=5)
    assert (run.end().samples, run.audible, pages(run.ogg())[0].body) == (0, 0, HEAD)
