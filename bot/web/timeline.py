"""Timelines of episodes, as their waveforms show them: gaps, chapters, who speaks. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.feeds.text import clean_line
from bot.feeds.titles import speaker
from bot.language import _
from bot.recording.ledger import Ledger
from storage.records import SAMPLE_RATE, Chunk, Episode, Recording, Samples, UserId

MOST_SPANS = 2_000
"""Stretches of speech, and gaps, that a timeline holds."""
MOST_VOICES = 50

Span = tuple[float, float]  # begin and length in seconds


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker, and when they speak. Their place in the list is their colour, on avatars too."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The timeline of an episode. `voices`: the speakers of one in which several speak, in the order of their first
    sound."""

    seconds: float
    gaps: tuple[Span, ...]
    voices: tuple[Voice, ...]
    chapters: tuple[tuple[float, str], ...]

    def told(self, bars: str | None) -> dict[str, object]:
        """Return what the pages' script draws. `bars`: the waveform, one byte for each bar, in base64."""
        return {
            "duration": self.seconds,
            "bars": bars,
            "gaps": self.gaps,
            "missing": _("missing"),
            "voices": [{"name": voice.name, "spans": voice.spans} for voice in self.voices],
            "chapters": self.chapters,
        }


def timeline_of(recording: Recording, episode: Episode, chunks: Sequence[Chunk], ledger: Ledger) -> Timeline:
    """Make the timeline of an episode from the recording's ledger."""
    gaps = [_span(gap.position, gap.samples) for gap in ledger.gaps[:MOST_SPANS]]
    return Timeline(
        seconds=round(episode.samples / SAMPLE_RATE, 2),
        gaps=tuple(gaps),
        voices=_voices(recording, chunks, ledger) if len(recording.speakers) > 1 else (),
        chapters=tuple((mark.at / 1000, clean_line(mark.title)) for mark in episode.chapters),
    )


def _voices(recording: Recording, chunks: Iterable[Chunk], ledger: Ledger) -> tuple[Voice, ...]:
    """Return the voices of a recording: the long turns of a call, else the messages of each sender."""
    spoken: Iterable[tuple[UserId, Samples, Samples]] = [
        (turn.user_id, turn.at, turn.samples) for turn in recording.turns
    ] or _messages(chunks, ledger)
    names = {credit.user_id: speaker(credit.name) for credit in recording.speakers[:MOST_VOICES]}
    spans: dict[UserId, list[Span]] = {user: [] for user in names}
    for user, at, samples in spoken:
        if user in spans and len(spans[user]) < MOST_SPANS:
            spans[user].append(_span(at, samples))
    return tuple(Voice(names[user], _joined(each)) for user, each in spans.items())


def _messages(chunks: Iterable[Chunk], ledger: Ledger) -> Iterable[tuple[UserId, Samples, Samples]]:
    senders = {chunk.id: chunk.sender for chunk in chunks}
    return [
        (senders[entry.chunk_id], entry.position, entry.samples)
        for entry in ledger.entries
        if entry.sounds and entry.chunk_id is not None and entry.chunk_id in senders
    ]


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Join spans that follow one another within two seconds: a waveform shows no more."""
    joined: list[Span] = []
    for at, length in spans:
        if joined and at - sum(joined[-1]) < 2:
            joined[-1] = (joined[-1][0], round(at + length - joined[-1][0], 2))
        else:
            joined.append((at, length))
    return tuple(joined)


def _span(position: int, samples: int) -> Span:
    return round(position / SAMPLE_RATE, 2), round(samples / SAMPLE_RATE, 2)
