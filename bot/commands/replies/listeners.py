"""Answers to the commands of `bot.commands.listeners`. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from bot.feeds.shown import shown
from bot.language import N_, _, plural, spoken_moment
from storage.records import ListenerUse

LATELY = timedelta(days=30)

NO_ADDRESS = N_("You have no personal address of any podcast.")


def counted(working: int, lately: int) -> str:
    """Tell how many personal addresses work, and how many of them were used lately."""
    many = plural("{count} member has a personal address", "{count} members have a personal address", working)
    used = plural("{count} address was used", "{count} addresses were used", lately)
    return _("{members}; {addresses} in the last {days} days.").format(members=many, addresses=used, days=LATELY.days)


def own(addresses: Sequence[tuple[str | None, ListenerUse | None]], zone: ZoneInfo, prefix: str) -> str:
    """List the asker's addresses by the name of the room: when each was last used, and by which app."""
    if not addresses:
        return _(NO_ADDRESS)
    lines = [f"• {_room(name)}: {_use(use, zone)}" for name, use in addresses]
    renew = _("If that was not you, say `{prefix} feed renew` in the room.").format(prefix=prefix)
    return "\n".join([_("Your personal addresses, and when each was last used:"), *lines, renew])


def _room(name: str | None) -> str:
    return (shown(name) if name else "") or _("a room without a name")


def _use(use: ListenerUse | None, zone: ZoneInfo) -> str:
    if use is None:
        return _("not used yet")
    return f"{spoken_moment(use.used_at, zone)}, {shown(use.app) or _('by an app that gives no name')}"
