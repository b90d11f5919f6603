"""The media of calls: connections to devices, of which only Opus packets and PCM frames come out.

The modules behind the door are imported late, and only where `installed` says that they can be.
"""

from importlib.util import find_spec


def installed() -> bool:
    """Return whether the extra `calls` is installed."""
    return find_spec("aiortc") is not None
