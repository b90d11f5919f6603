"""The texts of the bot: all of them go through the catalogue, and every language has them all."""

import ast
import importlib.util
import re
from pathlib import Path
from string import Formatter

import pytest

from bot.commands.registry import VERBS
from bot.commands.replies.manual import Group, Who

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("messages", ROOT / ".ci" / "messages.py")
assert SPEC is not None
assert SPEC.loader is not None
messages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(messages)

FILES = messages.files()
WORDS = [
    *sorted((ROOT / "bot/commands/replies").glob("*.py")),
    ROOT / "bot/words.py",
    ROOT / "bot/disclosure.py",
    ROOT / "bot/recording/account.py",
    ROOT / "bot/recording/wording.py",
    ROOT / "bot/recording/broadcast/words.py",
    ROOT / "bot/recording/call/words.py",
    ROOT / "bot/recording/session/words.py",
    ROOT / "bot/recording/lengths.py",
    ROOT / "bot/recording/wrong_lengths.py",
    ROOT / "bot/recording/chapters.py",
    ROOT / "bot/web/rows.py",
    ROOT / "bot/web/recording_parts.py",
    ROOT / "bot/web/recording_page.py",
    ROOT / "bot/web/ledger_table.py",
    ROOT / "bot/web/stem_names.py",
]
"""The modules that hold what the bot says."""
MARKED = {"_", "N_", "plural"}
SENTENCE = re.compile(r"[^\W\d_]{2,}[,:]? [^\W\d_]{2,}")
JINJA = re.compile(r"{#.*?#}|{%.*?%}|{{.*?}}", re.DOTALL)
HTML = re.compile(r"<code>.*?</code>|<[^>]*>", re.DOTALL)
NAMES = {"Aircheck", "Apple Podcasts", "Matroska", "MP3", "Ogg", "Pocket Casts", "ZIP"}
"""Texts that are the same in every language."""


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def is_sentence(text: str) -> bool:
    is_command = text.partition(" ")[0] in VERBS
    return SENTENCE.search(text) is not None and not is_command and text not in NAMES


def unmarked(path: Path) -> list[str]:
    """Return the sentences of a module that no call marks for the catalogue."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) in MARKED]
    known = {id(node) for call in calls for argument in call.args for node in ast.walk(argument)}
    known |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in known]
    return [text for text in texts if isinstance(text, str) and is_sentence(text)]


@pytest.mark.parametrize("path", WORDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_is_marked(path: Path) -> None:
    """Each sentence that the bot says is a literal inside of `_`, `plural` or `N_`."""
    assert unmarked(path) == []


def test_help_is_marked() -> None:
    """Help about each form of a command is in the catalogue."""
    texts = {message.id for message in messages.texts()}
    assert {form.about for verb in VERBS.values() for form in verb.forms} <= texts
    assert {str(who) for who in Who} | {str(group) for group in Group} <= texts


def test_only_literals_are_marked() -> None:
    """No f-string is looked up: it could not be found in a catalogue."""
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "bot").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and called(call) in MARKED
        for argument in call.args[: 2 if called(call) == "plural" else 1]
        if isinstance(argument, ast.JoinedStr | ast.BinOp)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sorted((ROOT / "bot/web/templates").glob("*.html")), ids=lambda path: path.stem)
def test_pages_have_no_text_of_their_own(path: Path) -> None:
    """All text of a template, also in attributes that are read out, comes from the catalogue."""
    source = path.read_text()
    assert set(re.findall(r"[^\W\d_]+\d?", HTML.sub(" ", JINJA.sub("", source)))) <= NAMES
    assert re.findall(r'(?:alt|title|aria-label|placeholder)="[^"{]*[A-Za-z]', source) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.parent.name)
def test_every_language_has_every_text(file: Path) -> None:
    """A catalogue holds the texts of the code and no other, each translated in all its forms."""
    collected = messages.texts()
    texts = {message.id for message in collected}
    assert {message.id for message in messages.read(file)} ^ texts == set(), "run `make messages`"
    assert messages.untranslated(file, collected) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.parent.name)
def test_placeholders_are_those_of_the_text(file: Path) -> None:
    """A translation puts in what the English text puts in, and nothing else; commands stay as they are."""
    for message in messages.read(file):
        texts = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for string in filter(None, strings if message.id else ()):
            assert placeholders(string) <= placeholders(texts[-1]), string
            assert placeholders(string) >= placeholders(texts[0]), string
            assert sorted(re.findall(r"`[^`]*`", string)) in [sorted(re.findall(r"`[^`]*`", text)) for text in texts]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
