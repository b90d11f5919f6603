"""The ID3v2.4 tag of an episode (https://id3.org/id3v2.4.0-frames, chapters: https://id3.org/id3v2-chapters-1.0)."""

import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mutagen.id3 import (
    APIC,
    CHAP,
    COMM,
    CTOC,
    ID3,
    TALB,
    TCON,
    TDRC,
    TIT2,
    TLEN,
    TPE1,
    BitPaddedInt,
    CTOCFlags,
    Encoding,
    PictureType,
)

from storage.records import DurationMs, Mark

MAX_CHAPTERS = 255  # a table of contents counts them in one byte
MAX_TEXT = 1000  # characters
HEAD = 10  # bytes of the header of a tag, and of that of a frame
NAME = len("chp000")  # bytes of a chapter's element id, which determines the order of chapters
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")  # a NUL would split a value in two


@dataclass(frozen=True, slots=True)
class EpisodeTags:
    """The values of a tag. Names come from strangers and are cleaned here. `cover` is JPEG or PNG, empty for none."""

    title: str
    artists: tuple[str, ...]
    album: str
    date: datetime  # aware
    cover: bytes
    cover_mime: str
    comment: str | None = None
    chapters: tuple[Mark, ...] = ()


STEP = 128 * 1024
"""Bytes: a tag has a multiple of this length. The sound keeps its place in the file when the tag is written anew, so
that a download that began with the old tag can be resumed."""
MOST_COVER = 96 * 1024
"""Bytes of the picture in a tag: with it, the texts of almost every episode fit into one step."""


def id3(tags: EpisodeTags, length: DurationMs, *, wanted: int = 0) -> bytes:
    """Return the tag as bytes, padded to `wanted` bytes where it fits, else to a multiple of STEP; the same values give
    the same bytes."""
    tag = ID3()
    for kind, text in ((TIT2, tags.title), (TALB, tags.album), (TCON, "Podcast")):
        tag.add(kind(encoding=Encoding.UTF8, text=plain(text)))
    tag.add(TPE1(encoding=Encoding.UTF8, text=[plain(artist) for artist in tags.artists]))
    tag.add(TDRC(encoding=Encoding.UTF8, text=f"{tags.date.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"))
    tag.add(TLEN(encoding=Encoding.UTF8, text=str(length)))
    if tags.comment:
        tag.add(COMM(encoding=Encoding.UTF8, lang="und", desc="", text=plain(tags.comment)))
    if tags.cover:
        cover = APIC(
            encoding=Encoding.LATIN1, mime=tags.cover_mime, type=PictureType.COVER_FRONT, desc="", data=tags.cover
        )
        tag.add(cover)
    _add_chapters(tag, tags.chapters, length)
    file = io.BytesIO()
    tag.save(file, v1=0, v2_version=4, padding=lambda _: 0)
    return _padded(_chapters_last(file.getvalue()), wanted)


def _padded(tag: bytes, wanted: int) -> bytes:
    """Return the tag with zeros behind its frames (ID3v2.4 structure, section 3.3)."""
    size = wanted if len(tag) <= wanted else -(-len(tag) // STEP) * STEP
    stated: bytes = BitPaddedInt.to_str(size - HEAD, width=4)
    return tag[: HEAD - 4] + stated + tag[HEAD:].ljust(size - HEAD, b"\0")


def _chapters_last(tag: bytes) -> bytes:
    """Return the tag with its chapters in the order of time. mutagen orders frames by their sizes, and not all players
    read the table of contents."""
    head, at = HEAD, HEAD
    frames = []
    while at < len(tag):
        end = at + head + BitPaddedInt(tag[at + 4 : at + 8])
        frames.append(tag[at:end])
        at = end
    others = [frame for frame in frames if not frame.startswith(b"CHAP")]
    chapters = [frame for frame in frames if frame.startswith(b"CHAP")]
    chapters.sort(key=lambda frame: frame[head : head + NAME])
    return b"".join([tag[:head], *others, *chapters])


def plain(text: str) -> str:
    """Return the text as one line without control characters, of at most MAX_TEXT characters."""
    return _CONTROL.sub(" ", text).strip()[:MAX_TEXT]


def _add_chapters(tag: ID3, chapters: tuple[Mark, ...], length: DurationMs) -> None:
    """Add the chapters, each lasting until the next. Chapters after the end of the sound are left out."""
    inside = sorted((chapter for chapter in chapters if 0 <= chapter.at < length), key=lambda c: c.at)
    inside = inside[:MAX_CHAPTERS]
    if not inside:
        return
    ends = [chapter.at for chapter in inside[1:]] + [length]
    names = [f"chp{number:03}" for number in range(len(inside))]
    flags = CTOCFlags.TOP_LEVEL | CTOCFlags.ORDERED
    tag.add(CTOC(element_id="toc", flags=flags, child_element_ids=names, sub_frames=[]))
    for name, chapter, end in zip(names, inside, ends, strict=True):
        title = TIT2(encoding=Encoding.UTF8, text=plain(chapter.title))
        unused = 0xFFFFFFFF  # no byte offsets: the times are used
        tag.add(
            CHAP(
                element_id=name,
                start_time=chapter.at,
                end_time=end,
                start_offset=unused,
                end_offset=unused,
                sub_frames=[title],
            )
        )
