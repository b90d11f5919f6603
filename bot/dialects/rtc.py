"""Transports and sticky member events of MatrixRTC, from raw JSON to the little of them that is kept. Pure.

Read as matrix-js-sdk 43.0.0 does: src/matrixrtc/membershipData/rtc.ts (MSC4143), src/models/room-sticky-events.ts and
event.ts (MSC4354), src/matrixrtc/LivekitTransport.ts (MSC4195).

- A sticky event is known by its sender and its sticky key, once it is decrypted. (js-sdk up to 42 looked for the key
  before, and so replaced no encrypted one.) One without a sticky key is none.
- Transports are in `transports.published`; up to 42 they were in `rtc_transports`.
- The newest event of a key counts alone. js-sdk returns to the one before when the newest is redacted; here the member
  is gone.
"""

import hashlib
import json
from base64 import b64encode
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from bot import facts
from bot.dialects import fields
from bot.dialects.state import UNPLACED
from bot.event_types import ENCRYPTED, RTC_MEMBER, SEALED_STICKY, STICKY_FIELD
from storage.records import HeardEvent, Json, SessionId, StateEvent, UserId

STICKY_KEY = "msc4354_sticky_key"
LEFT_OF_IT = "msc4354_sticky_duration_ttl_ms"
"""In `unsigned`: the time for which an event is sticky yet, by the homeserver's clock."""
LONGEST = timedelta(hours=1)
"""The longest time for which an event is sticky (MSC4354)."""
ANY_MS = 1 << 53
"""The highest number that JSON can hold exactly."""
LIVEKIT = "livekit"
MOST_ADDRESS = 2000
MOST_SEALED = 8192
"""The longest ciphertext that is kept: a member's event has about 1,000 characters."""
EXPIRES = "expires_ts"
"""In the content that is kept of a sticky event: until when it is sticky."""
EVENT = "event"
"""In the content that is kept of a sealed one: the event, as far as it takes to decrypt it."""


# ---- transports


def service_url(transports: object) -> str | None:
    """Return the address of the token service of the transport that a member sends to, the first in its list; None
    where it is not one of LiveKit, or its address makes no sense."""
    transport = fields.mapping(transports[0]) if isinstance(transports, list | tuple) and transports else fields.NOTHING
    return service_address(transport.get("livekit_service_url")) if transport.get("type") == LIVEKIT else None


def service_address(value: object) -> str | None:
    """Return the address of a token service in the form in which two of the same service are equal. Clients append a
    path to it, so that one with a query is none."""
    text = fields.text(value, MOST_ADDRESS)
    try:
        parts = urlsplit(text or "")
        port = parts.port
    except ValueError:
        return None
    if text is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    if parts.username is not None or parts.password is not None or "?" in text or "#" in text:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}{'' if port in (None, usual) else f':{port}'}{parts.path.rstrip('/')}"


# ---- sticky events


def sticky_until(heard: HeardEvent, now: datetime) -> datetime | None:
    """Return until when an event is sticky; None for one that is not, or not any more."""
    duration = fields.whole(fields.mapping(heard.event.get(STICKY_FIELD)).get("duration_ms"), 1, ANY_MS)
    if duration is None or "state_key" in heard.event:
        return None
    left = fields.whole(fields.mapping(heard.event.get("unsigned")).get(LEFT_OF_IT), 0, ANY_MS)
    if left is not None:
        until = now + min(timedelta(milliseconds=left), LONGEST)
    else:
        until = min(now, fields.sent_at(heard.event) or now) + min(timedelta(milliseconds=duration), LONGEST)
    return until if until > now else None


def kept_sticky(heard: HeardEvent, until: datetime) -> StateEvent | None:
    """Read an event that is sticky until then and is kept: of a member of a call, or one that can't be decrypted yet;
    None for any other. Of a member who has left the time alone is kept: no older event of the same key counts then."""
    sender, kind = fields.sender_of(heard.event), fields.type_of(heard.event)
    is_sealed = heard.session_id is not None
    if sender is None or kind != (ENCRYPTED if is_sealed else RTC_MEMBER):
        return None
    content = fields.mapping(heard.event.get("content"))
    sticky_key = heard.event_id if is_sealed else content.get(STICKY_KEY)
    if not isinstance(sticky_key, str) or max(len(sticky_key), len(heard.event_id)) > fields.MAX_ID:
        return None
    wrapper = _wrapper(heard.event, content) if is_sealed else None
    if is_sealed and wrapper is None:
        return None
    expires = {EXPIRES: (until - facts.EPOCH) // timedelta(milliseconds=1)}
    return StateEvent(
        room_id=heard.room_id,
        type=SEALED_STICKY if is_sealed else RTC_MEMBER,
        state_key=digest(sender, sticky_key),
        sender=sender,
        content=expires | ({EVENT: wrapper} if is_sealed else _member(content, sender)),
        position=UNPLACED,
        event_id=heard.event_id,
        sent_at=fields.sent_at(heard.event),
    )


def expiry(kept: StateEvent) -> datetime:
    """Return until when an event is sticky that is kept; of a redacted one, until when it may be."""
    expires = fields.whole(kept.content.get(EXPIRES), 0, facts.LAST_TIME_MS)
    if expires is None:
        return (kept.sent_at or facts.EPOCH) + LONGEST
    return facts.EPOCH + timedelta(milliseconds=expires)


def sealed_sticky(kept: StateEvent) -> HeardEvent | None:
    """Return the sealed event that is kept; None for one that was redacted."""
    event = fields.mapping(kept.content.get(EVENT))
    session_id = fields.text(fields.mapping(event.get("content")).get("session_id"))
    if session_id is None or kept.event_id is None:
        return None
    return HeardEvent(kept.room_id, kept.event_id, event, encrypted=True, session_id=SessionId(session_id))


def digest(*words: str) -> str:
    """Return the hash by which MatrixRTC names participants and rooms: unpadded base64 of the SHA-256 of a list of
    texts, as JSON without spaces (rtc.ts, `computeRtcIdentityRaw`)."""
    text = json.dumps(words, separators=(",", ":"), ensure_ascii=False)
    return b64encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()).decode().rstrip("=")


def _wrapper(event: Json, content: Json) -> dict[str, object] | None:
    """Return of a sealed event what decrypts it; None for one that is too long for a member of a call."""
    sealed = {name: content[name] for name in ("algorithm", "ciphertext", "session_id") if name in content}
    if any(not isinstance(value, str) or len(value) > MOST_SEALED for value in sealed.values()):
        return None
    wrapper = {name: event[name] for name in ("type", "event_id", "sender", "origin_server_ts") if name in event}
    return {**wrapper, "content": sealed}


def _member(content: Json, sender: UserId) -> dict[str, object]:
    """Read the content of a member event; empty for one of a member who has left, and for a malformed one."""
    member, application = fields.mapping(content.get("member")), fields.mapping(content.get("application"))
    member_id, device_id = fields.text(member.get("id")), fields.device_id(member.get("device_id"))
    slot, kind = fields.text(content.get("slot_id")), fields.text(application.get("type"))
    if member.get("user_id") != sender or None in (member_id, device_id, slot, kind):
        return {}
    transports = fields.mapping(content.get("transports")).get("published", content.get("rtc_transports"))
    if not isinstance(transports, list) or not f"{slot}".startswith(f"{kind}#"):
        return {}
    return {
        "slot_id": slot,
        "member_id": member_id,
        "device_id": device_id,
        "service_url": service_url(transports),
    }
