"""Chunks as Element Web sent them in its broken eras, made of healthy ones.

After a resume its recorder sent the headers of the run before, or no headers from the second chunk on
(https://github.com/element-hq/element-ios/issues/7311). All functions take chunks in the order of their sound.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bot.audio.ogg import OggPage, read_pages, write_page


@dataclass(frozen=True)
class Parts:
    """A healthy chunk, taken apart."""

    headers: tuple[OggPage, ...]
    sound: tuple[OggPage, ...]

    @property
    def serial(self) -> int:
        return self.sound[0].serial


def parts(chunk: bytes) -> Parts:
    pages = tuple(read_pages(io.BytesIO(chunk)))
    return Parts(pages[:2], pages[2:])


def joined(*pages: Iterable[OggPage]) -> bytes:
    return b"".join(write_page(page) for each in pages for page in each)


def headers_of_the_run_before(chunks: Sequence[bytes]) -> list[bytes]:
    """Break chunks as from 2022-10-20 to 2022-11-25: both headers before the first chunk of a resumed run, the old ones
    before the others."""
    made = []
    old: tuple[OggPage, ...] = ()
    for chunk, first in _with_firsts(chunks):
        if first:
            made.append(joined(old, chunk.headers, chunk.sound))
        else:
            made.append(joined(old or chunk.headers, chunk.sound))
        old = old or chunk.headers
    return made


def no_headers(chunks: Sequence[bytes]) -> list[bytes]:
    """Break chunks as from 2022-11-25 to 2023-01-31: only the first chunk of a resumed run has headers."""
    runs = 0
    made = []
    for chunk, first in _with_firsts(chunks):
        runs += first
        made.append(joined(chunk.headers, chunk.sound) if first or runs == 1 else joined(chunk.sound))
    return made


def _with_firsts(chunks: Sequence[bytes]) -> Iterator[tuple[Parts, bool]]:
    """Yield each chunk, and whether it is the first of its run."""
    before: int | None = None
    for chunk in map(parts, chunks):
        yield chunk, chunk.serial != before
        before = chunk.serial


def bare(chunk: bytes) -> bytes:
    """Return a chunk without its headers."""
    return joined(parts(chunk).sound)


def page_by_page(chunks: Sequence[bytes]) -> list[bytes]:
    """Cut the same sound into chunks of one page."""
    return [joined(chunk.headers, [page]) for chunk in map(parts, chunks) for page in chunk.sound]


def tailed(chunks: Sequence[bytes]) -> list[bytes]:
    """Move the end of the run, a page without packets, into a chunk of its own, as when a stop falls on the end of a
    page."""
    last = parts(chunks[-1])
    *sound, end = last.sound
    tail = OggPage(4, -1, end.serial, end.number + 1, b"", b"")
    return [*chunks[:-1], joined(last.headers, sound, [replace(end, flags=0)]), joined(last.headers, [tail])]
