"""Words that are no command: what is nearly one, and everything else. Pure.

An answer repeats nothing that somebody wrote, since the whole room reads it: it names known commands only.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import product

from bot.commands.parse import LONGEST_WORD, Words
from bot.commands.replies import manual as replies
from bot.commands.replies.manual import Form

CLOSE = 0.7
"""The least `SequenceMatcher.ratio` of a word and the one that was meant."""
MOST_WORDS = 3
"""The longest phrase that is looked for."""

_ALTERNATIVES = re.compile(r"[a-z]+(?:\|[a-z]+)*")


def answer(prefix: str, forms: Iterable[Form], words: Words) -> str:
    """Answer words of which the first is no verb. `forms`: those of all commands."""
    return replies.no_such_command(prefix, _nearest(words, _known(forms)))


def misfit(prefix: str, forms: Sequence[Form], words: Words) -> str:
    """Answer words of which the first is a verb, and the others fit none of its forms."""
    longer = {phrase for form in forms for phrase in phrases(form) if len(phrase) > 1}
    return replies.wrong_words(prefix, forms, _nearest(words, longer))


def resembles(forms: Iterable[Form], words: Words) -> bool:
    """Return whether the words are nearly a command."""
    return _nearest(words, _known(forms)) is not None


def phrases(form: Form) -> tuple[Words, ...]:
    """Return the ways to write the fixed words that a form begins with: `record on`, `record off`."""
    fixed = []
    for token in form.usage.split():
        if not _ALTERNATIVES.fullmatch(token):
            break
        fixed.append(token.split("|"))
    return tuple(product(*fixed))


def _known(forms: Iterable[Form]) -> frozenset[Words]:
    """Return the fixed words of all forms, and their verbs."""
    return frozenset(shorter for form in forms for phrase in phrases(form) for shorter in (phrase, phrase[:1]))


def _nearest(words: Words, known: Iterable[Words]) -> str | None:
    """Return the known phrase of which each word resembles the one that was written: the longest, then the closest."""
    candidates = [
        (len(phrase), closeness, phrase) for phrase in known if (closeness := _closeness(words, phrase)) is not None
    ]
    return " ".join(max(candidates)[2]) if candidates else None


def _closeness(words: Words, phrase: Words) -> float | None:
    """Return how close the words are to the phrase, up to 1; None where one of them differs too much."""
    if len(words) < len(phrase):
        return None
    written = [word[:LONGEST_WORD].lower() for word in words[: len(phrase)]]
    ratios = [SequenceMatcher(None, *pair).ratio() for pair in zip(written, phrase, strict=True)]
    return sum(ratios) if min(ratios) >= CLOSE else None
