"""The bot's own entry in a MatrixRTC call: in the mode that the call uses, at the transport of its oldest member. Pure.

Written as matrix-js-sdk 43.0.0 does (src/matrixrtc/MembershipManager.ts), and read in `bot.calls.wire.matrixrtc`.

- Where all members are in the call by sticky events, and the homeserver has them, the bot is too; else by state, which
  all clients read.
- The bot joins only calls that somebody is in, and sends its silence to the SFU that the oldest member names (the
  first that names one). So its homeserver needs none. Where that SFU refuses the bot, or nobody names it any more,
  another one is named in the same membership: members with `oldest_membership` follow the bot once it is the oldest.
- Each time that it joins, its entry is made anew: js-sdk gives its key once to each membership, which it tells from
  another of the same device by the time at which that began.
- Sticky entries are sent in clear, as state is and as delayed events are, also in an encrypted room, where js-sdk
  encrypts them: everybody in the call is to see the bot, whether they get its room keys or not. (js-sdk up to 42 could
  not see either that a member of an encrypted entry has left.) They hold transports in both of their places.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from bot import facts
from bot.calls.model import Call, Device, Member, Transport
from bot.calls.wire import matrixrtc
from bot.dialects import rtc
from storage.records import Json, RoomId, StateEvent

REFRESH = timedelta(hours=1)
"""The time before its expiry at which the bot's entry in state is written again."""
STICKY = rtc.LONGEST
REFRESH_STICKY = timedelta(minutes=15)
"""The same of a sticky one."""
INTENT = {"m.call.intent": "audio"}
LEFT: Json = {}
"""The content of the bot's entry in state after it has left."""


def is_sticky(member: Member) -> bool:
    """Return whether a member is in the call by a sticky event; else by state."""
    return member.identity == matrixrtc.hashed_identity(member.device)


def uses_sticky(call: Call) -> bool:
    """Return whether a call uses sticky events alone."""
    return bool(call.members) and all(map(is_sticky, call.members))


def uses_state(call: Call) -> bool:
    """Return whether somebody is in a call by state. Their client may read nothing else."""
    return not all(map(is_sticky, call.members))


def own_member(call: Call, ours: Device, *, sticky: bool) -> Member:
    """Return the bot as a member of a call that it joins now, by a sticky event or by state: its transport and its
    identity there, and the id of its membership. `ours`: with the id of a session of its own."""
    transport = transport_in(call, None, ())
    if sticky:
        return Member(ours, None, transport=transport, identity=matrixrtc.hashed_identity(ours))
    identity = matrixrtc.plain_identity(ours.user_id, ours.device_id)
    return Member(replace(ours, session_id=identity), None, transport=transport, identity=identity)


def transport_in(call: Call, present: Transport | None, failing: Collection[Transport]) -> Transport | None:
    """Return the SFU that the bot sends its silence to: the present one while a member's own entry names it and the bot
    gets in, else the first that is named of those where it does. The present one stays where there is no such."""
    named = [member.named for member in call.members if member.named is not None]
    if present in named and present not in failing:
        return present
    return next((each for each in named if each not in failing), present)


# ---- state


def state_key(us: Device, room_version: str | None) -> str:
    """Return the state key of the bot's entry. Where a room's version lets nobody else write under a key that begins
    with a user's id (MSC3757), it does; elsewhere nobody could write under such a key (`makeMembershipStateKey`)."""
    key = f"{us.user_id}_{us.device_id}_{matrixrtc.APPLICATION}"
    is_owned = (room_version or "").startswith(("org.matrix.msc3757", "org.matrix.msc3779"))
    return key if is_owned else f"_{key}"


def entered(own: StateEvent | None, us: Member, room_id: RoomId, now: datetime) -> Json:
    """Return the content of the bot's entry in state while it is in the call. `own`: the entry that is renewed; None:
    the bot joins."""
    known = matrixrtc.entry_of(own) if own is not None else None
    began = known.created if known is not None else now
    content = {
        "application": matrixrtc.APPLICATION,
        "call_id": "",
        "scope": "m.room",
        "device_id": us.device.device_id,
        "membershipID": us.device.session_id,
        "expires": _ms(now - began + matrixrtc.EXPIRES),
        **INTENT,
        "focus_active": {"type": rtc.LIVEKIT, "focus_selection": matrixrtc.OWN},
        # Older clients take no transport without an alias, which was the room's id.
        "foci_preferred": [transport | {"livekit_alias": room_id} for transport in _transports(us)],
    }
    return content if known is None else {**content, "created_ts": _ms(began - facts.EPOCH)}


def is_listed(own: StateEvent | None, us: Device) -> bool:
    """Return whether an entry lists this device of the bot, in whatever session and whether it has expired."""
    entry = matrixrtc.entry_of(own) if own is not None else None
    return entry is not None and matrixrtc.is_of(entry, us)


def is_fresh(own: StateEvent | None, us: Member, now: datetime) -> bool:
    """Return whether an entry lists the bot as it is in the call, and need not be written again yet."""
    entry = matrixrtc.entry_of(own) if own is not None else None
    if entry is None or entry.device != us.device:
        return False
    service_url = us.transport.service_url if us.transport is not None else None
    is_sticky = entry.identity != matrixrtc.plain_identity(entry.device.user_id, entry.device.device_id)
    refresh = REFRESH_STICKY if is_sticky else REFRESH
    return entry.service_url == service_url and entry.expires - now > refresh


# ---- sticky events


def entered_sticky(us: Member) -> Json:
    """Return the content of the bot's sticky event while it is in the call."""
    device = us.device
    return {
        "application": {"type": matrixrtc.APPLICATION, **INTENT},
        "slot_id": matrixrtc.SLOT,
        "transports": {"published": _transports(us), "can_subscribe": [rtc.LIVEKIT]},
        "rtc_transports": _transports(us),
        "member": {"id": device.session_id, "user_id": device.user_id, "device_id": device.device_id},
        "versions": [],
        rtc.STICKY_KEY: device.session_id,
    }


def left_sticky(sticky_key: str) -> Json:
    """Return the content of the bot's sticky event after it has left."""
    return {"slot_id": matrixrtc.SLOT, rtc.STICKY_KEY: sticky_key}


def _transports(us: Member) -> list[dict[str, str]]:
    if us.transport is None:
        return []
    return [{"type": rtc.LIVEKIT, "livekit_service_url": us.transport.service_url}]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
