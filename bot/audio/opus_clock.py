"""The time that the packets of an Opus stream take, and what its granules say of that (RFC 7845, section 4).

Packets tell their own lengths, so these are counted. Granules are a stranger's numbers: there are writers that count
them at another rate, leave them at 0, or get the last one wrong. They are compared, page by page, and where most agree
they tell what packets can't:

- How long it was that is lost: pages that are missing, packets without bytes.
- That the clock went on without packets. It is silence, if the page behind it goes on from there.
- What the last page cuts off: no more than that page holds, and where no page before it agrees, no more than the
  longest packet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from bot.audio.ogg_search import PlacedPage
from bot.audio.opus_packets import MAX_DURATION, is_stereo, length_of
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Hole, Samples

UNIT = 120  # samples: every packet is so many times that long
FRAME = 960  # samples: what a packet counts that nothing tells the length of, at most
LONGEST_REST = 60 * SAMPLE_RATE  # samples of silence that the clock may go on for in one place
MOST_SILENCE = 300 * SAMPLE_RATE  # samples that are put into one chunk
MOST_FILLS = 10_000


class Why(Enum):
    """Causes of silence inside a chunk."""

    LOST = "lost"  # a page is missing or damaged: a hole of the chunk
    BAD = "bad"  # a packet without bytes, or that is none
    REST = "rest"  # the clock went on, and nothing was sent


@dataclass(frozen=True, slots=True)
class Fill:
    """Silence inside a chunk."""

    packets: int  # how many come before it
    samples: int
    why: Why


@dataclass(slots=True)
class _OpenFill:
    """A fill whose length is known at the end."""

    packets: int
    at: int  # samples of the packets before it
    why: Why
    samples: int | None = None  # None: not told
    count: int = 1  # packets
    pages: int = 0  # that are missing


@dataclass(frozen=True, slots=True)
class Counted:
    """A stream as it was counted."""

    start: int  # the granule that it begins with
    samples: Samples  # of its packets, with the silence between them
    trim: Samples  # of these are cut off at the end
    last_samples: Samples  # of the last page with packets
    agrees: bool  # there are granules, and they count what the packets do
    exact: bool  # nothing had to be guessed
    claimed: int | None  # samples, by the granules
    fills: tuple[Fill, ...]
    holes: tuple[Hole, ...]


@dataclass(slots=True)
class OpusClock:
    """Counts the pages of one stream, in their order. `begins`: they follow right behind the headers."""

    begins: bool
    packets: int = 0  # with sound
    samples: int = 0  # of these
    eos: bool = False
    stereo: bool = False
    bad: int = 0
    _lengths: set[int] = field(default_factory=set)  # of packets: RFC 6716 allows no more than a few
    _typical: int = FRAME  # of the packet before
    pages: int = 0  # with packets
    _longest: int = 0  # of these, in samples
    _last: int = 0
    _span: int | None = None  # what the granules say of the last page
    _start: int = 0
    _claimed_start: int = 0
    _granule: int | None = None  # that the last page ends with
    _end: int | None = None  # the same as it was claimed
    _agreed: int = 0  # pages whose packets pass as much time as their granules do
    _disagreed: int = 0
    _open: list[_OpenFill] = field(default_factory=list)
    _jump: _OpenFill | None = None  # that the next page may confirm
    _steady: bool = True  # the page before agreed

    def add(self, placed: PlacedPage, packets: Sequence[bytes], lost: Sequence[Samples | None] = ()) -> None:
        """A page with the packets that end on it. `lost`: those behind them that can't be trusted, with what they seem
        to hold. Raises GiveUp (`undecodable`) for sound that is more holes than anything else."""
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
            raise GiveUp("the chunk is made of holes", reason="undecodable")
        if placed.missing and span is not None:
            self._open[-1 - len(fills)].samples = span - length
            self._disagreed += span < length
        elif span is not None:
            self._compare(span, length, _OpenFill(first, begin, Why.REST), ends=page.ends)
        elif granule is not None and self._granule is None:
            self._begin(granule - length - begin)
        self._go_on(granule, span, length)

    def finish(self) -> Counted:
        """Everything that is known once all pages were there."""
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
        )

    @property
    def is_opus(self) -> bool:
        """Proved by the pages alone. Of a single page all packets must be of one length, and its granule a multiple of
        that; one without packets only ends a stream."""
        if not self.packets:
            return self.eos and not self.bad
        if self._agreed or self._disagreed:
            return not self._disagreed
        if self.bad or len(self._lengths) != 1 or self._end is None:
            return False
        return self._end % next(iter(self._lengths)) == 0

    # ---- one page

    def _counted(self, packets: Sequence[bytes]) -> list[_OpenFill]:
        """Adds those with sound; gives the places of the others."""
        fills: list[_OpenFill] = []
        for packet in packets:
            samples = length_of(packet)
            if samples is None:
                self.bad += 1
                if fills and fills[-1].packets == self.packets:
                    fills[-1].count += 1
                else:
                    fills.append(_OpenFill(self.packets, self.samples, Why.BAD))
                continue
            self.packets += 1
            self.samples += samples
            self.stereo = self.stereo or is_stereo(packet)
            self._lengths.add(samples)
            self._typical = samples
        return fills

    def _span_to(self, granule: int | None, most: int) -> int | None:
        """What a page lasts by its granule; None where it is not known where the page begins."""
        if granule is None:
            return None
        if self._granule is not None:
            return granule - self._granule
        return granule if self.begins and not self.pages and granule <= most else None

    def _shared(self, fills: Sequence[_OpenFill], rest: int | None, *, ends: bool) -> int:
        """Gives fills their lengths, and the sum of these: what the page lasts longer than its packets, if that can
        be."""
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
        """The packets of a page with its granule; a last page may cut its end off (RFC 7845, section 4.4)."""
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
        """The first page of a stream that is cut, or was joined late, tells where it begins."""
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
        """What the last page cuts off."""
        if not self.eos or self._span is None:
            return 0
        surplus = self._last - self._span
        return surplus if 0 <= surplus <= (self._last if self._agreed else min(self._last, MAX_DURATION)) else 0

    def _fills(self, *, trusted: bool) -> tuple[tuple[Fill, ...], tuple[Hole, ...], bool]:
        """All silence, what of it is lost, and whether the granules told all of its lengths."""
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

    def _believed(self, fill: _OpenFill, *, trusted: bool) -> bool:
        """Packets are counted; a clock must be right elsewhere, and say what can be."""
        if fill.why is not Why.REST and not fill.pages:
            return True
        most = 2 * fill.pages * max(self._longest, MAX_DURATION) if fill.pages else LONGEST_REST
        return trusted and fill.samples is not None and 0 <= fill.samples <= most

    def _guess(self, fill: _OpenFill) -> int:
        """Of a clock that goes on for hours nothing; of missing pages as much as the others hold."""
        if fill.why is Why.REST or not self.pages:
            return 0
        return fill.pages * self.samples // self.pages


def _seem_to_hold(lost: Sequence[Samples | None]) -> int | None:
    """What packets seem to hold together."""
    known = [samples for samples in lost if samples is not None]
    return sum(known) if len(known) == len(lost) else None
