"""Answers to the commands of `bot.commands.policies`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.feeds.shown import shown
from bot.language import N_, _, plural, spoken_size
from bot.logged import SWITCHES
from bot.words import without_ping
from storage.records import Change, PodcastTexts, Retention

VALUE_CHARACTERS = 200
"""The longest part of a value that is shown."""
DONE_ONCE = frozenset({"backfill", "backfill messages", "forget"})
"""Commands in the log that changed no setting: there was nothing before them."""
NO_CHANGES = N_("Nothing was changed here so far.")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it is shown: the command that changes it, its value, and whether that is the default."""

    what: str
    value: str
    default: bool


def policy(each: Policy, setter: str | None) -> str:
    """Show a policy. `setter`: who set it and when; None: nobody did."""
    unknown = _("default") if each.default else _("set before I kept a log")
    return f"`{each.what}`: {each.value} · {setter or unknown}"


def setter(who: str, when: str) -> str:
    return f"{who}, {when}"


def by_rule() -> str:
    """Name the bot itself as the one who changed something."""
    return _("a rule of mine")


def switch(on: bool, *, waits: bool = False) -> str:
    if waits:
        return _("on, once my notice is in the room")
    return _("on") if on else _("off")


def retention(rule: Retention, max_days: int | None) -> str:
    if max_days is None:
        return str(rule)
    limit = plural(
        "the administrator lets no room keep more than {count} day",
        "the administrator lets no room keep more than {count} days",
        max_days,
    )
    return f"{rule} ({limit})"


def speakers(names: Sequence[str] | None) -> str:
    return _("all") if names is None else ", ".join(names)


def podcast(texts: PodcastTexts, *, own_cover: bool) -> list[Policy]:
    """Return what was set of the podcast's description; one line where nothing was."""
    fields = ("title", "description", "author", "language", "category", "explicit", "stems")
    given = {field: getattr(texts, field) for field in fields if getattr(texts, field) is not None}
    policies = [Policy(f"podcast {field}", _text(field, value), default=False) for field, value in given.items()]
    if own_cover:
        policies.append(Policy("podcast cover", _("a picture of your own"), default=False))
    return policies or [Policy("podcast", _("as the room is called"), default=True)]


def _text(field: str, value: str | bool) -> str:
    if isinstance(value, bool) and field in SWITCHES:
        return switch(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"“{shown(value)}”"


def space(taken: int, most: int) -> str:
    """Tell the space that the room's recordings take, and may take, in bytes."""
    if not taken:
        return _("No recording takes space.")
    return _("The recordings take {taken} of {most} that they may take.").format(
        taken=spoken_size(taken), most=spoken_size(most)
    )


def change(each: Change, setter: str | None, subject: str | None) -> str:
    """Show a row of the log. `subject`: the recording's code, or the name of a user."""
    command = f"`{each.what}`" if subject is None else f"`{each.what}` {subject}"
    what = f"{setter} · {command}"
    if each.before is None and each.after is None:
        return what
    if each.what in DONE_ONCE:
        return f"{what}: {_value(each.after)}"
    return f"{what}: {_value(each.before)} → {_value(each.after)}"


def _value(value: str | None) -> str:
    if value is None:
        return _("default")
    line = without_ping("".join(filter(str.isprintable, value)))
    return line if len(line) <= VALUE_CHARACTERS else line[: VALUE_CHARACTERS - 1] + "…"
