"""A feed's channel and items, made of records that the listener may hear. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bot.feeds.addresses import Shelf
from bot.feeds.categories import Category, find
from bot.feeds.model import Channel, Item, Paging
from bot.feeds.titles import channel_title, episode_title, persons, speakers
from bot.language import _, spoken_time
from bot.recording.account import first_line
from bot.recording.lengths import spoken_length
from bot.settings import FeedsSettings
from storage.records import Episode, PodcastTexts, Recording, RecordingState, Room, to_ms

Published = tuple[Recording, Episode]


@dataclass(frozen=True, slots=True)
class Face:
    """A room's public face: texts of its state with user ids masked, and a speaker's display name, not cleaned."""

    name: str | None
    topic: str | None
    first_speaker: str | None  # display name of the first broadcast's speaker
    given: PodcastTexts  # by a moderator

    @property
    def title(self) -> str:
        return self.given.title or channel_title(self.name, self.first_speaker)

    @property
    def description(self) -> str | None:
        return self.given.description or self.topic


def channel_of(
    room: Room,
    face: Face,
    published: Sequence[Published],
    settings: FeedsSettings,
    shelf: Shelf,
    *,
    private: bool,
    cover: str,
    page: int = 1,
    more: bool = False,
) -> Channel:
    """Make the channel of one page of a room's feed, with the episodes of that page. `cover`: the picture's address;
    `more`: another page follows."""
    title, given = face.title, face.given
    category = given.category or settings.category
    return Channel(
        title=title,
        description=face.description or _("What was said in {title}.").format(title=title),
        page=shelf.page,
        address=shelf.feed_page(page),
        cover=cover,
        language=given.language or settings.language,
        author=given.author or settings.author or title,
        category=find(category) or Category(category),
        explicit=is_explicit(face, settings),
        built_at=built_at(room, published),
        private=private,
        guid=str(UUID(room.podcast_guid)),
        email=settings.email,
        paging=_paging(shelf, page, more),
    )


def is_explicit(face: Face, settings: FeedsSettings) -> bool:
    return settings.explicit if face.given.explicit is None else face.given.explicit


def built_at(room: Room, published: Sequence[Published]) -> datetime:
    """Return when the content of the feed last changed."""
    return max((room.changed_at, *(episode.made_at for _, episode in published)))


def _paging(shelf: Shelf, page: int, more: bool) -> Paging | None:
    if page == 1 and not more:
        return None
    return Paging(
        first=shelf.feed_page(1),
        previous=shelf.feed_page(page - 1) if page > 1 else None,
        # None on the last page: gPodder loops for ever over a page whose `next` is itself.
        next=shelf.feed_page(page + 1) if more else None,
    )


def item_of(published: Published, settings: FeedsSettings, shelf: Shelf, *, explicit: bool) -> Item:
    """Make an item of a recording and its episode."""
    recording, episode = published
    return Item(
        guid=episode.guid,
        title=episode_title(recording, settings.zone),
        description=show_notes(recording, episode, settings),
        page=shelf.episode(recording.code),
        audio=shelf.audio(recording.code),
        bytes=episode.bytes,
        seconds=max(1, round(to_ms(episode.samples) / 1000)),
        started_at=recording.started_at,
        number=recording.number,
        speakers=speakers(recording),
        persons=persons(recording),
        explicit=explicit,
        chapters=shelf.chapters(recording.code) if episode.chapters else None,
    )


def show_notes(recording: Recording, episode: Episode, settings: FeedsSettings) -> str:
    """Write the show notes: what is missing from the file that is served, if anything; then the description."""
    missing = first_line(recording, episode.loss)
    description = recording.description or default_description(recording, episode, settings)
    return f"{missing}\n\n{description}" if missing else description


def default_description(recording: Recording, episode: Episode, settings: FeedsSettings) -> str:
    """Describe an episode that nobody described: speakers, date, length, and whether it is complete."""
    who, when = speakers(recording), spoken_time(recording.started_at, settings.zone)
    whole = _("Complete.") if recording.state is RecordingState.COMPLETE else _("Its page says more.")
    return f"{who}, {when}. {spoken_length(to_ms(episode.samples))}. {whole}"
