"""Descriptions (SDP) and ICE candidates, as all wire formats carry them: read with bounds, and written. Pure."""

import re
from typing import Any

from bot.calls.model import Candidate
from bot.dialects import fields
from bot.recording.model import Rejected

MOST_SDP = 64 * 1024
"""Characters of an SDP; a browser's, for audio and video, has 8,000."""
MOST_CANDIDATE = 1024
SURROGATE = re.compile("[\ud800-\udfff]")
"""A lone surrogate, which JSON can hold, and nothing behind this could encode."""


def sdp(value: object, kind: str) -> str | Rejected:
    """Read a description of this kind (WebRTC, RTCSessionDescriptionInit)."""
    description = fields.mapping(value)
    text = description.get("sdp")
    if description.get("type") != kind or not isinstance(text, str) or not text:
        return Rejected("sdp")
    if len(text) > MOST_SDP:
        return Rejected("too_large")
    return Rejected("sdp") if not text.isascii() and SURROGATE.search(text) else text


def candidate(value: object) -> Candidate | None:
    """Read a candidate (WebRTC, RTCIceCandidateInit). An empty text is the end of candidates."""
    init = fields.mapping(value)
    text, mid = init.get("candidate"), init.get("sdpMid")
    if not isinstance(text, str) or len(text) > MOST_CANDIDATE or not (text.isascii() and text.isprintable()):
        return None
    return Candidate(text, fields.text(mid, 64), fields.whole(init.get("sdpMLineIndex"), 0, 255))


def init_of(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as it is sent."""
    init = {"sdpMid": candidate.sdp_mid, "sdpMLineIndex": candidate.sdp_m_line_index}
    return {"candidate": candidate.candidate, **{name: value for name, value in init.items() if value is not None}}
