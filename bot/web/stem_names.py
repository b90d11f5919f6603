"""Names and labels for the downloads of a call's stems. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.feeds.text import clean_line
from bot.feeds.titles import speaker
from bot.language import _, spoken_size
from bot.recording.lengths import player_clock, spoken_length
from storage.records import SAMPLE_RATE, BlobKey, Recording, Samples, Stem, to_ms

NAME_CHARACTERS = 60
LABELS_FILE = "labels.txt"
MOST_TRACKS = 64
"""Tracks of a Matroska file of all stems: their files are open together. The zip takes any number."""
_UNFIT = str.maketrans('/\\:*?"<>|', "---------")


@dataclass(frozen=True, slots=True)
class WholeStem:
    """A stem that can be downloaded."""

    number: int
    name: str  # to show
    joined: Samples
    left: Samples
    blob: BlobKey
    bytes: int

    @property
    def file_name(self) -> str:
        """The name to save it under: numbers tell apart who has the same name, or was in more than once."""
        return f"{self.number:02} {fit_for_files(self.name)}.ogg"


@dataclass(frozen=True, slots=True)
class StemRow:
    """A stem in words."""

    number: int
    name: str
    at: str
    seconds: float
    length: str
    size: str


def whole_stems(recording: Recording) -> tuple[WholeStem, ...]:
    """Return the stems of a recording that can be downloaded: those that are whole, of which nothing was taken out, and
    in which something was received."""
    return tuple(
        WholeStem(stem.number, speaker(stem.name), stem.joined, stem.left, stem.blob, stem.bytes or 0)
        for stem in recording.stems
        if stem.blob is not None and stem.left is not None and stem.received and not stem.removed
    )


def fit_for_files(name: str) -> str:
    """Return a name that any file system takes."""
    return clean_line(name, NAME_CHARACTERS).translate(_UNFIT).strip(". ") or "-"


def stem_row(stem: WholeStem) -> StemRow:
    at = to_ms(stem.joined)
    length = spoken_length(to_ms(stem.left - stem.joined))
    return StemRow(stem.number, stem.name, player_clock(at), at / 1000, length, spoken_size(stem.bytes))


def labels(recording: Recording) -> str:
    """Return Audacity's label track of a call: the turns of speech, and who joined and left. A line has begin and end
    in seconds, and a text, with tabs between."""
    turns = [(turn.at, turn.at + turn.samples, speaker(turn.name)) for turn in recording.turns]
    marks = [mark for stem in recording.stems if not stem.removed for mark in _marks(stem)]
    lines = sorted([*turns, *marks])
    return "".join(f"{begin / SAMPLE_RATE:.6f}\t{end / SAMPLE_RATE:.6f}\t{text}\n" for begin, end, text in lines)


def _marks(stem: Stem) -> Iterable[tuple[int, int, str]]:
    name = speaker(stem.name)
    yield stem.joined, stem.joined, _("{who} joins").format(who=name)
    if stem.left is not None:
        yield stem.left, stem.left, _("{who} leaves").format(who=name)
