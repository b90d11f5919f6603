"""Answers to the commands of `bot.commands.language`. Pure."""

from babel.core import Locale

from bot.language import _, languages, locale, written


def spoken(prefix: str) -> str:
    """Tell the room's language, and which others there are."""
    told = _("I speak {language} here (`{code}`).").format(language=_name(written()), code=written())
    return f"{told} {_choice(prefix)}"


def chosen(who: str, *, changed: bool) -> str:
    """Tell the new language, in it."""
    if not changed:
        return _("I already speak {language} here.").format(language=_name(written()))
    return _("From now on I speak {language} here and on the podcast's pages: {who} chose it.").format(
        language=_name(written()), who=who
    )


def unknown(prefix: str) -> str:
    return f"{_('I do not speak that language.')} {_choice(prefix)}"


def _choice(prefix: str) -> str:
    known = ", ".join(f"{Locale.parse(code, sep='-').get_display_name()} (`{code}`)" for code in languages())
    return _("I can speak: {languages}. A moderator chooses with `{prefix} language CODE`.").format(
        languages=known, prefix=prefix
    )


def _name(code: str) -> str:
    """Name a language in the language that is spoken now."""
    return Locale.parse(code, sep="-").get_display_name(locale()) or code
