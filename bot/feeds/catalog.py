"""A feed's channel and items, made of records that the listener may hear. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from bot.feeds.addresses import Shelf
from bot.feeds.categories import Category, find
from bot.feeds.guids import podcast_guid, stream_guid
from bot.feeds.model import Alternate, Channel, Frequency, Item, LiveItem, LiveStatus, Paging, Person
from bot.feeds.mxids import SOMEBODY
from bot.feeds.stems import WholeStem, whole_stems
from bot.feeds.text import isolated
from bot.feeds.titles import MOST_PERSONS, channel_title, episode_title, speaker, speakers
from bot.language import _, spoken_time
from bot.recording.account import first_line
from bot.recording.lengths import spoken_length
from bot.recording.speakers import credits_of
from bot.settings import FeedsSettings
from storage.records import BlobKey, Episode, Original, PodcastTexts, Recording, RecordingState, Room, UserId, to_ms

Published = tuple[Recording, Episode]
NO_PORTRAITS: Mapping[UserId, BlobKey] = MappingProxyType({})
MP3, OGG, OPUS = "audio/mpeg", "audio/ogg", "opus"
HLS = "application/x-mpegURL"
"""The type by which podcast apps know HLS in a feed."""
DAY = timedelta(days=1)
REGULAR_EPISODES = 8
"""The number of newest episodes by which a feed is called regular."""
ENDED_FOR = timedelta(minutes=30)
"""The time for which a feed says of a broadcast that it has ended: apps look every few minutes at best."""


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
    settings: FeedsSettings,
    shelf: Shelf,
    *,
    private: bool,
    cover: str,
    built_at: datetime,
    address: str | None = None,
    paging: Paging | None = None,
    published: Sequence[Published] = (),
    live: Sequence[LiveItem] = (),
    hub: str | None = None,
    moved_to: str | None = None,
) -> Channel:
    """Make the channel of one document of a room's feed.

    `cover`: the picture's address; `address`: the document's, else that of the feed; `published`: its episodes, the
    newest first; `hub`: the address of the WebSub hub; `moved_to`: the new address of a feed that moved.
    """
    title, given = face.title, face.given
    category = given.category or settings.category
    archive = paging is not None and paging.archive
    return Channel(
        title=title,
        description=face.description or _("What was said in {title}.").format(title=isolated(title)),
        page=shelf.page,
        address=address or shelf.feed,
        cover=cover,
        language=given.language or settings.language,
        author=given.author or settings.author or title,
        category=find(category) or Category(category),
        explicit=is_explicit(face, settings),
        built_at=built_at,
        private=private,
        guid=None if private else room.podcast_guid or podcast_guid(shelf.feed),
        email=settings.email,
        paging=paging,
        hub=None if private else hub,
        moved_to=moved_to,
        # An archive document stays as it is, so it says nothing of the present.
        frequency=None if archive else frequency([recording.started_at for recording, _ in published]),
        live=() if archive or private else tuple(live),
    )


def is_explicit(face: Face, settings: FeedsSettings) -> bool:
    return settings.explicit if face.given.explicit is None else face.given.explicit


def built_at(room: Room, published: Sequence[Published]) -> datetime:
    """Return when the content of the feed last changed."""
    return max((room.changed_at, *(episode.made_at for _, episode in published)))


def frequency(began: Sequence[datetime]) -> Frequency | None:
    """Tell how often episodes come by when the last ones began, the newest first; None: they are too few, or not
    regular."""
    newest = began[:REGULAR_EPISODES]
    pauses = [newer - older for newer, older in pairwise(newest)]
    if len(newest) < REGULAR_EPISODES:
        return None
    if all(abs(pause - DAY) <= DAY / 6 for pause in pauses):
        return Frequency("FREQ=DAILY", _("Daily"))
    if all(abs(pause - 7 * DAY) <= DAY / 2 for pause in pauses):
        return Frequency("FREQ=WEEKLY", _("Weekly"))
    return None


def item_of(
    published: Published,
    settings: FeedsSettings,
    shelf: Shelf,
    *,
    explicit: bool,
    portraits: Mapping[UserId, BlobKey] = NO_PORTRAITS,
    original: Original | None = None,
    stems: bool = False,
    cover: str | None = None,
    lost: Collection[BlobKey] = (),
) -> Item:
    """Make an item of a recording and its episode. `portraits`: the pictures of its speakers; `original`: its sound as
    it was sent, in one stream; `stems`: with the sound of each speaker of a call; `cover`: the address of a picture of
    its own; `lost`: the files that are gone, of these."""
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
        persons=_persons(recording, shelf, portraits),
        explicit=explicit,
        chapters=shelf.chapters(recording.code) if episode.chapters else None,
        alternates=(
            *(_original(recording, episode, original, shelf) if original and original.blob not in lost else ()),
            *(_stem(recording, stem, shelf) for stem in whole_stems(recording) if stems and stem.blob not in lost),
        ),
        cover=None if recording.cover in lost else cover,
    )


def live_item_of(
    recording: Recording,
    status: LiveStatus,
    settings: FeedsSettings,
    shelf: Shelf,
    *,
    explicit: bool,
    cover: str,
    portraits: Mapping[UserId, BlobKey] = NO_PORTRAITS,
) -> LiveItem:
    """Make the live item of a recording that is on the air, or just was. `cover`: the picture's address."""
    who, when = speakers(recording), spoken_time(recording.started_at, settings.zone)
    return LiveItem(
        guid=stream_guid(recording.event_id),
        status=status,
        title=episode_title(recording, settings.zone),
        description=recording.description or f"{who}, {when}.",
        page=shelf.episode(recording.code),
        alternates=(
            Alternate(shelf.playlist(recording.code), HLS, title="HLS"),
            Alternate(shelf.stream(recording.code), MP3, title="MP3"),
        ),
        started_at=recording.started_at,
        ended_at=recording.ended_at if status is LiveStatus.ENDED else None,
        number=recording.number,
        speakers=who,
        persons=_persons(recording, shelf, portraits),
        explicit=explicit,
        picture=cover,
        link=_("Listen in the browser"),
    )


