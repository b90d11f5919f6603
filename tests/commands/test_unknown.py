"""Words that are no command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import unknown
from bot.commands.registry import VERBS
from bot.commands.replies.manual import Form, Group, Who

PREFIX = "!aircheck"
FORMS = [(verb, form) for verb in VERBS.values() for form in verb.forms]
HELP = "`!aircheck help` lists all commands."


def answer(text: str) -> str:
    return unknown.answer(PREFIX, [form for _, form in FORMS], tuple(text.split()))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("sttaus", "status"),
        ("STATS", "status"),
        ("recrod on", "record on"),
        ("Recrod of", "record off"),
        ("feeds renw", "feed renew"),
        ("titel kfmtra Soup", "title"),
        ("рecord on", "record on"),  # a Cyrillic letter
    ],
)
def test_a_word_that_is_nearly_a_command_gets_it_as_a_suggestion(text: str, meant: str) -> None:
    """The nearest command is suggested, with its fixed words where they are close too."""
    assert answer(text) == f"There is no such command. Did you mean `!aircheck {meant}`? {HELP}"


@pytest.mark.parametrize("text", ["dance", "@room", "http://evil.example", "\u202e", "$x", "1", "a" * 60_000])
def test_what_resembles_no_command_is_not_repeated(text: str) -> None:
    """The answer points to `help` and repeats no word of the message."""
    assert answer(text) == f"There is no such command. {HELP}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [("publish pubic", "publish public"), ("record onn", "record on"), ("feed reniew", "feed renew")],
)
def test_a_second_word_that_is_nearly_right_gets_a_suggestion(words: str, meant: str) -> None:
    """A known command with a wrong word is answered with the right one, its forms, and an example."""
    verb = VERBS[words.split()[0]]
    told = unknown.misfit(PREFIX, verb.forms, tuple(words.split()))
    assert told.startswith(f"I don't understand that. Did you mean `!aircheck {meant}`? Please say ")
    example = next(form.example for form in verb.forms if " " in form.example)
    assert told.endswith(f", for example `!aircheck {example}`.")


def test_the_fixed_words_of_a_form_are_those_in_small_letters_at_its_beginning() -> None:
    """Alternatives are written out; what is filled in ends the fixed words."""

    def phrases(usage: str) -> list[str]:
        form = Form(usage, Who.EVERYBODY, "", "", Group.ROOM)
        return [" ".join(phrase) for phrase in unknown.phrases(form)]

    assert phrases("record on|off") == ["record on", "record off"]
    assert phrases("speakers USER… | all") == ["speakers"]
    assert phrases("retention N days|N episodes|forever") == ["retention"]
    assert phrases("list [n]") == ["list"]


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", max_size=40))
def test_only_known_commands_are_named(text: str) -> None:
    """Whatever was written, an answer holds nothing but our own words and commands that exist."""
    words = tuple(text.split()) or ("x",)
    known = {" ".join(phrase) for verb in VERBS.values() for form in verb.forms for phrase in unknown.phrases(form)}
    named = {*known, *VERBS}
    told = answer(" ".join(words))
    for command in named:
        told = told.replace(f"`!aircheck {command}`", "COMMAND")
    assert told in {
        "There is no such command. COMMAND lists all commands.",
        "There is no such command. Did you mean COMMAND? COMMAND lists all commands.",
    }


@pytest.mark.parametrize(("verb", "form"), FORMS, ids=[form.usage for _, form in FORMS])
def test_every_example_is_right(verb: object, form: Form) -> None:
    """The example of a form begins with its fixed words, and is read as an action that no other form's example has."""
    owner = VERBS[form.usage.split()[0]]
    assert owner is verb
    words = form.example.split()
    assert any(tuple(words[: len(phrase)]) == phrase for phrase in unknown.phrases(form))
    actions = {each.example: repr(owner.read(tuple(each.example.split()[1:]))) for each in owner.forms}
    assert "None" not in actions.values()
    assert len(set(actions.values())) == len(owner.forms)
