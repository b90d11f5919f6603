"""Group calls of MSC3401 in a room's state: who is in them, and the bot's own member event. Pure.

Read as matrix-js-sdk does (groupCallEventHandler.ts, groupCall.ts): a call of an unknown intent or type is none; a
device that lacks one of four fields, has expired, or whose user is not in the room, is not in the call. MatrixRTC uses
the same type of event in another shape, without `m.calls`.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from bot import facts
from bot.calls.model import Call, Device, Member
from bot.dialects import fields
from bot.event_types import CALL, CALL_MEMBER
from storage.records import CallProtocol, Json, StateEvent, UserId

EXPIRES = timedelta(hours=1)
REFRESH = timedelta(minutes=45)
"""The age at which the bot's own entry is written again, so that it does not expire."""
INTENTS = frozenset({"m.ring", "m.prompt", "m.room"})
TYPES = frozenset({"m.voice", "m.video"})
USERMEDIA = "m.usermedia"
MOST_DEVICES = 32
"""Devices of one user that are read."""
MOST_MEMBERS = 320
"""Devices of a call that are read: those whose event is the oldest, so that newcomers push nobody out."""

_Listed = tuple[StateEvent, Mapping[str, Any]]
"""A user's entry, and its part about a call."""


def calls_of(
    state: Iterable[StateEvent], joined: Collection[UserId], us: Device, now: datetime, recorded: Collection[str] = ()
) -> tuple[Call, ...]:
    """Return the calls that count of those that go on in a room, the newest first: the newest, which js-sdk takes and
    stays in until it ends; if nobody is in that, the newest that somebody is in; and those that are `recorded`.

    `joined`: the users in the room. The bot's own device `us` is left out of the members. `recorded`: ids of calls.
    """
    events = list(state)
    entries = [event for event in events if event.type == CALL_MEMBER and _is_own(event) and event.state_key in joined]
    running = [event for event in events if event.type == CALL and _is_running(event)]
    listed = _by_call(sorted(entries, key=_age))
    calls: list[Call] = []
    for event in sorted(running, key=_age, reverse=True):
        may_count = not any(call.members for call in calls)
        if may_count or event.state_key in recorded:
            members = _members(listed.get(event.state_key, ()), us, now)
            if members or not calls or event.state_key in recorded:
                calls.append(_call(event, members))
    return tuple(calls)


def _call(event: StateEvent, members: tuple[Member, ...]) -> Call:
    return Call(
        protocol=CallProtocol.MSC3401,
        call_id=event.state_key,
        event_id=event.event_id,
        members=members,
        push_to_talk=bool(event.content.get("io.element.ptt")),
    )


def entered(own: Json | None, us: Device, call_id: str, now: datetime) -> Json:
    """Return the content of the bot's member event while it is in the call. `own`: the present content, in which other
    devices of the bot's user may stand."""
    entry = {
        "device_id": us.device_id,
        "session_id": us.session_id,
        "expires_ts": _ms(now + EXPIRES),
        "feeds": [{"purpose": USERMEDIA}],
    }
    others = _others(own, us, now)
    same = next((call for call in others if call.get("m.call_id") == call_id), {"m.call_id": call_id})
    devices = [*same.get("m.devices", ()), entry]
    return {"m.calls": [*(call for call in others if call is not same), {**same, "m.devices": devices}]}


def left(own: Json | None, us: Device, now: datetime) -> Json:
    """Return the content of the bot's member event without this device."""
    return {"m.calls": _others(own, us, now)}


def is_listed(own: Json | None, us: Device) -> bool:
    """Return whether this device of the bot stands in the content, in whatever call and session."""
    devices = (device for call in _calls(own) for device in _listed(call))
    return any(device.get("device_id") == us.device_id for device in devices)


def is_fresh(own: Json | None, us: Device, call_id: str, now: datetime) -> bool:
    """Return whether the content lists the bot in this call and no other, and need not be written again yet."""
    here = [(call.get("m.call_id"), device) for call in _calls(own) for device in _listed(call)]
    mine = [(call, device) for call, device in here if device.get("device_id") == us.device_id]
    if len(mine) != 1 or mine[0][0] != call_id:
        return False
    expires = _expiry(mine[0][1])
    return (
        _is_complete(mine[0][1])
        and mine[0][1]["session_id"] == us.session_id
        and expires is not None
        and expires - now > EXPIRES - REFRESH
    )


