"""Answers to the command of `bot.commands.replay`. Pure."""

from bot.language import _


def told(*, on: bool) -> str:
    if on:
        return _("Replay is on: I post each finished recording here as a voice message.")
    return _("Replay is off: finished recordings are not posted here as voice messages.")


def switched(who: str, *, on: bool, changed: bool) -> str:
    if not changed:
        return _("Replay is already on.") if on else _("Replay is already off.")
    if on:
        return _(
            "Replay is on: {who} switched it on. I post each recording that is finished from now on here as a voice "
            "message, which every Matrix client plays."
        ).format(who=who)
    return _("Replay is off: {who} switched it off. Voice messages that I posted stay.").format(who=who)
