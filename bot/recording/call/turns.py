"""Speakers of a call and their turns: a chapter for each turn of ten seconds or more. Pure.

- Pauses of less than 3 s are part of a turn, and those between words and sentences, up to a second, of the speech.
- Turns of several speakers may overlap.
- Whoever is not heard for half a second in all has coughed, and is no speaker.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from bot.recording.chapters import CLOSEST, MOST
from bot.recording.kind import BREATH, Named, Speech
from bot.recording.ledger import Ledger
from bot.recording.model import Spoken
from storage.records import SAMPLE_RATE, Chunk, Credit, DurationMs, Mark, Recording, Samples, Turn, UserId, to_ms

JOINED_OVER = Samples(3 * SAMPLE_RATE)
LONG = Samples(10 * SAMPLE_RATE)
MOST_TURNS = 2_000  # that a recording's row holds
_COUGH = Samples(SAMPLE_RATE // 2)


class _Stretch(NamedTuple):
    begin: int
    end: int
    name: str | None

    @property
    def samples(self) -> Samples:
        return Samples(self.end - self.begin)


def spoken(recording: Recording, heard: Iterable[Speech]) -> Spoken:
    """Return who speaks in a call, in the order of their first speech, and their long turns."""
    stems = {stem.number: stem for stem in recording.stems if not stem.removed}
    each: dict[UserId, list[_Stretch]] = defaultdict(list)
    for speech in heard:
        if (stem := stems.get(speech.stem)) is not None:
            each[stem.user_id].append(_Stretch(speech.begin, speech.end, stem.name))
    speakers: list[tuple[int, Credit]] = []
    turns: list[Turn] = []
    for user, stretches in each.items():
        speech_of = _joined(stretches, BREATH)
        length = Samples(sum(stretch.samples for stretch in speech_of))
        if length < _COUGH:
            continue
        speakers.append((speech_of[0].begin, Credit(user, speech_of[0].name, length)))
        turns += (
            Turn(user, turn.name, Samples(turn.begin), turn.samples)
            for turn in _joined(speech_of, JOINED_OVER)
            if turn.samples >= LONG
        )
    speakers.sort(key=lambda each: (each[0], each[1].user_id))
    turns.sort(key=lambda turn: (turn.at, turn.user_id))
    return Spoken(tuple(credit for _, credit in speakers), tuple(turns[:MOST_TURNS]))


def _joined(stretches: Iterable[_Stretch], pause: int) -> list[_Stretch]:
    """Join stretches with shorter pauses between them."""
    joined: list[_Stretch] = []
    for stretch in sorted(stretches, key=lambda each: each[:2]):
        if joined and stretch.begin - joined[-1].end < pause:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, stretch.end))
        else:
            joined.append(stretch)
    return joined


def chapters(
    recording: Recording, _chunks: Iterable[Chunk], _ledger: Ledger, _title: str | None, named: Named
) -> tuple[Mark, ...]:
    """Return a chapter for each turn, once they are known. Of turns that begin within a second, the later chapter is
    moved behind it."""
    return tuple(islice(_apart(recording.turns, named), MOST))


def _apart(turns: Iterable[Turn], named: Named) -> Iterator[Mark]:
    least = DurationMs(0)
    for turn in turns:
        at = max(to_ms(turn.at), least)
        if at < to_ms(turn.at + turn.samples):
            yield Mark(at, named(turn.name))
            least = DurationMs(at + CLOSEST)
