"""The length of an Opus stream, by its packets and by its granules (RFC 7845, section 4).

Packets state their own lengths, so these are counted. Granules are a stranger's numbers: some writers count them at
another rate, leave them at 0, or get the last one wrong. They are compared with the packets page by page, and where
most pages agree they show more than packets can:

- The length of lost sound: of missing pages, and of packets without bytes.
- Time without packets, which is silence if the next page continues from there.
- The end trim of the last page: no more than that page holds, and where no page before it agrees, no more than the
  longest packet.

Silence that stands for what a microphone did not give is in the packets, which are marked, and is counted like sound.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from bot.audio.ogg_search import PlacedPage
from bot.audio.opus_packets import MAX_DURATION, NOT_RECORDED, is_stereo, length_of, mark_of
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Hole, Samples

UNIT = 120  # samples; every packet's length is a multiple
FRAME = 960  # greatest length, in samples, that is assumed for a packet without a stated length
LONGEST_REST = 60 * SAMPLE_RATE  # samples of silence in one place
MOST_SILENCE = 300 * SAMPLE_RATE  # samples of silence in one chunk
MOST_FILLS = 10_000
MOST_UNRECORDED = 1_000  # stretches that a chunk lists; those after them are silence like any other


class Why(Enum):
    """The cause of silence inside a chunk."""

    LOST = "lost"  # a page is missing or damaged: a hole of the chunk
    BAD = "bad"  # a packet is empty or invalid
    REST = "rest"  # the clock advanced without packets


@dataclass(frozen=True, slots=True)
class Fill:
    """Silence inside a chunk."""

    packets: int  # before it
    samples: int
    why: Why


@dataclass(slots=True)
class _OpenFill:
    """A fill whose length is not final yet."""

    packets: int
    at: int  # samples of the packets before it
    why: Why
    samples: int | None = None  # None: unknown
    count: int = 1  # lost packets that it stands for
    pages: int = 0  # missing pages that it stands for


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of a whole stream."""

    start: int  # granule at the beginning
    samples: Samples  # of packets and the silence between them
    trim: Samples  # samples of these that the last page cuts off
    last_samples: Samples  # of the last page with packets
    agrees: bool  # whether granules exist and agree with the packets
    exact: bool  # whether nothing had to be guessed
    claimed: int | None  # samples, by the granules
    fills: tuple[Fill, ...]
    holes: tuple[Hole, ...]
    unrecorded: tuple[Hole, ...]  # silence for what was not recorded, of which none is missing


