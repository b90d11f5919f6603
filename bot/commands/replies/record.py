"""Answers to the commands of `bot.commands.record`. Pure."""

from collections.abc import Sequence

from bot.language import N_, _, plural

KINDS = {"broadcasts": N_("voice broadcasts")}
"""The kinds of what is recorded (`bot.disclosure.recorded`), as they are told."""


def told(recorded: Sequence[str], prefix: str, *, waits: bool) -> str:
    """Tell what is recorded in a room."""
    if waits:
        return _(
            "I record nothing here yet: recording begins when my notice is in the room, or when a moderator says "
            "`{prefix} record on`."
        ).format(prefix=prefix)
    if not recorded:
        return _("I record nothing here. A moderator can say `{prefix} record on`.").format(prefix=prefix)
    kinds = ", ".join(_(KINDS[kind]) for kind in recorded)
    return _("I record here: {kinds}. Say `{prefix} optout` if I should record nothing of you.").format(
        kinds=kinds, prefix=prefix
    )


def switched(setter: str, *, on: bool) -> str:
    """Tell who switched recording on or off, and when."""
    said = _("Switched on by {setter}.") if on else _("Switched off by {setter}.")
    return said.format(setter=setter)


def only_some(prefix: str) -> str:
    return _("Only some members are recorded: `{prefix} speakers` names them.").format(prefix=prefix)


def recording_on(who: str, *, changed: bool) -> str:
    if not changed:
        return _("Recording is already on.")
    return _("Recording is on: {who} switched it on. I keep the voice broadcasts that begin here from now on.").format(
        who=who
    )


def recording_off(who: str, running: int, *, changed: bool) -> str:
    if not changed and not running:
        return _("Recording is already off.")
    told = [_("Recording is off: {who} switched it off.").format(who=who)]
    if running:
        told.append(
            plural(
                "The broadcast that is running is closed here.",
                "The {count} broadcasts that are running are closed here.",
                running,
            )
        )
    return " ".join([*told, _("What was recorded before stays.")])
