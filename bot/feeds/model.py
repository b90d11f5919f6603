"""The content of a feed: one channel and its items. Frozen; made of records by `catalog`, written by `rss`. Pure."""

from dataclasses import dataclass
from datetime import datetime

from bot.feeds.categories import Category


@dataclass(frozen=True, slots=True)
class Paging:
    """Addresses of the neighbouring pages (RFC 5005 section 3); None where there is none. Without the last page:
    nobody needs it, and counting episodes is slow."""

    first: str
    previous: str | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A feed's head. Texts are plain text as people wrote it; `rss` cleans them. `built_at` changes only with the
    content."""

    title: str
    description: str
    page: str  # address of the web page
    address: str  # of the feed itself
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
    persons: tuple[str, ...]  # the name of each
    explicit: bool
    chapters: str | None = None  # address; None where there are none
