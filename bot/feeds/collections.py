"""Channels of feeds that are not of one room: of one speaker of a room, and of all public podcasts. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bot.feeds.addresses import Shelf
from bot.feeds.categories import Category, find
from bot.feeds.guids import podcast_guid, speaker_guid
from bot.feeds.model import Channel, Item, LiveItem
from bot.feeds.text import isolated
from bot.language import _
from bot.settings import FeedsSettings

UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ITEMS = 100
"""Items in such a feed: what is older is in the feeds of the rooms, which are paged."""


def of_speaker(room: Channel, name: str, speaker: str, shelf: Shelf, *, moved: bool = False) -> Channel:
    """Make the channel of one speaker's episodes of the channel of the room, and with the live items of that.
    `speaker`: the id in addresses; `moved`: the feed had another address before."""
    title, who = isolated(room.title), isolated(name)
    return replace(
        room,
        title=_("{who} in {title}").format(who=who, title=title),
        description=_("What {who} said in {title}, also with others.").format(who=who, title=title),
        address=shelf.speaker_feed(speaker),
        author=name,
        guid=speaker_guid(room.guid, speaker) if room.guid else None,
        paging=None,
        moved_to=shelf.speaker_feed(speaker) if moved else None,
        hub=None,  # it is told of changes of rooms' feeds alone
        frequency=None,
    )


def of_server(
    settings: FeedsSettings,
    base: str,
    host: str,
    cover: str,
    live: Sequence[LiveItem],
    *,
    explicit: bool,
    moved: bool = False,
) -> Channel:
    """Make the channel of all public podcasts, without its date. `base`: the server's address without a slash at its
    end; `host`: its name; `cover`: the picture's address; `moved`: the feed had another address before."""
    address = f"{base}/feed.xml"
    return Channel(
        title=_("All podcasts of {host}").format(host=host),
        description=_("The newest episodes of all public podcasts of {host}.").format(host=host),
        page=f"{base}/",
        address=address,
        cover=cover,
        language=settings.language,
        author=settings.author or host,
        category=find(settings.category) or Category(settings.category),
        explicit=explicit,
        built_at=UNDATED,
        private=False,
        guid=podcast_guid(address),
        email=settings.email,
        moved_to=address if moved else None,
        live=tuple(live),
    )


def of_podcast(item: Item, title: str) -> Item:
    """Say in the notes of an item of the feed of all podcasts which one it is of. Its GUID stays: it is the same
    episode."""
    return replace(item, description=f"{isolated(title)}\n\n{item.description}")