def _is_running(event: StateEvent) -> bool:
    content = event.content
    valid = _among(content.get("m.intent"), INTENTS) and _among(content.get("m.type"), TYPES)
    return bool(fields.text(event.state_key)) and valid and not content.get("m.terminated")


def _among(value: object, names: frozenset[str]) -> bool:
    return isinstance(value, str) and value in names


def _age(event: StateEvent) -> tuple[float, int, str]:
    sent = event.sent_at.timestamp() if event.sent_at else 0.0
    return sent, event.position, event.state_key


def _is_own(event: StateEvent) -> bool:
    return event.state_key == event.sender and fields.user_id(event.state_key) is not None


def _by_call(entries: Iterable[StateEvent]) -> dict[str, list[_Listed]]:
    """Return the parts of users' entries about each call, in the order of the entries: one walk for any number of
    calls. Of a call that a user lists twice the first counts."""
    listed: dict[str, list[_Listed]] = {}
    for entry in entries:
        calls: dict[str, _Listed] = {}
        for call in _calls(entry.content):
            call_id = call.get("m.call_id")
            if isinstance(call_id, str):
                calls.setdefault(call_id, (entry, call))
        for call_id, one in calls.items():
            listed.setdefault(call_id, []).append(one)
    return listed


def _members(listed: Iterable[_Listed], us: Device, now: datetime) -> tuple[Member, ...]:
    mine = (us.user_id, us.device_id)
    members = (member for entry, call in listed for member in _devices(entry, call, now))
    return tuple(islice((m for m in members if (m.device.user_id, m.device.device_id) != mine), MOST_MEMBERS))


def _devices(entry: StateEvent, call: Mapping[str, Any], now: datetime) -> list[Member]:
    """Read a user's devices in a call; of one that is listed twice the last entry counts."""
    members: dict[str, Member] = {}
    for listed in _listed(call):
        device_id, session_id = fields.text(listed.get("device_id")), fields.text(listed.get("session_id"))
        expires = _expiry(listed)
        if not _is_complete(listed) or device_id is None or session_id is None or expires is None or expires <= now:
            continue
        device = Device(UserId(entry.state_key), device_id, session_id)
        members[device_id] = Member(device, entry.event_id, expires, entry.sent_at)
    return list(members.values())[:MOST_DEVICES]


def _calls(content: Json | None) -> list[Mapping[str, Any]]:
    calls = content.get("m.calls") if content is not None else None
    return [call for call in calls if isinstance(call, Mapping)] if isinstance(calls, list | tuple) else []


def _listed(call: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    devices = call.get("m.devices")
    return [one for one in devices if isinstance(one, Mapping)] if isinstance(devices, list | tuple) else []


def _is_complete(device: Mapping[str, Any]) -> bool:
    texts = isinstance(device.get("device_id"), str) and isinstance(device.get("session_id"), str)
    return texts and isinstance(device.get("feeds"), list | tuple)


def _expiry(device: Mapping[str, Any]) -> datetime | None:
    """Read when a device's entry expires; one that lies beyond all dates never does."""
    value = device.get("expires_ts")
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return facts.EPOCH + timedelta(milliseconds=min(value, facts.LAST_TIME_MS))


def _others(own: Json | None, us: Device, now: datetime) -> list[dict[str, Any]]:
    """Return the calls that other devices of the bot's user are in, each with those devices that have not expired."""
    calls = []
    for call in _calls(own):
        listed = [device for device in _listed(call) if device.get("device_id") != us.device_id]
        devices = [dict(one) for one in listed if _is_complete(one) and (_expiry(one) or facts.EPOCH) > now]
        if devices:
            calls.append({**call, "m.devices": devices})
    return calls


def _ms(moment: datetime) -> int:
    return (moment - facts.EPOCH) // timedelta(milliseconds=1)