@dataclass(slots=True)
class OpusClock:
    """The clock of one stream, fed with its pages in their order. `begins`: they directly follow the headers."""

    begins: bool
    packets: int = 0  # with sound
    samples: int = 0  # in the packets with sound
    eos: bool = False
    stereo: bool = False
    bad: int = 0
    _lengths: set[int] = field(default_factory=set)  # of packets; RFC 6716 allows only a few
    _typical: int = FRAME  # length of the packet before
    pages: int = 0  # with packets
    _longest: int = 0  # longest page, in samples
    _last: int = 0
    _span: int | None = None  # length of the last page by its granule
    _start: int = 0
    _claimed_start: int = 0
    _granule: int | None = None  # at the end of the last page
    _end: int | None = None  # the last granule that a page stated
    _agreed: int = 0  # pages whose packets last as long as their granules say
    _disagreed: int = 0
    _open: list[_OpenFill] = field(default_factory=list)
    _jump: _OpenFill | None = None  # a step of the clock that the next page may confirm
    _steady: bool = True  # whether the page before agreed
    _unrecorded: list[tuple[int, int, int]] = field(default_factory=list)  # packets and samples before, and its own

    def add(self, placed: PlacedPage, packets: Sequence[bytes], lost: Sequence[Samples | None] = ()) -> None:
        """Add a page with the packets that end on it. `lost`: damaged packets after these, with the samples that they
        seem to hold. Raises GiveUp (`undecodable`) for a stream with more holes than sound."""
        page = placed.page
        self.eos = page.ends
        if not packets and not lost:
            return
        begin, first = self.samples, self.packets
        if placed.missing:
            self._open.append(_OpenFill(first, begin, Why.LOST, pages=placed.missing))
        fills = self._counted(packets)
        if lost:
            fills.append(_OpenFill(self.packets, self.samples, Why.LOST, _seem_to_hold(lost), len(lost)))
        valid = self.samples - begin
        granule = page.granule if page.granule >= 0 else None
        span = self._span_to(granule, valid + MAX_DURATION * sum(fill.count for fill in fills))
        length = valid + self._shared(fills, None if placed.missing or span is None else span - valid, ends=page.ends)
        self._open += fills
        if len(self._open) > MOST_FILLS or self.bad > max(MOST_FILLS, self.packets):
            raise GiveUp("the chunk has more holes than sound", reason="undecodable")
        if placed.missing and span is not None:
            self._open[-1 - len(fills)].samples = span - length
            self._disagreed += span < length
        elif span is not None:
            self._compare(span, length, _OpenFill(first, begin, Why.REST), ends=page.ends)
        elif granule is not None and self._granule is None:
            self._begin(granule - length - begin)
        self._go_on(granule, span, length)

    def finish(self) -> Counted:
        """Return the counts, once all pages were added."""
        trusted = not self._disagreed or self._agreed > self._disagreed
        fills, holes, exact = self._fills(trusted=trusted) if self.packets else ((), (), True)
        samples = self.samples + sum(fill.samples for fill in fills)
        agrees = trusted and self._end is not None
        return Counted(
            start=self._start,
            samples=Samples(samples),
            trim=Samples(self._trim() if agrees else 0),
            last_samples=Samples(self._last),
            agrees=agrees,
            exact=exact and trusted,
            claimed=None if self._end is None else self._end - self._claimed_start,
            fills=fills,
            holes=holes,
            unrecorded=tuple(islice(self._silent(fills), MOST_UNRECORDED)),
        )

    @property
    def is_opus(self) -> bool:
        """Whether the pages alone prove that they hold Opus. On a single page all packets must have one length, and the
        granule must be a multiple of it; a page without packets must end the stream."""
        if not self.packets:
            return self.eos and not self.bad
        if self._agreed or self._disagreed:
            return not self._disagreed
        if self.bad or len(self._lengths) != 1 or self._end is None:
            return False
        return self._end % next(iter(self._lengths)) == 0

    # ---- one page

    def _counted(self, packets: Sequence[bytes]) -> list[_OpenFill]:
        """Count packets with sound; return fills for the others."""
        fills: list[_OpenFill] = []
        first = self.packets
        for packet in packets:
            samples = length_of(packet)
            if samples is None:
                self.bad += 1
                if fills and fills[-1].packets == self.packets:
                    fills[-1].count += 1
                else:
                    fills.append(_OpenFill(self.packets, self.samples, Why.BAD))
                continue
            if mark_of(packet) == NOT_RECORDED:
                self._note_silence(samples, first, fills)
            self.packets += 1
            self.samples += samples
            self.stereo = self.stereo or is_stereo(packet)
            self._lengths.add(samples)
            self._typical = samples
        return fills

    def _note_silence(self, samples: int, first: int, fills: Sequence[_OpenFill]) -> None:
        """Take note of a packet that was not recorded. `first`: packets before its page, since silence may still be put
        in between two pages; `fills`: on its page."""
        if self._unrecorded:
            packets, at, before = self._unrecorded[-1]
            split = bool(fills) and fills[-1].packets == self.packets
            if packets >= first and at + before == self.samples and not split:
                self._unrecorded[-1] = (packets, at, before + samples)
                return
        if len(self._unrecorded) < MOST_FILLS:
            self._unrecorded.append((self.packets, self.samples, samples))

    def _span_to(self, granule: int | None, most: int) -> int | None:
        """Return the length of a page by its granule; None where the granule at its beginning is not known."""
        if granule is None:
            return None
        if self._granule is not None:
            return granule - self._granule
        return granule if self.begins and not self.pages and granule <= most else None

    def _shared(self, fills: Sequence[_OpenFill], rest: int | None, *, ends: bool) -> int:
        """Set the lengths of fills and return their sum: the page's length less its packets, if that is possible."""
        untold = [fill for fill in fills if fill.samples is None]
        count = sum(fill.count for fill in untold)
        rest = None if rest is None else rest - sum(fill.samples or 0 for fill in fills)
        if count and rest is not None and (0 <= rest <= count * MAX_DURATION or (ends and rest < 0)):
            each = max(0, rest) // count // UNIT * UNIT
        else:
            each = min(self._typical, FRAME)
        for fill in untold:
            fill.samples = each * fill.count
        return sum(fill.samples or 0 for fill in fills)

    def _compare(self, span: int, length: int, jump: _OpenFill, *, ends: bool) -> None:
        """Compare the packets of a page with its granule. The last page may cut off its end (RFC 7845, section 4.4)."""
        if span == length or (ends and 0 <= length - span <= MAX_DURATION):
            self._agreed += 1
            if self._jump is not None:
                self._open.append(self._jump)
                self._disagreed -= 1
            self._jump, self._steady = None, True
            return
        jump.samples = span - length
        self._jump = jump if span > length and self._steady else None
        self._steady = False
        self._disagreed += not (ends and 0 <= span < length and self._agreed)

    def _begin(self, start: int) -> None:
        """Determine the beginning of a stream that was cut, or joined late, from its first page."""
        self._claimed_start = start
        self._start = max(0, start)
        self._steady = start >= 0
        self._disagreed += not self._steady

    def _go_on(self, granule: int | None, span: int | None, length: int) -> None:
        if granule is not None:
            self._granule = self._end = granule
        elif self._granule is not None:
            self._granule += length
        self._span, self._last = span, length
        self.pages += 1
        self._longest = max(self._longest, length)

    # ---- the whole

    def _trim(self) -> int:
        """Return the end trim: how many samples the last page cuts off."""
        if not self.eos or self._span is None:
            return 0
        surplus = self._last - self._span
        return surplus if 0 <= surplus <= (self._last if self._agreed else min(self._last, MAX_DURATION)) else 0

    def _fills(self, *, trusted: bool) -> tuple[tuple[Fill, ...], tuple[Hole, ...], bool]:
        """Return all silence, the holes among it, and whether the granules stated all of its lengths."""
        fills: list[Fill] = []
        holes: list[Hole] = []
        filled, exact = 0, True
        for fill in sorted(self._open, key=lambda fill: fill.packets):
            told = fill.samples if self._believed(fill, trusted=trusted) else None
            exact = exact and told is not None
            samples = min(self._guess(fill) if told is None else told, MOST_SILENCE - filled) // UNIT * UNIT
            if not samples:
                continue
            fills.append(Fill(fill.packets, samples, fill.why))
            if fill.why is Why.LOST:
                holes.append(Hole(Samples(fill.at + filled), Samples(samples)))
            filled += samples
        return tuple(fills), tuple(holes), exact

    def _silent(self, fills: Sequence[Fill]) -> Iterator[Hole]:
        """Yield the stretches that were not recorded. `fills`: all silence between packets."""
        rest, filled, begin, end = deque(fills), 0, 0, 0
        for packets, at, samples in self._unrecorded:
            while rest and rest[0].packets <= packets:
                filled += rest.popleft().samples
            if at + filled != end:
                if begin < end:
                    yield Hole(Samples(begin), Samples(end - begin))
                begin = at + filled
            end = at + filled + samples
        if begin < end:
            yield Hole(Samples(begin), Samples(end - begin))

    def _believed(self, fill: _OpenFill, *, trusted: bool) -> bool:
        """Return whether the length of a fill may be used. A length by the clock must be possible, and the clock
        trusted."""
        if fill.why is not Why.REST and not fill.pages:
            return True
        most = 2 * fill.pages * max(self._longest, MAX_DURATION) if fill.pages else LONGEST_REST
        return trusted and fill.samples is not None and 0 <= fill.samples <= most

    def _guess(self, fill: _OpenFill) -> int:
        """Guess the length of a fill: missing pages are as long as the others, a step of the clock has no length."""
        if fill.why is Why.REST or not self.pages:
            return 0
        return fill.pages * self.samples // self.pages


def _seem_to_hold(lost: Sequence[Samples | None]) -> int | None:
    """Return the samples of all these packets together; None if any is unknown."""
    known = [samples for samples in lost if samples is not None]
    return sum(known) if len(known) == len(lost) else None
