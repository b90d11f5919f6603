"""Questions, and answers to their confirmation (`bot.commands.confirm`). Pure."""

from bot.language import N_, _

ENDED = N_("That question has ended. Nothing was done; please say the command again.")
NOTHING_TO_CONFIRM = N_("There is nothing to confirm: I have asked you nothing here.")


def question(about: str, prefix: str, seconds: int) -> str:
    how = _("To confirm, say `{prefix} yes` or react to this message with 👍 within {seconds} seconds.")
    return f"{about}\n{how.format(prefix=prefix, seconds=seconds)}"
