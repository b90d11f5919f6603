"""Answers to the commands of `bot.commands.announce`. Pure."""

from bot.language import N_, _
from storage.records import Announce

HOW = {
    Announce.ON: N_("Recordings are announced by a notice when they begin, and by one when they are published."),
    Announce.QUIET: N_(
        "When a recording begins, the message that begins it gets a reaction; when it is published, a notice says so."
    ),
    Announce.OFF: N_(
        "Recordings are not announced. What is recorded here stands in the pinned notice, and in the room's state for "
        "clients that show it."
    ),
}


def how(announce: Announce) -> str:
    return _(HOW[announce])


def chosen(who: str, announce: Announce) -> str:
    """Answer a change. `who`: the moderator."""
    return _("{how} {who} set it.").format(how=how(announce), who=who)
