"""The grammar of commands as the intake asks for it: which messages are kept."""

from dataclasses import dataclass

from bot.commands import unknown
from bot.commands.parse import LONGEST_WORD, Heads, is_command
from bot.commands.registry import VERBS
from storage.records import UserId


@dataclass(frozen=True, slots=True)
class Grammar:
    """All commands, for the bot `us` with its prefix."""

    prefix: str
    us: UserId

    def is_command(self, body: str, name: str | None) -> bool:
        """Return whether a message's body is a command. `name`: the bot's display name if the message mentions it."""
        return is_command(body, Heads(self.prefix, self.us, name))

    def is_command_in_chat(self, body: str) -> bool:
        """Return whether a body without the prefix, said in a direct chat, is a command, or nearly one."""
        words = tuple(body.split(maxsplit=unknown.MOST_WORDS)[: unknown.MOST_WORDS])
        forms = [form for verb in VERBS.values() for form in verb.forms]
        return bool(words) and (words[0][:LONGEST_WORD].lower() in VERBS or unknown.resembles(forms, words))
