"""The language in which the bot speaks: one catalogue of all that it says in rooms and on pages, by gettext. Pure.

The English text is the key. `speaking` sets the language for what runs inside of it, also in threads that it starts;
outside of it the default holds (`feeds.language`). A text that the catalogue lacks stays English.

    _("Recording is off: {who} switched it off.").format(who=name)

The texts are extracted from the code, so `_` and `plural` take literals only; `N_` marks a literal that is translated
where it is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from babel.core import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

CATALOGUES = Path(__file__).parent / "locale"
DOMAIN = "aircheck"
ENGLISH = "en"

_default = ENGLISH
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def configure(language: str) -> None:
    """Set the default of this process, a language tag such as `de` or `pt-BR`."""
    global _default
    _default = language


@contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Speak this language inside the block; None: the default."""
    token = _chosen.set(language)
    try:
        yield
    finally:
        _chosen.reset(token)


def current() -> str:
    """Return the tag of the language that is spoken now."""
    return _chosen.get() or _default


def locale() -> Locale:
    """Return the locale of the language that is spoken now, for dates and numbers; English where it is unknown."""
    try:
        return Locale.parse(current(), sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale(ENGLISH)


def languages() -> tuple[str, ...]:
    """Return the tags of all languages that the bot speaks, English first."""
    others = sorted(path.parent.parent.name for path in CATALOGUES.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
    return (ENGLISH, *others)


@lru_cache(maxsize=32)
def _texts(language: str) -> NullTranslations:
    """Read the catalogue of a language, else that of the language without its region."""
    for tag in (language, language.partition("-")[0]):
        file = CATALOGUES / tag / "LC_MESSAGES" / f"{DOMAIN}.po"
        if tag.isascii() and tag.replace("-", "").isalnum() and file.is_file():
            with file.open("rb") as source:
                catalogue = read_po(source, locale=tag.replace("-", "_"), abort_invalid=True)
            compiled = BytesIO()
            write_mo(compiled, catalogue)
            compiled.seek(0)
            return Translations(compiled)
    return NullTranslations()


def _(text: str) -> str:
    """Return a text in the language that is spoken now."""
    return str(_texts(current()).gettext(text))


def plural(one: str, many: str, count: int) -> str:
    """Return the form of a text for this number, in the language that is spoken now. `{count}` is put in."""
    return str(_texts(current()).ngettext(one, many, count)).format(count=count)


def N_(text: str) -> str:  # noqa: N802 (gettext's own name)
    """Mark a text for the catalogue, and return it as it is."""
    return text
