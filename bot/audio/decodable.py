"""The file that ffmpeg gets for a chunk: the chunk itself, or a copy of what is good of it."""

from dataclasses import dataclass
from pathlib import Path

from bot.audio.containers import find, mend
from bot.audio.repair import AS_IT_IS, Mended, behind, write
from storage.records import Container

OPUS = Container.OGG_OPUS


@dataclass(frozen=True, slots=True)
class Standing:
    path: Path
    container: Container
    mended: Mended = AS_IT_IS


def stand_in(path: Path, copy: Path, known: Container | None = None) -> Standing:
    """Writes to `copy` where something has to be left out. Ogg Opus is mended by its own reader. Blocking.

    `known`: the container that it was found to have. Raises GiveUp as find and mend do.
    """
    with path.open("rb") as file:
        container, start = find(file)
        if OPUS in (container, known) or known not in (None, container):
            return Standing(path, known or container)
        view = behind(file, start)
        mended = mend(view, container)
        if not mended.parts and not start:
            return Standing(path, container, mended)
        length = file.seek(0, 2)
        with copy.open("wb") as out:
            write(view, mended.parts or ((0, length - start),), out)
    return Standing(copy, container, mended)
