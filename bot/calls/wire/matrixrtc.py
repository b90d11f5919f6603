"""Calls of MatrixRTC (MSC4143, MSC4195) as a room has them: who is in its call, by state and by sticky events. Pure.

Read as matrix-js-sdk 43.0.0 does: src/matrixrtc/MatrixRTCSession.ts (`sessionMembershipsForSlot`), CallMembership.ts,
membershipData/session.ts. Element Call speaks all of its modes (docs/matrix_rtc_modes.md at b51a33c4); they are read
always. Its "legacy" mode is state whose `focus_selection` is `oldest_membership`.

- A room has one call, the slot `m.call#ROOM`: Element Call joins no other, and token services know no other by their
  older endpoint. In state its `call_id` is empty.
- State that says `m.calls` is MSC3401's. `{}` is leave. Only the user whom a state key names may write under it,
  whatever the room's version allows (MSC3757): js-sdk does not look at the key.
- A device counts once. Where it has a sticky event, its state does not count; of several the newest does.
- Members are ordered by `created_ts`, else `origin_server_ts`, as in js-sdk: who is the oldest decides where members
  with `oldest_membership` send to. The bot is one of them.
- A member who sends to no transport that the bot can use is in the call all the same. So is a device in state whose id
  has a colon: its name at an SFU may be another user's (`@a:hs` with `1:D`, and `@a:hs:1` with `D`), so it isn't heard.
- Where the room's state says that the slot is closed, sticky events do not count.
- An entry in state expires at `created_ts` + `expires`, four hours where that makes no sense; a sticky one with its
  event.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import facts
from bot.calls.model import Call, Device, Member, Transport
from bot.dialects import fields, rtc
from bot.event_types import CALL_MEMBER, RTC_MEMBER, RTC_SLOT
from storage.records import CallProtocol, Json, StateEvent, UserId

APPLICATION = "m.call"
SLOT = f"{APPLICATION}#ROOM"
"""The slot of a room's call."""
EXPIRES = timedelta(hours=4)
"""The time after which an entry in state expires that says none (CallMembership.ts, `DEFAULT_EXPIRE_DURATION`)."""
OLDEST, OWN = "oldest_membership", "multi_sfu"
"""Selections of the transport that a member sends to: that of the oldest member, or the first of its own."""
MOST_DEVICES = 32
"""Devices of one user that are read."""
MOST_MEMBERS = 320
"""Devices of a call that are read: the first of each user, then the second of each, and so on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A device's entry. `service_url`: of the transport that it names; `follows`: it sends to that of the oldest."""

    device: Device
    event: StateEvent
    identity: str
    created: datetime
    expires: datetime
    service_url: str | None
    follows: bool = False


def calls_of(
    state: Iterable[StateEvent], joined: Collection[UserId], us: Device, now: datetime, _recorded: Collection[str] = ()
) -> tuple[Call, ...]:
    """Return the call of a room that has, or had, members in one; there may be nobody in it. `joined`: the users in the
    room. The bot's user is left out of the members: entries of its other devices are those of earlier logins,
    or of other bots."""
    everything = list(state)
    events = [event for event in everything if event.type == RTC_MEMBER or _is_state(event)]
    if not events:
        return ()
    is_closed = any(_closes_slot(event) for event in everything)
    present = (event for event in events if event.sender in joined and not (is_closed and event.type == RTC_MEMBER))
    read = map(entry_of, present)
    entries = sorted(_by_device(entry for entry in read if entry is not None and entry.expires > now), key=_age)
    oldest = entries[0].service_url if entries else None
    others = [entry for entry in entries if entry.device.user_id != us.user_id]
    read_first = _bounded(others)
    members = tuple(_member(entry, oldest) for entry in others if entry.device in read_first)
    left_out = tuple(entry.device for entry in others if entry.device not in read_first)[:MOST_MEMBERS]
    return (Call(CallProtocol.MATRIXRTC, SLOT, members[0].event_id if members else None, members, left_out=left_out),)


def entry_of(event: StateEvent) -> Entry | None:
    """Read a member event of the room's call, whatever the time is; None for one that is malformed or says leave."""
    return _sticky(event) if event.type == RTC_MEMBER else _in_state(event) if _is_state(event) else None


def is_of(entry: Entry, device: Device) -> bool:
    """Return whether an entry is of a device, in whatever session."""
    return (entry.device.user_id, entry.device.device_id) == (device.user_id, device.device_id)


def plain_identity(user_id: UserId, device_id: str) -> str:
    """Return the name at an SFU of a device whose entry is state."""
    return f"{user_id}:{device_id}"


def hashed_identity(device: Device) -> str:
    """Return the name at an SFU of a device whose entry is a sticky event."""
    return rtc.digest(device.user_id, device.device_id, device.session_id)


