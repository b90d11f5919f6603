"""The table of kinds is whole, and nobody else asks for a recording's kind."""

import ast
from pathlib import Path

from bot.recording.kinds import KINDS
from storage.records import RecordingKind

BOT = Path(__file__).parents[2] / "bot"
MAY_NAME_A_KIND = {
    BOT / "recording/kinds.py",
    BOT / "recording/report.py",  # shows it
    BOT / "recording/wording.py",  # the table of their words
    *(BOT / "calls").rglob("*.py"),
    *(BOT / "recording/broadcast").glob("*.py"),
    *(BOT / "recording/call").glob("*.py"),
    *(BOT / "recording/session").glob("*.py"),
}


def test_each_kind_has_its_line() -> None:
    """Every kind that storage knows has a machine, a layout and chapters."""
    assert set(KINDS) == set(RecordingKind)


def test_nobody_asks_for_the_kind_of_a_recording() -> None:
    """Outside of the table and a kind's own modules no code names a kind, reads `recording.kind`, or takes another
    field for it: the protocol, or whether there are stems."""
    asking = []
    for path in sorted(set(BOT.rglob("*.py")) - MAY_NAME_A_KIND):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Name(id="RecordingKind", lineno=line):
                    asking.append(f"{path.relative_to(BOT)}:{line}")
                case (
                    ast.Attribute(attr="kind" | "protocol", value=value, lineno=line)
                    | ast.If(test=ast.Attribute(attr="stems", value=value), lineno=line)
                    | ast.IfExp(test=ast.Attribute(attr="stems", value=value), lineno=line)
                ) if "recording" in (text := ast.unparse(value)) and not text.startswith("kind_of("):
                    asking.append(f"{path.relative_to(BOT)}:{line}")
    assert asking == []
