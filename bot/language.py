"""The language in which the bot speaks: one catalogue of all that it says in rooms and on pages, by gettext. Pure.

The English text is the key. `speaking` sets the language for what runs inside of it, also in threads that it starts;
outside of it the default holds (`feeds.language`). A text that the catalogue lacks stays English.

    _("Recording is off: {who} switched it off.").format(who=name)

The texts are extracted from the code, so `_` and `plural` take literals only; `N_` marks a literal that is translated
where it is used. Dates and numbers in sentences are written as the language writes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.core import Locale, UnknownLocaleError
from babel.dates import format_date, get_month_names
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations

CATALOGUES = Path(__file__).parent / "locale"
DOMAIN = "aircheck"
ENGLISH = "en"

_default = ENGLISH
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def configure(language: str) -> None:
    """Set the default of this process, a language tag such as `de` or `pt-BR`, and read all catalogues."""
    global _default
    _default = language
    for known in languages():
        _texts(known)  # reading one takes longer than the event loop may stand


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


def written() -> str:
    """Return the tag of the language that texts have now: English where the present one has no catalogue."""
    tag = current()
    return tag if tag.partition("-")[0] in _known() else ENGLISH


def locale() -> Locale:
    """Return the locale of the language that texts have now, for dates and numbers."""
    return _locale(written())


@lru_cache(maxsize=32)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale(ENGLISH)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(tag.partition("-")[0] for tag in languages())


def languages() -> tuple[str, ...]:
    """Return the tags of all languages that the bot speaks, English first."""
    others = sorted(path.parent.parent.name for path in CATALOGUES.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
    return (ENGLISH, *others)


def catalogue_of(language: str) -> Path:
    """Return the file with the texts of a language."""
    return CATALOGUES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


@lru_cache(maxsize=32)
def _texts(language: str) -> NullTranslations:
    """Read the catalogue of a language, else that of the language without its region."""
    if language not in languages():
        base = language.partition("-")[0]
        return _texts(base) if base != language else NullTranslations()
    if language == ENGLISH:
        return NullTranslations()
    with catalogue_of(language).open("rb") as source:
        catalogue = read_po(source, locale=language.replace("-", "_"), abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def _(text: str) -> str:
    """Return a text in the language that is spoken now."""
    return str(_texts(current()).gettext(text))


def plural(one: str, many: str, count: int, **values: object) -> str:
    """Return the form of a text for this number, in the language that is spoken now. `{count}` and the values are put
    in."""
    return str(_texts(current()).ngettext(one, many, count)).format(count=count, **values)


def N_(text: str) -> str:  # noqa: N802 (gettext's own name)
    """Mark a text for the catalogue, and return it as it is."""
    return text


def spoken_number(number: float, decimals: int = 0) -> str:
    """Write a number as the language does: `4,000`, `1.5`."""
    return str(format_decimal(number, "#,##0" + "." * bool(decimals) + "0" * decimals, locale()))


def spoken_list(parts: Sequence[str]) -> str:
    """Write a list as the language does: `a, b, and c`."""
    return str(format_list(parts, locale=locale()))


def spoken_size(count: int) -> str:
    """Write a number of bytes: `50 GB`, `53.7 MB`, `12 kB`."""
    if count >= 1_000_000_000:
        return f"{spoken_number(count / 1_000_000_000, 1)} GB"
    return f"{spoken_number(count / 1_000_000, 1)} MB" if count >= 100_000 else f"{max(1, count // 1000)} kB"


def spoken_date(moment: datetime, zone: ZoneInfo) -> str:
    """Write a date as the language does: `20 November 2026`."""
    spoken = locale()
    day_first = _locale("en-GB") if spoken.language == ENGLISH else spoken
    return str(format_date(moment.astimezone(zone), "long", day_first))


def spoken_month(year: int, number: int) -> str:
    """Write a month as the language does: `November 2026`."""
    return str(format_date(date(year, number, 1), "LLLL y", locale()))


def month_names() -> tuple[tuple[str, str], ...]:
    """Return the months from January on, each with its letter and its whole name."""
    letters, names = (get_month_names(width, "stand-alone", locale()) for width in ("narrow", "wide"))
    return tuple((letters[number], names[number]) for number in range(1, 13))


def spoken_moment(moment: datetime, zone: ZoneInfo) -> str:
    """Write a date and a time of day with its zone: `20 November 2026, 14:05 (UTC)`."""
    return f"{spoken_time(moment, zone)} ({zone.key})"


def spoken_time(moment: datetime, zone: ZoneInfo) -> str:
    """Write a date and a time of day: `20 November 2026, 14:05`."""
    return f"{spoken_date(moment, zone)}, {moment.astimezone(zone):%H:%M}"
