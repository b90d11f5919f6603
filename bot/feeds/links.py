"""Web addresses in texts that people wrote: the parts of a text that may become links. Pure.

Only http and https, so that no link runs a script or opens another program.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_ADDRESS = 2000
_ADDRESS = re.compile(r"""https?://[^\s<>"'`{}|\\^\x00-\x20]+""", re.IGNORECASE)
_AFTER = ".,;:!?…*_~"
_BRACKETS = {")": "(", "]": "[", "»": "«", "”": "“"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text; `address` is None where it is no link."""

    text: str
    address: str | None = None


def parts_of(text: str) -> Iterator[Part]:
    """Divide a text into links and what lies between them; joined, their texts are the text. An address that was cut
    with an ellipsis leads elsewhere, and is no link."""
    done = 0
    for match in _ADDRESS.finditer(text):
        address = _without_end(match[0])
        if not _is_address(address) or "…" in match[0][len(address) :]:
            continue
        begin = match.start()
        if done < begin:
            yield Part(text[done:begin])
        yield Part(address, address)
        done = begin + len(address)
    if done < len(text):
        yield Part(text[done:])


def _without_end(address: str) -> str:
    """Cut off what belongs to the sentence: `(see https://example.org/a_(b)).` ends with its own bracket."""
    while address:
        last = address[-1]
        opening = _BRACKETS.get(last)
        if last in _AFTER or (opening and address.count(last) > address.count(opening)):
            address = address[:-1]
        else:
            return address
    return address


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.username is None and len(address) <= LONGEST_ADDRESS
    except ValueError:
        return False
