"""The schemas of what feeds promise: strict ones of ours, for the podcast namespace has none that knows its tags."""

from functools import cache
from pathlib import Path

from lxml import etree

HERE = Path(__file__).parent


@cache
def schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(HERE / f"{name}.rng"))


def faults(xml: bytes, name: str = "feed") -> list[str]:
    """Return what is wrong with a document, by its schema; nothing where it is as promised."""
    checked = schema(name)
    checked.validate(etree.fromstring(xml))
    return [f"{fault.line}: {fault.message}" for fault in checked.error_log]
