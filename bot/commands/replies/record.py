"""Answers to the commands of `bot.commands.record`. Pure."""


def recording_on(who: str, *, changed: bool) -> str:
    if not changed:
        return "Recording is already on."
    return f"Recording is on: {who} switched it on. I keep the voice broadcasts that begin here from now on."


def recording_off(who: str, running: int, *, changed: bool) -> str:
    if not changed and not running:
        return "Recording is already off."
    ended = {0: "", 1: " The broadcast that is running is closed here."}.get(
        running, f" The {running} broadcasts that are running are closed here."
    )
    return f"Recording is off: {who} switched it off.{ended} What was recorded before stays."
