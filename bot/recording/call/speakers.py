"""The speakers of a call: who speaks in it, which is known once it was mixed, and who takes part. Pure."""

from collections.abc import Iterable

from bot.recording.ledger import Ledger
from bot.recording.speakers import Speaker, add_sound, senders
from storage.records import Chunk, Credit, Recording, Samples, UserId


def speakers(recording: Recording, _chunks: Iterable[Chunk], ledger: Ledger) -> tuple[Speaker, ...]:
    """Return the speakers, in the order of their first speech. While the call runs, return all of whom there is sound:
    who only listens sends sound too."""
    if recording.speakers or not recording.state.is_open:
        return tuple(Speaker(Credit(each.user_id, each.name), each.heard or Samples(0)) for each in recording.speakers)
    stems = {stem.number: stem for stem in recording.stems}
    found: dict[UserId, Speaker] = {}
    for entry in ledger.entries:
        for part in sorted(entry.parts, key=lambda part: part.at - part.lead):
            stem = stems[part.stem]
            add_sound(found, stem.user_id, stem.name, part.lead + part.samples)
    return tuple(found.values())


def taking_part(recording: Recording, chunks: Iterable[Chunk]) -> frozenset[UserId]:
    """Return the members whose sound a call holds or waits for. Whoever began it need not be in it."""
    there = {stem.user_id for stem in recording.stems if stem.left is None and not stem.removed}
    return senders(chunks) | there
