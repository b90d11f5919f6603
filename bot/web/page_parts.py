"""Recordings, live players, chapters and apps as the templates show them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line
from bot.feeds.titles import date_and_time, episode_title, given_title, speaker, speakers
from bot.language import _, spoken_size, spoken_time
from bot.recording.account import STATES
from bot.recording.chunks import is_removed
from bot.recording.kinds import kind_of
from bot.recording.ledger import Entry
from bot.recording.lengths import player_clock, spoken_length
from bot.recording.speakers import name_of
from bot.recording.wording import words_of
from storage.records import Chunk, Episode, Mark, Recording, RecordingState, to_ms


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """A recording in words; `length` and `size` are empty while it has no audio."""

    code: str
    title: str
    speakers: str  # empty where the title begins with the only one
    moment: str  # RFC 3339
    date: str  # empty where the title ends with it
    length: str
    size: str
    state: str  # a word of the style sheet
    mark: str
    waits: bool  # for approval


@dataclass(frozen=True, slots=True)
class LivePlayer:
    """A recording that is live, or has just ended and has no episode yet."""

    code: str
    speakers: str
    moment: str  # RFC 3339
    since: str
    several: bool  # several people may speak
    newest: str  # who spoke last of several
    gone: str  # said in the place of the player when the recording was removed
    waiting: str  # said at the live edge
    running: bool
    waits: bool  # for approval


@dataclass(frozen=True, slots=True)
class ChapterLink:
    """A chapter and where it begins."""

    clock: str
    seconds: float
    title: str


@dataclass(frozen=True, slots=True)
class AppLink:
    """A link that opens the feed in a podcast app on this device."""

    name: str
    address: str


def episode_row(recording: Recording, episode: Episode | None, zone: ZoneInfo) -> EpisodeRow:
    title = episode_title(recording, zone)
    dated = title.endswith(date_and_time(recording.started_at, zone))
    return EpisodeRow(
        code=recording.code,
        title=title,
        speakers=speakers(recording) if given_title(recording) or len(recording.speakers) > 1 else "",
        moment=recording.started_at.isoformat(timespec="seconds"),
        date="" if dated else spoken_time(recording.started_at, zone),
        length=spoken_length(to_ms(episode.samples)) if episode else "",
        size=spoken_size(episode.bytes) if episode else "",
        state=str(recording.state),
        mark=_(STATES[recording.state]),
        waits=recording.unreviewed,
    )


def live_player(recording: Recording, chunks: Sequence[Chunk], zone: ZoneInfo) -> LivePlayer:
    words = words_of(recording)
    return LivePlayer(
        code=recording.code,
        speakers=speakers(recording),
        moment=recording.started_at.isoformat(timespec="seconds"),
        since=f"{recording.started_at.astimezone(zone):%H:%M}",
        several=kind_of(recording).several_speakers,
        newest=_newest(recording, chunks),
        gone=_(words.gone),
        waiting=_(words.waiting),
        running=recording.state is RecordingState.LIVE,
        waits=recording.unreviewed,
    )


def senders(recording: Recording, chunks: Sequence[Chunk]) -> Callable[[Entry], str] | None:
    """Return the function that names the sender of a ledger's entry; None where one person alone speaks."""
    if not kind_of(recording).several_speakers:
        return None
    names = {chunk.id: speaker(name_of(recording, chunk)) for chunk in chunks}
    of_users = {chunk.sender: names[chunk.id] for chunk in chunks if not is_removed(chunk)}

    def named(entry: Entry) -> str:
        if entry.chunk_id is not None:
            return names[entry.chunk_id]
        return of_users.get(entry.sender, SOMEBODY) if entry.sender else SOMEBODY

    return named


def _newest(recording: Recording, chunks: Sequence[Chunk]) -> str:
    heard = {credit.user_id for credit in recording.speakers}
    if len(heard) < 2:
        return ""
    said = (
        chunk for chunk in chunks if chunk.sender in heard and chunk.stem is None
    )  # in a call all send all the time
    newest = max(said, key=lambda chunk: chunk.position, default=None)
    return "" if newest is None or is_removed(newest) else speaker(name_of(recording, newest))


def chapter_link(mark: Mark) -> ChapterLink:
    return ChapterLink(player_clock(mark.at), mark.at / 1000, clean_line(mark.title))


def app_links(feed: str, *, private: bool) -> list[AppLink]:
    """List links that open a feed in an app. A personal address is offered only to apps that fetch feeds themselves:
    other apps' servers would learn it, and some have put such addresses into a public directory."""
    bare = feed.partition("://")[2]
    local = [AppLink("Apple Podcasts", f"podcast://{bare}"), AppLink("AntennaPod", f"antennapod-subscribe://{bare}")]
    if private:
        return local
    return [
        *local,
        AppLink("Overcast", f"overcast://x-callback-url/add?url={quote(feed, safe='')}"),
        AppLink("Pocket Casts", f"pktc://subscribe/{bare}"),
    ]
