"""Opus in Ogg (RFC 7845): the facts of a chunk by its pages, and its packets with the silence between them.

Where headers are missing, the pages alone must prove that they hold Opus: each packet has a valid length, and the
packets of a page last as long as its granule says. Such a chunk is decoded with the head that RFC 7845 (section 5.1)
recommends and Element Web writes: pre-skip 3840, no gain.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from operator import attrgetter
from typing import BinaryIO

from bot.audio.ogg import NO_GRANULE, STRETCH
from bot.audio.opus_clock import MOST_UNRECORDED, Fill, OpusClock
from bot.audio.opus_head import Head, usual_head
from bot.audio.opus_packets import length_of
from bot.audio.opus_reader import Heard, OpusReader, headers_missing
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Hole, OggFacts, Samples, Timing

MAX_FINE_PACKETS = 10_000  # in a chunk with more, packets must last 10 ms on average, as all recorders' packets do
_SHORTEST = 480  # samples
_MOST_TOLD = 86_400 * SAMPLE_RATE  # samples; longer claims are cut off


@dataclass(slots=True)
class Stream:
    """A stream of sound in a chunk."""

    serial: int
    head: Head | None
    known: bool  # whether the head belongs to this stream
    clock: OpusClock
    first_page: int
    last_page: int
    contiguous: bool = True

    @property
    def head_or_usual(self) -> Head:
        """The head that the stream is decoded with. Final once all pages were read."""
        return self.head or usual_head(2 if self.clock.stereo else 1)

    def add(self, heard: Heard) -> None:
        placed = heard.placed
        self.contiguous = self.contiguous and (placed.is_next or not self.clock.pages)
        self.last_page = placed.page.number
        self.clock.add(placed, heard.packets, heard.lost)


def opus_streams(file: BinaryIO, *, max_samples: int) -> tuple[Stream, ...]:
    """Walk all pages with their checksums, at once, without decoding. Raises the errors of `walk_opus`."""
    walk = walk_opus(file, max_samples=max_samples)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            streams: tuple[Stream, ...] = end.value
            return streams


def walk_opus(file: BinaryIO, *, max_samples: int) -> Generator[None, None, tuple[Stream, ...]]:
    """Return the streams of a chunk, one after the other. Yields after each stretch of pages.

    A chunk without packets has granules of -1. Raises GiveUp: `truncated`, `bad_checksum` (no whole page of sound),
    `not_audio`, `empty` (no page of sound), `headers_missing` (no head, and nothing proves that it is Opus),
    `undecodable`, `too_long`.
    """
    reader = OpusReader(file)
    streams: list[Stream] = []
    try:
        yield from _walked(reader, streams, max_samples)
    except GiveUp as damage:
        if reader.headless and damage.reason == "undecodable":
            raise headers_missing() from None
        raise
    if not streams:
        raise _no_sound(reader)
    if reader.headless and not streams[-1].clock.is_opus:
        raise headers_missing()
    if not any(stream.clock.packets or not stream.clock.pages or stream.clock.eos for stream in streams):
        raise GiveUp("the chunk holds no Opus packet", reason="undecodable")
    return tuple(streams)


def _walked(reader: OpusReader, streams: list[Stream], max_samples: int) -> Generator[None, None, None]:
    packets = samples = 0
    for number, heard in enumerate(reader):
        if heard.stream == len(streams):
            assert reader.serial is not None
            at = heard.placed.page.number
            clock = OpusClock(reader.begins)
            streams.append(Stream(reader.serial, reader.head, reader.head_is_its_own, clock, at, at))
        clock = streams[-1].clock
        before = clock.samples
        streams[-1].add(heard)
        packets, samples = packets + len(heard.packets), samples + clock.samples - before
        if packets > MAX_FINE_PACKETS and samples < packets * _SHORTEST:
            raise GiveUp("the chunk is made of too many tiny packets", reason="undecodable")
        if samples > max_samples:
            raise GiveUp("the chunk is longer than allowed", reason="too_long")
        if number % STRETCH == STRETCH - 1:
            yield


def _no_sound(reader: OpusReader) -> GiveUp:
    if reader.torn is not None and reader.torn.cut:
        return GiveUp("the first Ogg page of sound is cut off", reason="truncated")
    if reader.torn is not None and (reader.pages or reader.torn.page):
        return GiveUp("the checksums of the Ogg pages do not match", reason="bad_checksum")
    if reader.torn is not None:
        return GiveUp("the chunk is not made of Ogg pages", reason="not_audio")
    return GiveUp("the chunk holds no page of sound", reason="empty")


def facts_of(streams: Sequence[Stream]) -> ChunkFacts:
    """Return the facts of a chunk. A chunk of several streams is no slice of a run, since nothing shows how they belong
    together."""
    each = [_facts(stream) for stream in streams]
    if len(each) == 1:
        return each[0]
    begins = [0, *accumulate(facts.samples for facts in each)]
    placed = tuple(zip(begins, each, strict=False))
    holes, unrecorded = (
        tuple(chain.from_iterable(_heard(begin, facts, kind(facts)) for begin, facts in placed))
        for kind in (attrgetter("holes"), attrgetter("unrecorded"))
    )
    return replace(
        each[0],
        timing=Timing.ESTIMATED,
        samples=Samples(begins[-1]),
        ogg=None,
        holes=holes,
        told=None,
        unrecorded=unrecorded[:MOST_UNRECORDED],
    )


def _heard(begin: int, facts: ChunkFacts, holes: Iterable[Hole]) -> Iterator[Hole]:
    """Yield the parts of holes that are heard, from the beginning of a stream that stands at `begin`."""
    assert facts.ogg is not None
    for hole in holes:
        at, end = max(0, hole.at - facts.ogg.pre_skip), hole.at + hole.samples - facts.ogg.pre_skip
        if at < min(end, facts.samples):
            yield Hole(Samples(begin + at), Samples(min(end, facts.samples) - at))


def _facts(stream: Stream) -> ChunkFacts:
    clock, counted = stream.clock, stream.clock.finish()
    head = stream.head_or_usual
    start = NO_GRANULE if not counted.samples else counted.start
    ogg = OggFacts(
        serial=stream.serial,
        first_page=stream.first_page,
        last_page=stream.last_page,
        start_granule=start,
        end_granule=start + counted.samples - counted.trim,
        eos=clock.eos,
        pre_skip=head.pre_skip,
        packet_samples=counted.samples,
        contiguous=stream.contiguous,
        head_sha256=hashlib.sha256(head.packet).hexdigest() if stream.known else "",
        agrees=counted.agrees,
        begins=clock.begins or (counted.agrees and counted.start == 0),
        last_samples=counted.last_samples,
    )
    samples = Samples(max(0, counted.samples - head.pre_skip - ogg.end_trim()))
    told = None if counted.claimed is None else min(max(0, counted.claimed - head.claimed_pre_skip), _MOST_TOLD)
    return ChunkFacts(
        container=Container.OGG_OPUS,
        timing=Timing.EXACT if counted.exact and head.pre_skip == head.claimed_pre_skip else Timing.ESTIMATED,
        samples=samples,
        sample_rate=head.input_rate or SAMPLE_RATE,
        channels=head.channels,
        ogg=ogg,
        holes=counted.holes,
        told=None if told in (None, samples) else Samples(told),
        unrecorded=counted.unrecorded,
    )


def filled(file: BinaryIO, streams: Sequence[Stream]) -> Iterator[tuple[int, bytes, Fill | None]]:
    """Yield the packets of sound in order, each with the number of its stream; and the silence between them, each with
    a packet beside it. `streams`: the streams of the same file."""
    number, count, packet = -1, 0, b""
    fills: deque[Fill] = deque()
    for heard in OpusReader(file):
        if heard.stream != number:
            yield from ((number, packet, fill) for fill in fills)
            number, count = heard.stream, 0
            fills = deque(streams[number].clock.finish().fills)
        for packet in filter(length_of, heard.packets):
            while fills and fills[0].packets <= count:
                yield number, packet, fills.popleft()
            yield number, packet, None
            count += 1
    yield from ((number, packet, fill) for fill in fills)
