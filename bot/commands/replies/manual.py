"""Answers to the commands of `bot.commands.manual`, and what `help` knows of each command. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.language import N_, _


class Who(StrEnum):
    """The people who may use a form of a command, as `help` names them."""

    EVERYBODY = N_("everybody")
    MAY_BROADCAST = N_("whoever may begin a voice broadcast here")
    MODERATORS = N_("moderators")
    PUBLISHERS = N_("moderators, or as the administrator decided")
    BROADCASTER = N_("whoever began it, administrators")
    SENDER_OR_MODERATORS = N_("whoever sent that message, moderators, administrators")
    BROADCASTER_OR_MODERATORS = N_("whoever began it, moderators, administrators")
    SPEAKERS_OR_MODERATORS = N_("its speakers, moderators, administrators")


class Group(StrEnum):
    """The groups of `help`, in its order."""

    LISTENING = N_("Listening")
    RECORDING = N_("Recording")
    WALKIE = N_("The walkie-talkie")
    PODCAST = N_("The podcast")
    ONE_RECORDING = N_("One recording")
    YOU = N_("You")
    ROOM = N_("The room and I")


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a command: its words, who may use it, what it does, a right example, and its group in `help`.

    In `usage` small letters are words to write, `|` stands between those of which one is written, capitals and
    brackets stand for what the asker fills in. `usage` and `example` have no prefix.
    """

    usage: str
    who: Who
    about: str
    example: str
    group: Group


def overview(prefix: str, forms: Sequence[Form]) -> str:
    """List all forms, one line each, by group. Who may use a form is told unless everybody may."""
    lines = [_("I record voice broadcasts and voice messages, and make a podcast of them.")]
    for group in Group:
        members = [form for form in forms if form.group is group]
        if members:
            lines += ["", _(group), *(_line(prefix, form) for form in members)]
    more = _("`{prefix} help COMMAND` explains a command, with an example.").format(prefix=prefix)
    return "\n".join([*lines, "", more])


def _line(prefix: str, form: Form) -> str:
    who = "" if form.who is Who.EVERYBODY else f" ({_(form.who)})"
    return f"`{prefix} {form.usage}`{who}: {_(form.about)}"


def details(prefix: str, forms: Sequence[Form]) -> str:
    """Explain forms: who may use each, what it does, and an example."""
    line = _("`{prefix} {usage}` ({who}): {about}. For example: `{prefix} {example}`")
    return "\n".join(
        line.format(prefix=prefix, usage=form.usage, who=_(form.who), about=_(form.about), example=form.example)
        for form in forms
    )


def no_such_command(prefix: str, suggestion: str | None = None) -> str:
    """Answer an unknown command. `suggestion`: a known one that resembles it."""
    return _joined(_("There is no such command."), _did_you_mean(prefix, suggestion), _help_lists(prefix))


def wrong_words(prefix: str, forms: Sequence[Form], suggestion: str | None = None) -> str:
    """Answer words that don't fit a known command, with its forms and an example that is right."""
    usages = _alternatives(f"`{prefix} {form.usage}`" for form in forms)
    say = _("Please say {usages}, for example `{prefix} {example}`.")
    return _joined(
        _("I don't understand that."),
        _did_you_mean(prefix, suggestion),
        say.format(usages=usages, prefix=prefix, example=_telling_example(forms)),
    )


def _telling_example(forms: Sequence[Form]) -> str:
    """Return the first example that shows more than the verb."""
    examples = [form.example for form in forms]
    return next((example for example in examples if " " in example), examples[0])


def _did_you_mean(prefix: str, suggestion: str | None) -> str:
    if suggestion is None:
        return ""
    return _("Did you mean `{prefix} {command}`?").format(prefix=prefix, command=suggestion)


def _help_lists(prefix: str) -> str:
    return _("`{prefix} help` lists all commands.").format(prefix=prefix)


def _alternatives(usages: Iterable[str]) -> str:
    return _(" or ").join(usages)


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
