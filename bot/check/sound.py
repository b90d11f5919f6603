"""Rules for the sound of episodes and for how it is served: ranges, lengths, and durations, which are counted. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bot.check.answers import Answer, Failure, Fetched, Trouble
from bot.check.feed_document import FeedItem
from bot.check.finding import Finding, Problem, judged, tripped
from bot.check.frames import FrameCount
from bot.check.items import length_of, named, seconds_of
from bot.check.serving import differences
from bot.language import _, plural

STALE = '"another file"'
"""A tag that no file has."""
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_BEYOND = re.compile(r"bytes \*/(\d{1,15})")
DURATION_DIFFERS_S = 2.0

ProblemsOf = Callable[["Sample"], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Counted:
    """The sound of a file: bytes and seconds that were counted, not told. `seconds`: None for sound that is no MP3 with
    a constant rate and too large to be read whole."""

    bytes: int
    seconds: float | None
    is_sound: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """An episode with the answers about its audio. Ranges are those of the first and the last two bytes, and one behind
    the end; `stale`: the first two bytes if the file still were another."""

    item: FeedItem
    got: Fetched
    head: Fetched
    first: Fetched
    last: Fetched
    behind: Fetched
    stale: Fetched
    counted: Counted | None


def size_of(part: Fetched) -> int | None:
    """Return the bytes of a whole file, as the answer with a range of it tells."""
    told = _RANGE.fullmatch(_header(part, "content-range"))
    return int(told[3]) if told is not None else None


def counted(size: int, head: FrameCount, *, whole: bool) -> Counted:
    """Count the sound of a file from its frames, or from the first of them where they all have one rate."""
    if whole or not head.rate:
        return Counted(size, head.seconds if head.frames else None, head.is_mp3)
    return Counted(size, (size - head.first_at) / head.rate if head.constant else None, head.is_mp3)


def judge_sound(samples: Sequence[Sample], count: int) -> Iterator[Finding]:
    """Judge the episodes that were looked at, out of so many."""
    looked_at = plural("{count} episode looked at", "{count} episodes looked at", len(samples))
    fine = _("{episodes}, of {count}").format(episodes=looked_at, count=count)
    yield from judged(_("sound"), [*_each(samples, _sound)], fine)
    got = [sample for sample in samples if isinstance(sample.got, Answer) and sample.got.status == 200]
    if not got:
        return
    yield from judged(_("lengths"), [*_each(got, _length)], _("those of the files"))
    yield from judged(_("durations counted"), [*_each(got, _duration)], _("those of the sound, frame by frame"))
    yield from judged(_("HEAD of the sound"), [*_each(got, _head)], _("as GET"))
    yield from judged(_("byte ranges"), [*_each(got, _ranges)], _("first, last, behind the end, and of a changed file"))


def _each(samples: Sequence[Sample], problems_of: ProblemsOf) -> Iterator[Problem]:
    """Yield each problem once, with the episodes that have it."""
    items: dict[Problem, list[FeedItem]] = {}
    for sample in samples:
        for problem in problems_of(sample):
            items.setdefault(problem, []).append(sample.item)
    for problem, wrong in items.items():
        yield named(wrong, problem)


def _sound(sample: Sample) -> Iterator[Problem]:
    got = sample.got
    if isinstance(got, Failure):
        elsewhere = got.trouble is Trouble.ELSEWHERE
        yield Problem(
            _("the audio lies on another server, which was not asked") if elsewhere else _("no answer for the audio")
        )
        return
    if got.is_redirect:
        yield tripped(_("the audio is redirected to another server, which was not asked"))
        return
    if got.status != 200:
        yield Problem(_("the audio can't be downloaded ({status})").format(status=got.status))
        return
    if got.content_type != sample.item.enclosures[0].type:
        kind = got.content_type or "-"
        yield Problem(_("the audio is sent as {type}: Apple plays only what the feed says").format(type=kind))
    if sample.counted is not None and not sample.counted.is_sound:
        yield Problem(_("the file is no MP3"))


def _length(sample: Sample) -> Iterator[Problem]:
    said = length_of(sample.item)
    size = sample.counted.bytes if sample.counted is not None else size_of(sample.first)
    if said is not None and size is not None and said != size:
        yield Problem(
            _("the feed says {said} bytes, the file has {size}: apps cut the download or never finish it").format(
                said=said, size=size
            )
        )


def _duration(sample: Sample) -> Iterator[Problem]:
    said = seconds_of(sample.item)
    seconds = sample.counted.seconds if sample.counted is not None else None
    if said is not None and seconds is not None and abs(said - seconds) > DURATION_DIFFERS_S:
        yield tripped(
            _("the feed says {said} s, the sound lasts {seconds} s").format(said=said, seconds=round(seconds))
        )


def _head(sample: Sample) -> Iterator[Problem]:
    assert isinstance(sample.got, Answer)
    yield from differences(sample.head, sample.got)


def _ranges(sample: Sample) -> Iterator[Problem]:
    if not isinstance(sample.first, Answer) or sample.first.status != 206:
        yield Problem(_("parts of the file can't be had (byte ranges): Apple refuses the episode"))
        return
    kind = sample.item.enclosures[0].type
    size = size_of(sample.first)
    if size is None or len(sample.first.body) != 2 or not sample.first.whole:
        yield Problem(_("a part of the file is another than was asked for"))
        return
    if sample.first.content_type != kind:
        yield Problem(_("a part of the file is sent as another type than the feed says: Apple plays nothing"))
    last = sample.last
    if not isinstance(last, Answer) or last.status != 206 or _header(last, "content-range") != _told(size - 2, size):
        yield Problem(_("the end of the file can't be had alone (`Range: bytes=-2`)"))
    behind = _BEYOND.fullmatch(_header(sample.behind, "content-range"))
    if not isinstance(sample.behind, Answer) or sample.behind.status != 416 or behind is None:
        yield tripped(_("a part behind the end is not refused with 416"))
    if "bytes" not in _header(sample.got, "accept-ranges").lower():
        yield tripped(_("`Accept-Ranges: bytes` is missing: some apps do not skip within the episode"))
    if not _header(sample.got, "etag").startswith('"'):
        yield tripped(_("a strong `ETag` is missing: a download that stopped begins anew"))
    if isinstance(sample.stale, Answer) and sample.stale.status == 206:
        yield tripped(_("`If-Range` is ignored: a download that goes on after a change mixes two files"))


def _told(start: int, size: int) -> str:
    return f"bytes {start}-{size - 1}/{size}"


def _header(fetched: Fetched, name: str) -> str:
    return fetched.headers.get(name, "") if isinstance(fetched, Answer) else ""
