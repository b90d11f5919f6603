"""Names and labels for the downloads of a call's stems. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.feeds.stems import WholeStem
from bot.feeds.titles import speaker
from bot.language import _, spoken_size
from bot.recording.lengths import player_clock, spoken_length
from storage.records import SAMPLE_RATE, Recording, Stem, to_ms

LABELS_FILE = "labels.txt"
MOST_TRACKS = 64
"""Tracks of a Matroska file of all stems: their files are open together. The zip takes any number."""


@dataclass(frozen=True, slots=True)
class StemRow:
    """A stem in words."""

    number: int
    name: str
    at: str
    seconds: float
    length: str
    size: str


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
