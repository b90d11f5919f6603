"""The content of a feed: one channel and its items. Frozen; made of records by `catalog`, written by `rss`. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.feeds.categories import Category


@dataclass(frozen=True, slots=True)
class Paging:
    """Addresses of the neighbouring documents of a feed; None where there is none (RFC 5005).

    `first`, `previous` and `next` are of section 3, which gPodder follows: without `next` on the last document, for it
    loops over one whose `next` is itself. `current`, `prev_archive`, `next_archive` and `archive` (this document is one
    of the archive and never changes its place) are of section 4.
    """

    first: str | None = None
    previous: str | None = None
    next: str | None = None
    current: str | None = None
    prev_archive: str | None = None
    next_archive: str | None = None
    archive: bool = False


@dataclass(frozen=True, slots=True)
class Frequency:
    """The rhythm in which episodes come (`podcast:updateFrequency`)."""

    rule: str  # of RFC 5545
    words: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who speaks in an episode; `picture` is an address. Never with an MXID."""

    name: str
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class Alternate:
    """The sound of an episode or stream in another form (`podcast:alternateEnclosure`)."""

    address: str
    type: str  # of media
    bytes: int | None = None  # None: a stream
    title: str | None = None
    codecs: str | None = None  # RFC 6381
    sha384: str | None = None  # base64, of the file


class LiveStatus(StrEnum):
    """The stage of a live broadcast."""

    PENDING = "pending"  # begun, without sound so far
    LIVE = "live"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LiveItem:
    """A broadcast that is on the air, is about to be, or just was (`podcast:liveItem`)."""

    guid: str  # permanent, and never the episode's
    status: LiveStatus
    title: str
    description: str
    page: str
    alternates: tuple[Alternate, ...]  # the first is the enclosure
    started_at: datetime
    ended_at: datetime | None  # None while it runs
    number: int
    speakers: str  # their names in one line
    persons: tuple[Person, ...]
    explicit: bool
    picture: str  # address
    link: str  # words of the link to the page


@dataclass(frozen=True, slots=True)
class Channel:
    """A feed's head. Texts are plain text as people wrote it; `rss` cleans them. `built_at` changes only with the
    content."""

    title: str
    description: str
    page: str  # address of the web page
    address: str  # of the document itself
    cover: str  # address; ends in .jpg or .png
    language: str
    author: str
    category: Category
    explicit: bool
    built_at: datetime
    private: bool  # for one listener: kept out of every directory
    guid: str | None = None  # podcast:guid
    email: str | None = None  # of the owner; never shown in a private feed
    paging: Paging | None = None
    hub: str | None = None  # address of the WebSub hub that is told of changes; never in a private feed
    moved_to: str | None = None  # the new address of a feed that moved
    frequency: Frequency | None = None
    live: tuple[LiveItem, ...] = ()  # never in a private feed


@dataclass(frozen=True, slots=True)
class Item:
    """An episode in a feed. Texts are plain text as people wrote it; `rss` cleans them."""

    guid: str
    title: str
    description: str
    page: str
    audio: str  # address; ends in .mp3
    bytes: int
    seconds: int
    started_at: datetime
    number: int
    speakers: str  # their names in one line
    persons: tuple[Person, ...]
    explicit: bool
    chapters: str | None = None  # address; None where there are none
    alternates: tuple[Alternate, ...] = ()
    cover: str | None = None  # address of its own picture; None: apps show the channel's
