"""Valid channels and items, of which tests change one thing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.feeds.categories import Category
from bot.feeds.model import Alternate, Channel, Item, LiveItem, LiveStatus, Person

NOW = datetime(2026, 11, 20, 14, 5, 7, tzinfo=UTC)
BASE = "https://pods.example.org"


def channel(**changes: Any) -> Channel:
    """Make a public channel."""
    public = Channel(
        title="Kitchen radio",
        description="What was said in the kitchen.\n\nEvery Friday.",
        page=f"{BASE}/r/0123456789abcdef/",
        address=f"{BASE}/r/0123456789abcdef/feed.xml",
        cover=f"{BASE}/r/0123456789abcdef/cover-abc.jpg",
        language="en",
        author="The cooks",
        category=Category("Arts", "Food"),
        explicit=False,
        built_at=NOW,
        private=False,
        guid="9b024349-ccf0-5f69-a609-6b82873eab3c",
        email="cooks@example.org",
    )
    return replace(public, **changes)


def item(number: int = 1, **changes: Any) -> Item:
    """Make an episode; each number began an hour after the one before."""
    whole = Item(
        guid=f"00000000-0000-4000-8000-{number:012}",
        title=f"Soup, part {number}",
        description="Stock first.",
        page=f"{BASE}/r/0123456789abcdef/abcdef",
        audio=f"{BASE}/r/0123456789abcdef/abcdef.mp3",
        bytes=1_472_000,
        seconds=184,
        started_at=NOW + timedelta(hours=number),
        number=number,
        speakers="Alice",
        persons=(Person("Alice"),),
        explicit=False,
        chapters=f"{BASE}/r/0123456789abcdef/abcdef.chapters.json",
    )
    return replace(whole, **changes)


def live_item(**changes: Any) -> LiveItem:
    """Make a broadcast that is on the air."""
    room = f"{BASE}/r/0123456789abcdef"
    running = LiveItem(
        guid="urn:uuid:00000000-0000-4000-8000-00000000000a",
        status=LiveStatus.LIVE,
        title="Bread, live",
        description="Kneading.",
        page=f"{room}/ghijkl",
        alternates=(
            Alternate(f"{room}/ghijkl.m3u8", "application/x-mpegURL", title="HLS"),
            Alternate(f"{room}/ghijkl-live.mp3", "audio/mpeg", title="MP3"),
        ),
        started_at=NOW,
        ended_at=None,
        number=9,
        speakers="Alice",
        persons=(Person("Alice", f"{room}/portrait-0123456789abcdef.jpg"),),
        explicit=False,
        picture=f"{room}/cover-abc.jpg",
        link="Listen in the browser",
    )
    return replace(running, **changes)
