"""Rules for the episodes of a feed, as far as the feed alone tells: the sound itself is judged by `sound`. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import urlsplit

from bot.check.feed_document import FeedDocument, FeedItem
from bot.check.finding import Finding, Problem, judged, tripped
from bot.feeds.shown import shown
from bot.feeds.text import DESCRIPTION_BYTES, TITLE_CHARACTERS
from bot.language import _, plural

AUDIO_TYPES = ("audio/mpeg", "audio/x-m4a", "audio/mp4")
"""Types of enclosures that Apple and Spotify play."""
EXTENSIONS = (".mp3", ".m4a")
AHEAD = timedelta(minutes=5)
"""The longest time that a date may lie in the future: clocks differ."""
LONGEST_DAYS = 30


def judge_items(documents: Sequence[FeedDocument], scheme: str, now: datetime, *, private: bool) -> Iterator[Finding]:
    """Judge the episodes of all documents of a feed, its newest document first. `scheme`: that of the feed."""
    items = [item for document in documents for item in document.items]
    yield from judged(_("episodes"), list(_episodes(items, private=private)), _counted(len(items)))
    if not items:
        return
    yield from judged(_("titles"), list(_titles(items)), _("every episode has one"))
    yield from judged(_("GUIDs"), list(_guids(items)), _("each is there once"))
    yield from judged(_("dates"), list(_dates(documents, now)), _("newest first, none in the future"))
    yield from judged(_("enclosures"), list(_enclosures(items, scheme)), _("one for each episode, as Apple wants it"))
    yield from judged(_("durations"), list(_durations(items)), _("whole seconds"))


def _counted(count: int) -> str:
    return plural("{count} episode", "{count} episodes", count)


def _episodes(items: Sequence[FeedItem], *, private: bool) -> Iterator[Problem]:
    if not items:
        problem = _("there is none yet: Apple and Spotify list a podcast from its first episode on")
        yield Problem(problem, refused=not private)


def _of_items(items: Sequence[FeedItem], breaks: Callable[[FeedItem], bool], problem: Problem) -> Iterator[Problem]:
    """Yield a problem once for all the episodes that have it."""
    wrong = [item for item in items if breaks(item)]
    if wrong:
        yield named(wrong, problem)


def named(wrong: Sequence[FeedItem], problem: Problem) -> Problem:
    """Name the episodes that have a problem: the first, and the number of all."""
    first = shown(wrong[0].title or "", 40) or "?"
    if len(wrong) == 1:
        text = _("“{title}”: {problem}").format(title=first, problem=problem.text)
    else:
        text = _("{count} episodes, the first “{title}”: {problem}").format(
            count=len(wrong), title=first, problem=problem.text
        )
    return Problem(text, refused=problem.refused)


def _titles(items: Sequence[FeedItem]) -> Iterator[Problem]:
    yield from _of_items(items, lambda item: item.title is None, Problem(_("the title is missing")))
    long = tripped(_("the title is longer than {most} characters").format(most=TITLE_CHARACTERS))
    yield from _of_items(items, lambda item: len(item.title or "") > TITLE_CHARACTERS, long)
    long = tripped(_("the description is longer than {most} bytes: Apple cuts it").format(most=DESCRIPTION_BYTES))
    yield from _of_items(items, lambda item: len((item.description or "").encode()) > DESCRIPTION_BYTES, long)


def _guids(items: Sequence[FeedItem]) -> Iterator[Problem]:
    missing = Problem(_("the GUID is missing: apps download the episode again and again"))
    yield from _of_items(items, lambda item: item.guid is None, missing)
    counts = Counter(item.guid for item in items if item.guid is not None)
    twice = Problem(_("another episode has the same GUID: apps show only one of them"))
    yield from _of_items(items, lambda item: item.guid is not None and counts[item.guid] > 1, twice)
    no_address = tripped(_("the GUID is no address, but does not say so (`isPermaLink`)"))
    yield from _of_items(
        items, lambda item: item.permanent_link and not (item.guid or "").startswith("http"), no_address
    )


def date_of(item: FeedItem) -> datetime | None:
    """Return the date of an episode; None where it is missing, is no date of RFC 2822, or has the wrong weekday."""
    try:
        date = parsedate_to_datetime(item.published or "")
    except ValueError:
        return None
    if date.tzinfo is None:
        return None
    written, weekday = (item.published or "").strip(), format_datetime(date)[:3]
    return None if written[3:4] == "," and written[:3] != weekday else date.astimezone(UTC)


def _dates(documents: Sequence[FeedDocument], now: datetime) -> Iterator[Problem]:
    items = [item for document in documents for item in document.items]
    unreadable = Problem(_("the date can't be read: apps sort the episode anywhere"))
    yield from _of_items(items, lambda item: date_of(item) is None, unreadable)
    future = Problem(_("the date is in the future: Apple hides the episode until then"))
    yield from _of_items(items, lambda item: (date := date_of(item)) is not None and date > now + AHEAD, future)
    for document in documents:
        dates = [date for item in document.items if (date := date_of(item)) is not None]
        if dates != sorted(dates, reverse=True):
            yield tripped(_("the episodes do not stand newest first, as Pocket Casts expects them"))
            return


def _enclosures(items: Sequence[FeedItem], scheme: str) -> Iterator[Problem]:
    yield from _of_items(items, lambda item: not item.enclosures, Problem(_("it has no audio file")))
    many = Problem(_("it has several enclosures: Overcast takes any of them"))
    yield from _of_items(items, lambda item: len(item.enclosures) > 1, many)
    having = [item for item in items if item.enclosures]

    def first(breaks: Callable[[str], bool], problem: Problem) -> Iterator[Problem]:
        return _of_items(having, lambda item: breaks(item.enclosures[0].address), problem)

    yield from first(lambda address: not address.isascii(), Problem(_("the address of the audio is not all ASCII")))
    relative = Problem(_("the address of the audio does not begin with {scheme}://").format(scheme=scheme))
    yield from first(lambda address: not address.startswith(f"{scheme}://"), relative)
    ending = Problem(_("the address of the audio does not end with .mp3 or .m4a: Apple refuses the episode"))
    yield from first(lambda address: not _path(address).endswith(EXTENSIONS), ending)
    kind = Problem(_("the type of the audio is none that Apple and Spotify play"))
    yield from _of_items(having, lambda item: item.enclosures[0].type not in AUDIO_TYPES, kind)
    length = Problem(_("the length of the audio in bytes is missing: Spotify never finishes the episode"))
    yield from _of_items(having, lambda item: not _is_count(item.enclosures[0].length), length)


def _path(address: str) -> str:
    try:
        return urlsplit(address).path.lower()
    except ValueError:
        return ""


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16 and int(text) > 0


def length_of(item: FeedItem) -> int | None:
    """Return the bytes that the feed announces; None where it announces none."""
    text = item.enclosures[0].length if item.enclosures else ""
    return int(text) if _is_count(text) else None


def seconds_of(item: FeedItem) -> int | None:
    """Return the duration that the feed announces in whole seconds; None where it announces none."""
    text = item.duration or ""
    return int(text) if _is_count(text) and int(text) < LONGEST_DAYS * 86_400 else None


def _durations(items: Sequence[FeedItem]) -> Iterator[Problem]:
    wrong = tripped(_("the duration is missing or is not in whole seconds"))
    yield from _of_items(items, lambda item: seconds_of(item) is None, wrong)
