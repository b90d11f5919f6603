"""The small file that open pages ask again and again: what is on the air, and whether the page shows all of it.

`page` names the page's content: when it changes, the pages' script takes the changed parts from the page itself.
"""

import json
from collections.abc import Sequence
from hashlib import sha256

from bot.feeds.titles import speaker, speakers
from bot.recording.kinds import kind_of
from bot.web.airing import Airing

NOW = "now.json"
"""Its file name, below a room's address and at the root."""
DIGEST_CHARACTERS = 16


def content_of(shown: Sequence[object], airings: Sequence[Airing]) -> str:
    """Name the content of a page that shows these things and airings."""
    on_air = [(each.recording.code, each.state, speakers(each.recording)) for each in airings]
    return sha256(repr((*shown, on_air)).encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


def told(page: str, airings: Sequence[Airing]) -> bytes:
    """Return the file. `page`: as `content_of` names it."""
    return json.dumps({"page": page, "live": [_told(each) for each in airings]}, ensure_ascii=False).encode()


def _told(airing: Airing) -> dict[str, object]:
    """Tell of one airing. Sound has a place in time only where it goes on without pauses: of a session of messages
    nobody can say how late it is heard."""
    recording = airing.recording
    kind = kind_of(recording)
    flows = kind.stems or not kind.several_speakers
    return {
        "code": recording.code,
        "state": airing.state,
        "speakers": speakers(recording),
        "speaking": speaker(airing.newest) if airing.newest is not None else None,
        "started_at": recording.started_at.isoformat(timespec="seconds"),
        "arrived_ms": airing.arrived,
        "heard_at": recording.heard_at.isoformat(timespec="milliseconds"),
        "flows": flows,
    }
