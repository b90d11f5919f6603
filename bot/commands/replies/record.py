"""Answers to the commands of `bot.commands.record`. Pure."""

from bot.language import _, plural


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
