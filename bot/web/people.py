"""The speakers of a recording as its page shows them: name, and portrait or initials. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.feeds.addresses import Shelf
from bot.feeds.mxids import SOMEBODY
from bot.feeds.titles import speaker
from bot.recording.speakers import credits_of
from storage.records import BlobKey, Recording, UserId

MOST_SHOWN = 12
TINTS = 6
BESIDE = Shelf("")
"""Addresses of what lies beside a room's pages, relative to them."""


@dataclass(frozen=True, slots=True)
class Person:
    """A speaker. `portrait`: a relative address, empty where there is none; then `initials` stand there in the colour
    `tint` of the style sheet, which is that of the speaker's voice in the waveform."""

    name: str
    portrait: str
    initials: str
    tint: int


def people_of(recording: Recording, portraits: Mapping[UserId, BlobKey]) -> list[Person]:
    """List the speakers of a recording, those of one name and portrait once, in the order of their first sound."""
    people: dict[tuple[str, BlobKey | None], Person] = {}
    for number, credit in enumerate(credits_of(recording), 1):  # as the timeline numbers voices
        name = speaker(credit.name)
        looks = name, portraits.get(credit.user_id)
        if looks not in people:
            people[looks] = person(name, credit.user_id, portraits, number)
    return list(people.values())


def person(name: str, user_id: UserId, portraits: Mapping[UserId, BlobKey], number: int) -> Person:
    """Make the person with this place in a list, from 1."""
    portrait = portraits.get(user_id)
    return Person(name, BESIDE.portrait(portrait) if portrait else "", initials_of(name), min(number, TINTS))


def initials_of(name: str) -> str:
    """Return one or two letters for a name; a question mark for somebody without one."""
    if name == SOMEBODY:
        return "?"
    words = [word for word in name.split() if word[0].isalnum()] or [name]
    return "".join(word[0] for word in dict.fromkeys((words[0], words[-1]))).upper()
