"""Dummies in place of what differs from run to run, or is secret, in captured JSON."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.livekit.token_service import legacy_identity, member_identity, room_alias

ROOM = "!kitchen:example.org"
BEGAN_MS = 1_800_000_000_000
AGE_MS = 100

TIMES = ("origin_server_ts", "sent_ts", "created_ts")
NAMES = (
    (r"@(ann|ben|cem)\d+-\d+:localhost:\d+", r"@\1:example.org"),
    (r"(ann|ben|cem)\d+-\d+", r"\1"),
    (r"localhost:\d+", "example.org"),
    (r"http://127\.0\.0\.1:\d+", "https://rtc.example.org"),
    (r"ws://127\.0\.0\.1:\d+", "wss://sfu.example.org"),
)
COUNTED = (
    (r"\$[\w-]{43}", "$event{}"),
    (r"syd_\w+", "syd_delay{}"),
    (r"m\d{13}\.\d+", "m{}.0"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "00000000-0000-4000-8000-{:012}"),
)

SECRETS = ("access_token", "ciphertext", "sender_key", "session_id", "transaction_id")


class Dummies:
    """Dummies for one capture: the same value has the same dummy everywhere in it."""

    def __init__(self, room_id: str, devices: Mapping[str, str]) -> None:
        self._names = {room_id: ROOM, **devices}
        self._counted: dict[str, dict[str, str]] = {}

    def put(self, captured: dict[str, Any]) -> dict[str, Any]:
        """Return a copy with dummies. Times keep their order, a second apart."""
        times = sorted(_times(captured))
        self._times = {time: BEGAN_MS + 1000 * rank for rank, time in enumerate(dict.fromkeys(times))}
        replaced: dict[str, Any] = self._replaced(captured)
        token = replaced["token"]
        token["answer"]["jwt"] = _unsigned(token["body"])
        return replaced

    def _replaced(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {self._text(key): self._replaced(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._replaced(item, name) for item in value]
        if isinstance(value, str):
            return self._secret(name, value) or self._text(value)
        if name in TIMES:
            return self._times[value]
        if name == "age":
            return AGE_MS
        if name == "msc4354_sticky_duration_ttl_ms":
            return 3_600_000 - AGE_MS
        return value

    def _secret(self, name: str, value: str) -> str | None:
        """Return a dummy for what a name says is secret, or means nothing without what is."""
        if name == "key":
            known = self._counted.setdefault(name, {})
            return known.setdefault(value, dummy_key(len(known)))
        return f"dummy_{name}" if name in SECRETS else None

    def _text(self, text: str) -> str:
        for old, new in self._names.items():
            text = text.replace(old, new)
        for pattern, new in NAMES:
            text = re.sub(pattern, new, text)
        for pattern, form in COUNTED:
            text = re.sub(pattern, lambda match, pattern=pattern, form=form: self._count(pattern, form, match[0]), text)  # type: ignore[misc]
        return text

    def _count(self, pattern: str, form: str, value: str) -> str:
        known = self._counted.setdefault(pattern, {})
        return known.setdefault(value, form.format(len(known) + 1))


def dummy_key(number: int) -> str:
    """Return a media key of 16 bytes, in Base64."""
    return base64.b64encode(bytes(range(16 * number, 16 * number + 16))).decode()


def _unsigned(asked: Mapping[str, Any]) -> str:
    """Return the token that is the answer to a request, with no valid signature."""
    member = asked.get("member")
    if member is None:
        room, identity = room_alias(ROOM), legacy_identity("@ann:example.org", asked["device_id"])
    else:
        room = room_alias(ROOM, asked["slot_id"])
        identity = member_identity(member["claimed_user_id"], member["claimed_device_id"], member["id"])
    video = {"room": room, "roomJoin": True, "canPublish": True, "canSubscribe": True}
    claims = {"iss": "dummy", "sub": identity, "nbf": BEGAN_MS // 1000, "exp": BEGAN_MS // 1000 + 3600, "video": video}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join((*texts, "dummy"))


def _times(value: Any, name: str = "") -> list[int]:
    if isinstance(value, dict):
        return [time for key, item in value.items() for time in _times(item, key)]
    if isinstance(value, list):
        return [time for item in value for time in _times(item, name)]
    return [value] if name in TIMES and isinstance(value, int) else []
