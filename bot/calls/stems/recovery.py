"""The recovery of a stem from the file that a crash left.

The file is cut to its last whole page and ended; so it is the stem up to its last sound that was on the disk. Its pages
that are in no slice yet are cut into slices as the writer would have cut them. A slice whose bytes were stored and
whose row was not written is made again with the same id, so it is kept once.

A file does not tell how far the journal was when a run of pages began. If somebody has objected to the stem, only the
window of the last slice that is kept is sure to have begun before: later runs are placed behind the objection.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bot.audio.ogg import ENDS, OggPage, PacketReader, read_pages, write_page
from bot.audio.opus_packets import SILENT_FRAME, length_of, mark_of
from bot.calls.media.door import NOTHING
from bot.calls.stems.slices import slice_of
from bot.calls.stems.stream import FIRST_PAGE, Run, Silence, StemStream
from bot.calls.stems.windows import window_of
from bot.calls.stems.writer import Closed
from bot.errors import GiveUp
from storage.records import BlobKey, Chunk, Position, RecordingId, Samples, Stem
from storage.stem_files import StemFiles


def recovered(
    files: StemFiles, recording_id: RecordingId, stem: Stem, kept: Sequence[Chunk], position: Position
) -> Closed:
    """Repair the file of a stem and return the stem as it ended, with the slices that are not `kept` yet. Raises
    OSError. Blocking."""
    path = files.path(recording_id, stem.number)
    found = _Found(stem, max((_last_page(chunk) + 1 for chunk in kept), default=0))
    with path.open("rb") as file:
        for page in _whole_pages(file):
            found.add(page)
    if not found.number:  # not even its headers
        return silent(files, recording_id, stem)
    end = b"" if found.ended else found.end()
    if end or found.size < path.stat().st_size:
        files.cut(recording_id, stem.number, found.size, end)
    made = [slice_of(stem, found.headers, run, _position(run, stem, kept, position)) for run in found.finished()]
    slices = tuple(each for each in made if each is not None)
    return Closed(
        stem,
        Samples(stem.joined + found.granule),
        Samples(found.received),
        Samples(found.lost),
        _key(path),
        found.size + len(end),
        slices,
        len(kept) + len(slices),
    )


def _position(run: Run, stem: Stem, kept: Sequence[Chunk], last: Position) -> Position:
    """Return the place of a run in the journal. `last`: that of the last slice that is kept, else of the stem."""
    reached = max((chunk.at for chunk in kept if chunk.at is not None), default=stem.joined)
    if stem.cut_at is None or window_of(run.at) <= window_of(reached):
        return last
    return Position(max(last, stem.cut_at + 1))


def silent(files: StemFiles, recording_id: RecordingId, stem: Stem) -> Closed:
    """Make the file of a stem of which nothing is on the disk. Raises OSError. Blocking."""
    stream = StemStream(stem.joined, stem.serial)
    stream.finish(stem.joined)
    files.remove(recording_id, stem.number)
    file = files.create(recording_id, stem.number)
    try:
        file.add(stream.take())
    finally:
        file.close()
    return Closed(stem, stem.joined, NOTHING, NOTHING, file.key, file.size, (), 0)


def unread(stem: Stem, kept: Sequence[Chunk]) -> Closed:
    """Return a stem whose file can't be read now as it ends with its `kept` slices. A later recovery adds its file."""
    samples = [(chunk.at or 0, chunk.facts.samples) for chunk in kept if chunk.facts is not None]
    left = max((Samples(at + length) for at, length in samples), default=stem.joined)
    received = Samples(sum(length for _, length in samples))
    return Closed(stem, left, received, NOTHING, None, 0, (), len(kept))


class _Found:
    """The pages found so far. Only those in no slice yet are held: of the last windows."""

    def __init__(self, stem: Stem, next_page: int) -> None:
        self.headers = b""
        self.size = 0
        self.granule = 0  # at the end of the last page
        self.number = 0  # of the last page
        self.ended = False
        self.received = self.lost = 0
        self._stem = stem
        self._next_page = next_page  # the first in no slice yet
        self._run: list[bytes] = []
        self._run_at = stem.joined
        self._run_number = self._run_offset = 0
        self._sounds = False
        self._runs: list[Run] = []

    def add(self, page: OggPage) -> None:
        at, offset, samples = Samples(self._stem.joined + self.granule), self.size, page.granule - self.granule
        self.size += page.size
        self.granule, self.number, self.ended = page.granule, page.number, page.ends
        if page.number < FIRST_PAGE:
            self.headers += write_page(page)
            return
        sounds = self._count(page, samples)
        if page.number < self._next_page:
            return
        if page.lacing and window_of(at) != window_of(self._run_at):
            self._cut()
        if not self._run:
            self._run_at, self._run_number, self._run_offset = at, page.number, offset
        self._run.append(write_page(page))
        self._sounds = self._sounds or sounds

    def end(self) -> bytes:
        """Return the page that ends the stream."""
        return write_page(OggPage(ENDS, self.granule, self._stem.serial, self.number + 1, b"", b""))

    def finished(self) -> Sequence[Run]:
        """Return the runs of pages that lie in one window, and hold sound that was received."""
        self._cut()
        return self._runs

    def _count(self, page: OggPage, samples: int) -> bool:
        """Count what was received and lost on a page; return whether anything was received. The packets of most pages
        need no look: a long call has millions."""
        if SILENT_FRAME not in page.body:
            self.received += samples
            return samples > 0
        before = self.received
        for packet in PacketReader().feed(page):  # none goes on over pages
            mark, samples = mark_of(packet), length_of(packet) or 0
            self.received += samples if mark is None else 0
            self.lost += samples if mark == Silence.LOST else 0
        return self.received > before

    def _cut(self) -> None:
        if self._sounds:
            self._runs.append(Run(self._run_number, self._run_at, self._run_offset, b"".join(self._run)))
        self._run, self._sounds = [], False


def _whole_pages(file: BinaryIO) -> Iterator[OggPage]:
    """Yield the pages up to the first that is not whole."""
    try:
        yield from read_pages(file)
    except GiveUp:
        return


def _last_page(chunk: Chunk) -> int:
    return chunk.facts.ogg.last_page if chunk.facts and chunk.facts.ogg else 0


def _key(path: Path) -> BlobKey:
    with path.open("rb") as file:
        return BlobKey(hashlib.file_digest(file, "sha256").hexdigest())
