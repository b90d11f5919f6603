"""Answers to the commands of `bot.commands.manual`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a command: its words, who may use it, what it does."""

    usage: str
    who: str
    about: str


def overview(prefix: str, forms: Sequence[Form]) -> str:
    lines = [f"`{prefix} {form.usage}`: {form.about}" for form in forms]
    return "\n".join(["I record this room's voice broadcasts and make a podcast of them.", *lines])


def details(prefix: str, forms: Sequence[Form]) -> str:
    return "\n".join(f"`{prefix} {form.usage}` ({form.who}): {form.about}" for form in forms)


def wrong_words(prefix: str, forms: Sequence[Form]) -> str:
    ways = " or ".join(f"`{prefix} {form.usage}`" for form in forms)
    return f"I don't understand that. Please say {ways}."
