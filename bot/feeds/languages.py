"""Language tags of feeds (RSS `language`; BCP 47), and the tag that somebody probably meant. Pure."""

import re
from difflib import get_close_matches
from functools import lru_cache

from babel.core import Locale

from bot.language import languages

_TAG = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8}){0,3}")
LONGEST_NAME = 60
"""Longest text that is compared with names of languages: comparing takes quadratic time."""


def language_tag(text: str) -> str | None:
    """Return a language tag as it is usually written (`de`, `pt-BR`); None for a text that is none, or names no
    language."""
    if not _TAG.fullmatch(text):
        return None
    language, *others = text.lower().split("-")
    if language not in _names(Locale("en")).values():
        return None
    return "-".join([language, *map(_usual, others)])


def _usual(subtag: str) -> str:
    """Write a region in capitals and a script with one, as BCP 47 recommends."""
    return subtag.upper() if len(subtag) == 2 else subtag.title() if len(subtag) == 4 else subtag


def nearest_language(text: str) -> str | None:
    """Return the tag that was meant: written in another way (`en_US`), or by a name in a language that the bot speaks,
    or by a similar name."""
    if tag := language_tag(text.replace("_", "-")):
        return tag
    names = {name: tag for spoken in languages() for name, tag in _names(Locale.parse(spoken, sep="-")).items()}
    close = get_close_matches(text.strip().casefold()[:LONGEST_NAME], names, n=1, cutoff=0.75)
    return names[close[0]] if close else None


@lru_cache(maxsize=32)
def _names(spoken: Locale) -> dict[str, str]:
    """Return the tags of all languages by their names in one language."""
    return {name.casefold(): tag for tag, name in spoken.languages.items() if tag.isascii() and tag.isalpha()}
