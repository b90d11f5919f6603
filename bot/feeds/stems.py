"""The stems of a call that can be downloaded. Pure."""

from dataclasses import dataclass

from bot.feeds.text import clean_line
from bot.feeds.titles import speaker
from storage.records import BlobKey, Recording, Samples

NAME_CHARACTERS = 60
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
