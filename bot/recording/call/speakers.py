"""The speakers of a call: who is heard in it, which is known once it was mixed. Pure."""

from collections.abc import Iterable

from bot.recording.ledger import Ledger
from bot.recording.speakers import Speaker
from storage.records import Chunk, Credit, Recording, Samples


def speakers(recording: Recording, _chunks: Iterable[Chunk], _ledger: Ledger) -> tuple[Speaker, ...]:
    """Return the speakers, in the order of their first speech."""
    return tuple(
        Speaker(Credit(credit.user_id, credit.name), credit.heard or Samples(0)) for credit in recording.speakers
    )