def _member(entry: Entry, oldest: str | None) -> Member:
    service_url = oldest if entry.follows else entry.service_url
    is_sticky = entry.event.type == RTC_MEMBER
    is_named_alone = is_sticky or ":" not in entry.device.device_id
    return Member(
        device=entry.device,
        event_id=entry.event.event_id,
        expires_at=entry.expires,
        since=None if is_sticky else entry.created,
        transport=Transport(service_url) if service_url and is_named_alone else None,
        identity=entry.identity,
        named=Transport(entry.service_url) if entry.service_url else None,
    )


def _by_device(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entry of each device that counts."""
    counts: dict[tuple[UserId, str], Entry] = {}
    for entry in entries:
        key = entry.device.user_id, entry.device.device_id
        known = counts.get(key)
        if known is None or _rank(known) < _rank(entry):
            counts[key] = entry
    return list(counts.values())


def _rank(entry: Entry) -> tuple[bool, datetime, int]:
    return entry.event.type == RTC_MEMBER, entry.event.sent_at or facts.EPOCH, entry.event.position


def _age(entry: Entry) -> tuple[datetime, int, str]:
    return entry.created, entry.event.position, entry.event.state_key


def _arrival(entry: Entry) -> tuple[int, datetime, str]:
    return entry.event.position, entry.event.sent_at or facts.EPOCH, entry.event.state_key


def _bounded(entries: Iterable[Entry]) -> frozenset[Device]:
    """Return the devices that are read. Their order is that in which their entries came, whatever they say of their
    age, and users take turns: nobody takes all places."""
    counts: Counter[UserId] = Counter()
    turns: list[tuple[int, Device]] = []
    for entry in sorted(entries, key=_arrival):
        counts[entry.device.user_id] += 1
        turns.append((counts[entry.device.user_id], entry.device))
    turns.sort(key=lambda each: each[0])
    return frozenset(device for turn, device in turns[:MOST_MEMBERS] if turn <= MOST_DEVICES)


# ---- state (compatibility mode)


def _is_state(event: StateEvent) -> bool:
    """Return whether an event is the entry of a device in state: of MatrixRTC, and under its user's own key. In present
    clients that is `_@user:hs_DEVICE_m.call`, without the first `_` where the room's version protects it; older ones
    end it with the device."""
    is_theirs = event.state_key.removeprefix("_").startswith(f"{event.sender}_")
    return event.type == CALL_MEMBER and is_theirs and "m.calls" not in event.content


def _in_state(event: StateEvent) -> Entry | None:
    content = event.content
    active = fields.mapping(content.get("focus_active"))
    foci = content.get("foci_preferred", [])
    device_id = fields.device_id(content.get("device_id"))
    created = _time(content["created_ts"]) if "created_ts" in content else event.sent_at
    if (content.get("application"), content.get("call_id")) not in ((APPLICATION, ""), (APPLICATION, "ROOM")):
        return None
    if device_id is None or created is None or not isinstance(active.get("type"), str):
        return None
    if not isinstance(content.get("scope", ""), str) or not _are_transports(foci):
        return None
    identity = plain_identity(event.sender, device_id)
    selection = active.get("focus_selection")
    return Entry(
        device=Device(event.sender, device_id, fields.text(content.get("membershipID")) or identity),
        event=event,
        identity=identity,
        created=created,
        expires=_expiry(created, content),
        service_url=rtc.service_url(foci) if selection in (OLDEST, OWN) else None,
        follows=selection == OLDEST,
    )


def _are_transports(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(isinstance(fields.mapping(transport).get("type"), str) for transport in value)


def _time(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return facts.EPOCH + timedelta(milliseconds=min(value, facts.LAST_TIME_MS))


def _expiry(created: datetime, content: Json) -> datetime:
    """Return when an entry in state expires; one that lies beyond all dates never does."""
    expires = content.get("expires")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not expires >= 0:
        expires = EXPIRES / timedelta(milliseconds=1)
    began_ms = (created - facts.EPOCH) / timedelta(milliseconds=1)
    return facts.EPOCH + timedelta(milliseconds=min(began_ms + expires, facts.LAST_TIME_MS))


# ---- sticky events (Matrix 2.0 mode)


def _closes_slot(event: StateEvent) -> bool:
    """Return whether an event closes the slot of the room's call (utils.ts, `isSlotClosed`)."""
    if event.type != RTC_SLOT or event.state_key != SLOT:
        return False
    is_calls = fields.mapping(event.content.get("application")).get("type") == APPLICATION
    return event.content.get("status") != "open" or not is_calls


def _sticky(event: StateEvent) -> Entry | None:
    """Read a sticky event as it is kept (`bot.dialects.rtc`)."""
    content = event.content
    member_id, device_id = content.get("member_id"), content.get("device_id")
    expires = _time(content.get(rtc.EXPIRES))
    if content.get("slot_id") != SLOT or expires is None:
        return None
    device = Device(event.sender, str(device_id), str(member_id))
    return Entry(
        device=device,
        event=event,
        identity=hashed_identity(device),
        created=event.sent_at or facts.EPOCH,
        expires=expires,
        service_url=content.get("service_url"),
    )
