"""Pages of long answers: `list 20 2` is the second page of twenty lines. Pure."""

from dataclasses import dataclass

from bot.commands.parse import Words, number

MOST_LINES = 20
"""The longest page, in lines."""
MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an answer: so many lines each, from 1 on."""

    lines: int
    number: int = 1

    @property
    def offset(self) -> int:
        """The lines on the pages before."""
        return (self.number - 1) * self.lines

    @property
    def next(self) -> str:
        """The words that ask for the page after this."""
        return f"{self.lines} {self.number + 1}"


def page_of(words: Words, default: int, most: int) -> Page | None:
    """Parse `[n] [page]`; None where they don't fit. More lines than a page may have are cut, not refused, up to
    `most`."""
    match words:
        case ():
            return Page(default)
        case (lines,):
            count = number(lines, most)
            return Page(min(count, MOST_LINES)) if count else None
        case (lines, page):
            count, which = number(lines, most), number(page, MOST_PAGES)
            return Page(min(count, MOST_LINES), which) if count and which else None
        case _:
            return None
