"""The voice channels of MXVC (mtorials/matrix-voice-channels): who is in one, and messages, read and written. Pure.

Both as its README says and as its page really sends, which differ (docs/calls.md). A room has one channel. Its devices
are known by names that they choose: the state key. All goes through the room's timeline, in clear.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

from bot import facts
from bot.calls.model import (
    Answered,
    Call,
    Candidates,
    Device,
    LegId,
    Member,
    Message,
    Offered,
    Received,
    Send,
)
from bot.calls.wire import webrtc
from bot.dialects import fields
from bot.event_types import CALL_SIGNAL, CALL_STATE
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import CallProtocol, Json, StateEvent, UserId

REFRESH = timedelta(seconds=10)
"""The age at which the bot's own entry is written again."""
DEAD_AFTER = timedelta(seconds=20)
"""The age at which the page gives up an entry; it refreshes its own after 15 s."""
DEAD_AFTER_README = timedelta(seconds=10)
"""The same by the README, whose timestamps are texts."""
DEAD_WITHOUT_TIMESTAMP = timedelta(hours=1)
"""The same for clients that never refresh: as long as an entry of MSC3401 lasts."""
LATE_AFTER = timedelta(seconds=60)
"""The age at which a message counts for nothing: it was sent before the bot was there."""
MARK = " [REC]"
MOST_MEMBERS = 320
"""Devices of a channel that are read, the oldest entries first."""
MOST_NAME = 255
"""Bytes of a state key (Client-Server API, size limits)."""


# ---- who is in a channel


def calls_of(
    state: Iterable[StateEvent], joined: Collection[UserId], us: Device, now: datetime, _recorded: Collection[str] = ()
) -> tuple[Call, ...]:
    """Return the channel of a room that has one; there may be nobody in it. `joined`: the users in the room. Left out
    are all devices of the bot's user, which it may have had under other names, and whoever took its name."""
    entries = [event for event in state if event.type == CALL_STATE]
    if not entries:
        return ()
    others = [event for event in entries if event.sender != us.user_id and event.state_key != us.device_id]
    present = sorted((event for event in others if event.sender in joined), key=_age)
    members = [member for event in present if (member := _member(event, now)) is not None][:MOST_MEMBERS]
    return (Call(CallProtocol.MXVC, "", members[0].event_id if members else None, tuple(members)),)


def _age(event: StateEvent) -> int:
    return event.position


def _member(event: StateEvent, now: datetime) -> Member | None:
    """Read the entry of a device; None where it is not in the channel."""
    name = _name(event.state_key)
    if name is None or event.content.get("join_state") != "JOINED":
        return None
    expires = _expires(event)
    if expires <= now:
        return None
    return Member(Device(event.sender, name), event.event_id, expires, event.sent_at)


def _expires(event: StateEvent) -> datetime:
    """Return when an entry is given up: reckoned from its timestamp, by the device's clock, or from the time at which
    the homeserver took it, whichever is later. A clock that is ahead counts for one refresh."""
    stamp = event.content.get("timestamp")
    written = _time(stamp)
    age = DEAD_WITHOUT_TIMESTAMP if written is None else DEAD_AFTER_README if isinstance(stamp, str) else DEAD_AFTER
    sent = event.sent_at or written or facts.EPOCH
    return max(sent, min(written or sent, sent + age)) + age


def _time(value: object) -> datetime | None:
    """Read a time in milliseconds, as a number or as a text."""
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return facts.EPOCH + timedelta(milliseconds=min(value, facts.LAST_TIME_MS - DEAD_AFTER.seconds * 1000))
    return None


def _name(value: object) -> str | None:
    """Read the name of a device, which may hold spaces."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        return None
    return value if len(value.encode("utf-8", "replace")) <= MOST_NAME else None


# ---- the bot's own entry


def name_of(user_id: UserId) -> str:
    """Return the name of the bot's device: the local part of its user id, marked as recording."""
    name = user_id[1:].partition(":")[0]
    while len((name + MARK).encode("utf-8", "replace")) > MOST_NAME:
        name = name[:-1]
    return name.strip() + MARK


def entered(now: datetime) -> Json:
    """Return the content of the bot's entry while it is in the channel."""
    return _entry("JOINED", now)


def left(now: datetime) -> Json:
    return _entry("LEFT", now)


def is_listed(own: Json | None) -> bool:
    """Return whether an entry of the bot says that it is in the channel."""
    return own is not None and own.get("join_state") == "JOINED"


def _entry(join_state: str, now: datetime) -> Json:
    return {"join_state": join_state, "timestamp": (now - facts.EPOCH) // timedelta(milliseconds=1)}


# ---- messages


def read(signal: Signal, us: Device, now: datetime) -> Received | Rejected:
    """Read a message to the bot's device, or tell by a short name why it is none. Whether the sender holds the name
    that it gives only the room's state tells: the caller compares `Received.device` with its members."""
    content = fields.mapping(signal.content)
    if signal.type != CALL_SIGNAL or signal.room_id is None:
        return Rejected("type")
    if signal.encrypted:
        return Rejected("encrypted")  # no client of MXVC can send it
    if signal.sent_at is not None and now - signal.sent_at > LATE_AFTER:
        return Rejected("late")
    name = _name(content.get("sender"))
    kind = content.get("rtc_type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if name is None or reader is None:
        return Rejected("fields")
    if signal.sender == us.user_id:
        return Rejected("own")
    is_to_all = reader is _candidate and content.get("receiver") is None  # the README's candidates name no receiver
    if not is_to_all and content.get("receiver") != us.device_id:
        return Rejected("other_device")
    message = reader(content.get("body"))
    return message if isinstance(message, Rejected) else Received("", Device(signal.sender, name), LegId(""), message)


def _offered(body: object) -> Message | Rejected:
    sdp = webrtc.sdp(_description(body, "offer"), "offer")
    return sdp if isinstance(sdp, Rejected) else Offered(sdp)


def _answered(body: object) -> Message | Rejected:
    sdp = webrtc.sdp(_description(body, "answer"), "answer")
    return sdp if isinstance(sdp, Rejected) else Answered(sdp)


def _candidate(body: object) -> Message | Rejected:
    init = {"candidate": body} if isinstance(body, str) and not body.startswith("{") else _parsed(body)
    candidate = webrtc.candidate(init)
    return Rejected("candidates") if candidate is None else Candidates((candidate,))


_READERS: Mapping[str, Callable[[object], Message | Rejected]] = {
    "offer": _offered,
    "answer": _answered,
    "icecandidate": _candidate,
    "candidate": _candidate,
}


def _description(body: object, kind: str) -> object:
    """Take a description out of a body: the page's is a JSON text of it, the README's the SDP itself."""
    return {"type": kind, "sdp": body} if isinstance(body, str) and body.startswith("v=") else _parsed(body)


def _parsed(body: object) -> object:
    if not isinstance(body, str) or len(body) > 2 * webrtc.MOST_SDP:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def write(send: Send, us: Device) -> tuple[str, Json]:
    """Return type and content of a message. The bot sends offers and answers alone, with all of its candidates in
    them: the protocol knows no end of a connection."""
    match send.message:
        case Offered(sdp=sdp):
            kind = "offer"
        case Answered(sdp=sdp):
            kind = "answer"
        case _:
            raise ValueError(f"MXVC has no {type(send.message).__name__}")
    body = json.dumps({"type": kind, "sdp": sdp})
    return CALL_SIGNAL, {"rtc_type": kind, "sender": us.device_id, "receiver": send.device.device_id, "body": body}
