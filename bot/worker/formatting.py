"""The formatted body of a notice, made from its plain body (Client-Server API, m.room.message msgtypes). Pure.

Everything is escaped; the only tags are those made here:

    `text` in backticks   <code>
    an address            a link to itself
    lines after "• "      a list
    another end of line   <br>
"""

import re
from html import escape
from itertools import groupby

BULLET = "• "

_SPAN = re.compile(r"`(?P<code>[^`\n]+)`|(?P<address>https?://[^\s<>\"'`\\]+)")
_AFTER_ADDRESS = ".,;:!?)"  # end of the sentence around an address


def formatted(body: str) -> str:
    """Return the HTML of a plain text."""
    return "".join(
        _list(lines) if bulleted else "<br>".join(map(_line, lines))
        for bulleted, lines in (
            (bulleted, list(group))
            for bulleted, group in groupby(body.split("\n"), lambda line: line.startswith(BULLET))
        )
    )


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{_line(line.removeprefix(BULLET))}</li>" for line in lines) + "</ul>"


def _line(line: str) -> str:
    parts, end = [], 0
    for span in _SPAN.finditer(line):
        parts.append(escape(line[end : span.start()]))
        parts.append(f"<code>{escape(span['code'])}</code>" if span["code"] else _link(span["address"]))
        end = span.end()
    return "".join([*parts, escape(line[end:])])


def _link(text: str) -> str:
    address = text.rstrip(_AFTER_ADDRESS)
    return f'<a href="{escape(address)}">{escape(address)}</a>{escape(text[len(address) :])}'
