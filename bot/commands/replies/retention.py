"""Answers to the commands of `bot.commands.retention`. Pure."""

from collections.abc import Sequence

from bot import words
from bot.language import _, plural, spoken_number


def changed(who: str, told: str, *, warn_days: int) -> str:
    """Answer a new rule. `told`: how long recordings stay by it."""
    warned = plural(
        "I tell this room {count} day before one goes; not one goes sooner.",
        "I tell this room {count} days before one goes; not one goes sooner.",
        warn_days,
    )
    answer = _("{told} {who} set it.").format(told=told, who=who)
    return f"{answer} {warned}" if warn_days else answer


def unchanged(told: str) -> str:
    return _("{told} That was the rule already.").format(told=told)


def coming(lines: Sequence[str], prefix: str, *, unlisted: int, at_once: bool) -> str:
    """Tell what the rule will delete. `lines`: one for each recording, as `words.expiring` makes them, but for those
    that are `unlisted`; `at_once`: the room is not told first."""
    if not lines:
        return _("Nothing has to go so far.")
    count, listed = len(lines) + unlisted, words.listed(lines, unlisted)
    if at_once:
        first = plural("This recording goes now:", "These {count} recordings go now:", count)
        return "\n".join([first, *listed])
    first = plural("This recording goes:", "These {count} recordings go:", count)
    keep = _("`{prefix} keep CODE` keeps one.").format(prefix=prefix)
    return "\n".join([first, *listed, keep])


def kept_count(count: int) -> str:
    """Tell how many recordings are kept."""
    return plural("{count} recording is kept for good.", "{count} recordings are kept for good.", count)


def out_of_bounds(what: str, most: int, prefix: str) -> str:
    """Refuse a number. `what`: the unit as it was written."""
    answer = _(
        "That is no number of {what} that I can keep: say one from 1 to {most}, for example `{prefix} retention 30 "
        "{what}`. `{prefix} delete CODE` deletes a recording now. Nothing was changed."
    )
    return answer.format(what=what, most=spoken_number(most), prefix=prefix)


def kept(code: str, who: str) -> str:
    return _("{code} is kept: {who} said so. Retention leaves it alone.").format(code=code, who=who)


def kept_already(code: str) -> str:
    return _("{code} is kept already.").format(code=code)


def no_longer_kept(code: str, who: str, told: str) -> str:
    """Answer `unkeep`. `told`: how long recordings stay in the room."""
    return _("{code} is no longer kept: {who} said so. {told}").format(code=code, who=who, told=told)


def not_kept(code: str) -> str:
    return _("{code} is not kept, so retention may end it.").format(code=code)
