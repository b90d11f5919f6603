"""The check of a room's feed: fetched through the public address as a stranger would, and judged by the rules.

Bounded in requests, bytes and time: a few episodes stand for all, always the same ones of the same feed. No finding
holds an address of a private feed.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from bot.check.answers import Answer, Failure, Fetched
from bot.check.archive import Archive
from bot.check.artwork import FETCHED_BYTES, judge_artwork
from bot.check.channel import judge_channel
from bot.check.feed_document import FeedDocument, FeedItem, Link, read_feed
from bot.check.fetching import PLAIN, Stranger, certificate_ends, unpacked
from bot.check.finding import Finding, Level, Problem, judged, tripped
from bot.check.frames import FrameCount
from bot.check.items import judge_items
from bot.check.reach import is_aircheck, judge_address, judge_failure, judge_reached, judge_refusal
from bot.check.serving import (
    differences,
    judge_compression,
    judge_conditions,
    judge_cors,
    judge_robots,
)
from bot.check.sound import STALE, Counted, Sample, counted, judge_sound, size_of
from bot.language import _

FEED_BYTES = 16 * 1024 * 1024
SMALL_BYTES = 256 * 1024
COUNTED_BYTES = 48 * 1024 * 1024
"""The largest file whose frames are all counted; of a larger one the first MiB tells the rate."""
BEGINNING_BYTES = 1024 * 1024
BEHIND = 10**15
"""A place behind the end of every file."""
SAMPLES = 4
WITHIN_S = 50.0

Clock = Callable[[], datetime]
Findings = Iterable[Finding]


async def check_feed(
    stranger: Stranger, base: str, address: str, clock: Clock, *, private: bool
) -> AsyncIterator[Finding]:
    """Yield the findings about the feed at an address below `base`, as they come, within a minute."""
    check = _Check(stranger, base, address, clock, private=private)
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    findings = check.findings()
    try:
        while True:
            async with asyncio.timeout_at(deadline):
                finding = await anext(findings, None)
            if finding is None:
                return
            yield finding
    except TimeoutError:
        yield Finding(Level.WARN, _("time"), _("a minute is over: not everything was looked at"))
    finally:
        await findings.aclose()


class _Check:
    """The steps of one check; each gives its findings."""

    def __init__(self, stranger: Stranger, base: str, address: str, clock: Clock, *, private: bool) -> None:
        self._stranger = stranger
        self._base = base
        self._scheme = urlsplit(base).scheme
        self._address = address
        self._clock = clock
        self._private = private

    async def findings(self) -> AsyncGenerator[Finding]:
        for finding in judge_address(self._base):
            yield finding
        plain = await self._stranger.get(self._address, FEED_BYTES)
        feed = await self._read(plain)
        if feed is None or not isinstance(plain, Answer):
            for finding in await self._unreached(plain):
                yield finding
            return
        archive = Archive(feed, self._address, self._document)
        steps = (
            partial(self._head, plain, feed),
            partial(self._served, plain),
            partial(self._artwork, feed),
            archive.walk,
            partial(self._listed, archive),
            partial(self._heard, plain, archive),
        )
        for step in steps:
            for finding in await step():
                yield finding

    async def _document(self, address: str) -> FeedDocument | None:
        return await self._read(await self._stranger.get(address, FEED_BYTES))

    async def _read(self, fetched: Fetched) -> FeedDocument | None:
        """Read a feed off the loop; None where the answer is none."""
        if isinstance(fetched, Failure) or fetched.status != 200 or not fetched.whole:
            return None
        return await asyncio.to_thread(read_feed, fetched.body)

    async def _unreached(self, fetched: Fetched) -> Findings:
        if isinstance(fetched, Failure):
            return judge_failure(fetched, self._base)
        health = await self._stranger.get(f"{self._base}/healthz", SMALL_BYTES)
        return judge_refusal(fetched, self._base, ours=is_aircheck(health))

    async def _head(self, plain: Answer, feed: FeedDocument) -> Findings:
        ends = await certificate_ends(self._base) if self._scheme == "https" else None
        return [
            *judge_reached(plain, self._address, ends, self._clock()),
            *judge_channel(feed, self._address, private=self._private),
        ]

    async def _served(self, plain: Answer) -> Findings:
        get = partial(self._stranger.get, self._address)
        head = await self._stranger.head(self._address)
        packed = await get(FEED_BYTES, {"Accept-Encoding": "gzip"})
        body = await asyncio.to_thread(unpacked, packed.body, FEED_BYTES) if isinstance(packed, Answer) else None
        tag, date = plain.headers.get("etag"), plain.headers.get("last-modified")
        by_tag = await get(0, {**PLAIN, "If-None-Match": tag}) if tag else None
        by_date = await get(0, {**PLAIN, "If-Modified-Since": date}) if date else None
        at_root = urlsplit(self._base).path in ("", "/")
        robots = await self._stranger.get(f"{self._base}/robots.txt", SMALL_BYTES) if at_root else None
        return [
            *judged(_("HEAD of the feed"), list(differences(head, plain)), _("as GET")),
            *judge_compression(plain, packed, body),
            *judge_conditions(plain, by_tag, by_date),
            *judge_robots(plain, robots, self._address, private=self._private),
        ]

    async def _artwork(self, feed: FeedDocument) -> Findings:
        fetched = await self._stranger.get(feed.image, FETCHED_BYTES) if feed.image else None
        findings = list(judge_artwork(feed.image, fetched))
        if isinstance(fetched, Answer) and fetched.status == 200 and feed.image is not None:
            head = await self._stranger.head(feed.image)
            findings += judged(_("HEAD of the artwork"), list(differences(head, fetched)), _("as GET"))
        return findings

    async def _listed(self, archive: Archive) -> Findings:
        judge = partial(judge_items, archive.documents, self._scheme, self._clock(), private=self._private)
        return await asyncio.to_thread(lambda: list(judge()))

    async def _heard(self, feed: Answer, archive: Archive) -> Findings:
        """Look at a few episodes, and at what else they name."""
        items = [item for document in archive.documents for item in document.items if item.enclosures]
        samples = [await self._sample(item) for item in samples_of(items)]
        beside = [each for sample in samples for each in await self._beside(sample.item)]
        findings = list(judge_sound(samples, len(items))) if samples else []
        if beside:
            problems = list(dict.fromkeys(each.problem for each in beside if each.problem is not None))
            findings += judged(_("chapters, originals"), problems, _("can be downloaded"))
        if not self._private:
            answers = [(_("the sound"), sample.got) for sample in samples]
            answers += [(each.what, each.answer) for each in beside]
            readable = {what: got for what, got in answers if isinstance(got, Answer) and got.status == 200}
            findings += judge_cors({_("the feed"): feed, **readable})
        return findings

    async def _sample(self, item: FeedItem) -> Sample:
        get = partial(self._stranger.get, item.enclosures[0].address)
        first = await get(2, {**PLAIN, "Range": "bytes=0-1"})
        got, count = await self._counted(item, size_of(first))
        return Sample(
            item,
            got=got,
            head=await self._stranger.head(item.enclosures[0].address),
            first=first,
            last=await get(2, {**PLAIN, "Range": "bytes=-2"}),
            behind=await get(0, {**PLAIN, "Range": f"bytes={BEHIND}-"}),
            stale=await get(0, {**PLAIN, "Range": "bytes=0-1", "If-Range": STALE}),
            counted=count,
        )

    async def _counted(self, item: FeedItem, told: int | None) -> tuple[Fetched, Counted | None]:
        """Download a file and count it; of one that is large, as a range of it has `told`, the beginning alone."""
        most = COUNTED_BYTES if told is None or told <= COUNTED_BYTES else BEGINNING_BYTES
        frames, taken = FrameCount(), 0

        def take(piece: bytes) -> bool:
            nonlocal taken
            taken += len(piece)
            frames.take(piece)
            return taken < most

        got = await self._stranger.stream(item.enclosures[0].address, take)
        if isinstance(got, Failure) or got.status != 200:
            return got, None
        return got, counted(taken if got.whole else told or taken, frames, whole=got.whole)

    async def _beside(self, item: FeedItem) -> "list[_Beside]":
        """Ask for what else an episode names."""
        beside = []
        if item.chapters is not None:
            answer = await self._stranger.get(item.chapters, SMALL_BYTES)
            is_there = isinstance(answer, Answer) and answer.status == 200 and answer.body.lstrip().startswith(b"{")
            problem = None if is_there else tripped(_("the chapters can't be downloaded"))
            beside.append(_Beside(_("chapters"), answer, problem))
        for source in item.alternates:
            answer = await self._stranger.head(source.address)
            beside.append(_Beside(_("originals"), answer, _of_original(source, answer)))
        return beside


@dataclass(frozen=True, slots=True)
class _Beside:
    """A file that an episode names beside its sound: what it is, the answer, and what is wrong with it."""

    what: str
    answer: Fetched
    problem: Problem | None


def _of_original(source: Link, answer: Fetched) -> Problem | None:
    if not isinstance(answer, Answer) or answer.status != 200:
        return tripped(_("the original sound can't be downloaded"))
    if source.length and answer.headers.get("content-length") != source.length:
        return tripped(_("the original sound has another length than the feed says"))
    return None


def samples_of(items: list[FeedItem]) -> list[FeedItem]:
    """Choose the newest episode, the oldest, and a few between, always the same ones of the same feed."""

    def place(item: FeedItem) -> bytes:
        return hashlib.sha256((item.guid or item.enclosures[0].address).encode("utf-8", "replace")).digest()

    ends = items[:1] + items[1:][-1:]
    return ends + sorted(items[1:-1], key=place)[: SAMPLES - len(ends)]
