"""Live players, speakers and chapters as the page of a recording shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line, clean_text
from bot.feeds.titles import given_title, speaker, speakers
from bot.language import _
from bot.recording.chunks import is_removed
from bot.recording.kinds import kind_of
from bot.recording.ledger import Entry
from bot.recording.lengths import player_clock
from bot.recording.speakers import name_of
from bot.recording.wording import words_of
from bot.web.airing import Airing
from storage.records import Chunk, Mark, Recording


@dataclass(frozen=True, slots=True)
class LivePlayer:
    """A recording that is live, or has just ended and has no episode yet."""

    code: str
    title: str  # the given title, else the speakers
    speakers: str  # empty where the title names them
    moment: str  # RFC 3339
    since: str
    state: str  # pending, live, ended
    several: bool  # several people may speak
    newest: str  # who speaks, or spoke last, of several
    gone: str  # said in the place of the player when the recording was removed
    waiting: str  # said at the live edge
    waits: bool  # for approval


@dataclass(frozen=True, slots=True)
class ChapterLink:
    """A chapter and where it begins."""

    clock: str
    seconds: float
    title: str


def live_player(airing: Airing, zone: ZoneInfo) -> LivePlayer:
    recording = airing.recording
    words = words_of(recording)
    return LivePlayer(
        code=recording.code,
        title=given_title(recording) or speakers(recording),
        speakers=speakers(recording) if given_title(recording) else "",
        moment=recording.started_at.isoformat(timespec="seconds"),
        since=f"{recording.started_at.astimezone(zone):%H:%M}",
        state=airing.state,
        several=kind_of(recording).several_speakers,
        newest=speaker(airing.newest) if airing.newest is not None else "",
        gone=_(words.gone),
        waiting=_(words.waiting),
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


def notes_of(recording: Recording) -> list[list[str]]:
    """Return the notes of a recording: paragraphs of lines."""
    text = clean_text(recording.description) if recording.description else ""
    return [block.split("\n") for block in text.split("\n\n") if block]


def chapter_link(mark: Mark) -> ChapterLink:
    return ChapterLink(player_clock(mark.at), mark.at / 1000, clean_line(mark.title))
