"""The file that ffmpeg gets for a chunk: the chunk itself, or a copy without its damaged parts."""

from dataclasses import dataclass
from pathlib import Path

from bot.audio.containers import find_repair
from bot.audio.repair import AS_IS, Repair, from_offset, write_parts
from bot.audio.sniff import find
from storage.records import Container

OPUS = Container.OGG_OPUS


@dataclass(frozen=True, slots=True)
class Decodable:
    """A file to decode, and how the sound in it relates to the chunk."""

    path: Path
    container: Container
    repair: Repair = AS_IS


def make_decodable(path: Path, copy: Path, known: Container | None = None) -> Decodable:
    """Return the file to decode for a chunk; it is written to `copy` if bytes have to be left out. Ogg Opus is never
    copied here, since its own reader leaves out damaged pages. Blocking.

    `known`: the container that an earlier inspection found. Raises GiveUp as `find` and `find_repair` do.
    """
    with path.open("rb") as file:
        container, start = find(file)
        if OPUS in (container, known) or known not in (None, container):
            return Decodable(path, known or container)
        view = from_offset(file, start)
        repair = find_repair(view, container)
        if not repair.parts and not start:
            return Decodable(path, container, repair)
        length = file.seek(0, 2)
        with copy.open("wb") as out:
            write_parts(view, repair.parts or ((0, length - start),), out)
    return Decodable(copy, container, repair)
