"""The documents of a feed, by the numbers of recordings (RFC 5005). Pure.

`feed.xml` holds the newest blocks of numbers for as long as they are few episodes; every older block is an archive
document of its own, whose address holds the same whatever is published later. No episode is in two documents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.feeds.addresses import Shelf
from bot.feeds.model import Paging
from storage.records import Reach

MOST_IN_FEED = 100
"""The episodes that `feed.xml` holds at most; a block has half as many."""
OLD_PAGE = 300
"""The episodes on one of the numbered pages of feeds, `feed-2.xml` and so on, in earlier versions."""

_NAME = re.compile(r"feed(?:-([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?)?\.xml")


@dataclass(frozen=True, slots=True)
class DocumentName:
    """The name of a document: of the feed itself (no numbers), of a block of recordings in a part of the line of rooms,
    or of a numbered page of earlier versions (`part` alone)."""

    part: int = 0
    block: int = 0

    @property
    def is_feed(self) -> bool:
        return not self.part

    @property
    def is_old_page(self) -> bool:
        return bool(self.part) and not self.block

    def on(self, shelf: Shelf) -> str:
        """Return the document's address."""
        return shelf.archive(self.part, self.block) if self.block else shelf.feed


FEED = DocumentName()


def document_named(name: str) -> DocumentName | None:
    """Return the document of this file name; None where no document can have it."""
    numbers = _NAME.fullmatch(name)
    return DocumentName(int(numbers[1] or 0), int(numbers[2] or 0)) if numbers else None


@dataclass(frozen=True, slots=True)
class Block:
    """A block of recordings: of which part of the line of rooms, and how many of them are listed."""

    name: DocumentName
    reach: Reach
    listed: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The blocks of a feed in which something is listed, the newest first; the first `in_feed` are in the feed itself,
    the others are archive documents."""

    blocks: tuple[Block, ...]
    in_feed: int

    @property
    def listed(self) -> int:
        """The number of episodes in all documents."""
        return sum(block.listed for block in self.blocks)

    def within(self, name: DocumentName) -> tuple[Block, ...]:
        """Return the blocks of a document; none where there is no such document."""
        if name.is_feed:
            return self.blocks[: self.in_feed]
        return tuple(block for block in self.blocks[self.in_feed :] if block.name == name)

    def content_of(self, name: DocumentName) -> tuple[object, ...]:
        """Return a key of what a document holds and of its links. Listeners whose documents have the same hear the same
        in it: of what began after they joined, later joins reach the newest only, so that the numbers tell which."""
        within = tuple(
            (block.name, block.reach.room_id, block.reach.always, block.listed) for block in self.within(name)
        )
        return name, within, self.paging(name, Shelf(""))

    def paging(self, name: DocumentName, shelf: Shelf) -> Paging | None:
        """Return the links to the neighbours of a document; None where it is the only one."""
        archive = [block.name for block in self.blocks[self.in_feed :]]
        if not archive:
            return None
        place = -1 if name.is_feed else archive.index(name)
        older = archive[place + 1].on(shelf) if place + 1 < len(archive) else None
        if name.is_feed:
            return Paging(first=shelf.feed, next=older, prev_archive=older)
        return Paging(
            first=shelf.feed,
            previous=archive[place - 1].on(shelf) if place else shelf.feed,
            next=older,
            current=shelf.feed,
            prev_archive=older,
            next_archive=archive[place - 1].on(shelf) if place else None,
            archive=True,
        )


def outline_of(parts: Sequence[tuple[int, Reach, Mapping[int, int]]]) -> Outline:
    """Arrange the documents of a feed. `parts`: the rooms of the line by their numbers, the newest room first, each
    with the number of listed episodes of its blocks."""
    blocks = tuple(
        Block(DocumentName(part, number), reach, counts[number])
        for part, reach, counts in parts
        for number in sorted(counts, reverse=True)
    )
    in_feed = total = 0
    for block in blocks:
        total += block.listed
        if in_feed and total > MOST_IN_FEED:
            break
        in_feed += 1
    return Outline(blocks, in_feed)


def may_exist(name: DocumentName, highest: Mapping[int, int], block: int) -> bool:
    """Return whether there may be a document, by the highest number of a recording in each part of the line of rooms,
    and the size of a `block`. So nothing is read for what never was."""
    if name.is_feed:
        return True
    if name.is_old_page:
        return 1 < name.part <= -(-sum(highest.values()) // OLD_PAGE)
    return name.block <= -(-highest.get(name.part, 0) // block)