def may_be_live(recording: Recording, now: datetime) -> bool:
    """Return whether a recording, as it is, has or will have a stage as a live broadcast."""
    if recording.state is RecordingState.LIVE:
        return True
    return recording.ended_at is not None and now - recording.ended_at < ENDED_FOR


def live_status(recording: Recording, now: datetime, *, has_sound: bool) -> LiveStatus | None:
    """Return the stage of a recording as a live broadcast; None: it is none any more, or never was one."""
    if recording.past or recording.unreviewed or not recording.state.may_have_audio:
        return None
    if recording.state is RecordingState.LIVE:
        return LiveStatus.LIVE if has_sound else LiveStatus.PENDING
    if recording.ended_at is None or not has_sound or not timedelta() <= now - recording.ended_at < ENDED_FOR:
        return None
    return LiveStatus.ENDED


def _persons(recording: Recording, shelf: Shelf, portraits: Mapping[UserId, BlobKey]) -> tuple[Person, ...]:
    """Return the speakers, each with their own picture; those who look the same in the feed once."""
    persons: dict[Person, None] = {}
    for credit in credits_of(recording):
        name, portrait = speaker(credit.name), portraits.get(credit.user_id)
        picture = shelf.portrait(portrait) if portrait is not None and name != SOMEBODY else None
        persons[Person(name, picture)] = None
    return tuple(persons)[:MOST_PERSONS]


def _original(recording: Recording, episode: Episode, original: Original, shelf: Shelf) -> Iterator[Alternate]:
    """Yield the original sound where it is of the file that is served."""
    if original.fingerprint == episode.fingerprint:
        title = _("Original sound")
        yield Alternate(shelf.opus(recording.code), OGG, original.bytes, title, OPUS, original.sha384)


def _stem(recording: Recording, stem: WholeStem, shelf: Shelf) -> Alternate:
    title = _("{who} alone").format(who=isolated(stem.name))
    return Alternate(shelf.stem(recording.code, stem.number), OGG, stem.bytes, title, OPUS)


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
