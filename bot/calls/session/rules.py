"""The rules of a call: who calls whom and when, which offer counts, and all bounds. Pure."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from bot.calls.model import MOST_LEGS, Device, LegId
from bot.calls.session.state import Key, Leg, Peer, Phase, Rate, Setup
from bot.recording.call.stems import MOST_STEMS
from storage.records import CallProtocol, UserId

MOST_OF_ONE_USER = 16
"""Legs of one user's devices. Nobody takes all places."""
MOST_DEVICES = 320
"""Devices of a call that are looked after; more are left out."""
SHARE = 4
"""The part of the stems that are left which one user may have: clients that join and leave without end, be they of
several users, leave some to others."""
MOST_TOLD = 256
"""Devices of which the recording notes that they were refused."""
MOST_CANDIDATES = 64
"""ICE candidates of one leg."""
MOST_ENDED = 8
MOST_WAITING, MOST_WAITING_OF_ONE = 128, 16
"""Messages of devices that are not listed yet: of all, and of one user."""
A_MINUTE: Mapping[str, int] = {"messages": 600, "offers": 30, "renegotiations": 30}
"""Messages of one user, of whatever devices, that are heeded in a minute."""

WAIT_FOR_LISTING = timedelta(seconds=10)
HOPE = timedelta(seconds=20)
"""The time for which a device that was just listed is somebody, though it isn't connected yet."""
LASTING = timedelta(seconds=60)
"""The age at which a connection is a success: the bot calls this device as if for the first time."""
PAUSES_S = (0, 5, 20, 60)
"""The pauses before the first call of a device and those after it that led to nothing; then it must call itself."""
AFTER_END = timedelta(seconds=PAUSES_S[1])
"""The pause after any leg: its device may be about to leave. MatrixRTC has none: nobody is called."""
UNREACHABLE = timedelta(minutes=10)
"""MatrixRTC: the time for which devices of a user at SFUs that can't be reached are somebody: SFUs are started anew,
too. Another such time begins only after one of them was heard, so that nobody holds an empty call who leaves and
comes again."""
UNTOLD = timedelta(seconds=10)
"""MatrixRTC: the time for which an SFU can't be reached before the room is told."""
WITHOUT_KEY = timedelta(seconds=10)
"""MatrixRTC: the time for which sound waits for its key before it is given up."""
PATIENCE: Mapping[CallProtocol, timedelta] = {
    CallProtocol.MSC3401: timedelta(seconds=30),
    CallProtocol.MXVC: timedelta(seconds=5),
}
"""The time after which the bot calls a device whose turn it was to call."""
AFTER_JOINING = timedelta(seconds=1.5)
"""MXVC: pages drop an offer of a device whose JOINED they have not seen."""
STALE = timedelta(seconds=2)
"""MXVC: an offer that comes so long after ours is a new one, by a page that has lost ours."""
SOUND_IS_LIFE = timedelta(seconds=20)
"""MXVC: a device that is heard is in the channel, though its timestamp is old: it is by the device's own clock."""

_PHASES_S: Mapping[Phase, float] = {
    Phase.OFFERING: 30,
    Phase.OFFERED: 60,  # the lifetime of an invite
    Phase.ANSWERING: 30,
    Phase.CONNECTING: 30,
    Phase.CLOSING: 2,  # DTLS ends some 40 ms before the hang-up comes
}
_MXVC_OFFERED_S = (10.0, 15.0)
"""MXVC: the time for which our offer waits, to the higher name and to the lower one. Two bots whose offers crossed
don't repeat that."""


def order(text: str) -> bytes:
    """Return the key by which JavaScript orders strings: UTF-16 code units, where Python compares code points."""
    return text.encode("utf-16-be", "surrogatepass")


def is_ours_to_call(setup: Setup, peer: Peer) -> bool:
    """Return whether the bot calls this device, or waits for its call.

    MSC3401: the lower user id calls the higher, of two devices of one user the lower device id. MXVC: the device that
    joins calls those that are there.
    """
    if setup.protocol is CallProtocol.MXVC:
        return peer.was_there
    device = peer.member.device
    user, ours = order(device.user_id), order(setup.ours.user_id)
    return ours < user or (ours == user and order(setup.ours.device_id) < order(device.device_id))


def next_call(setup: Setup, peer: Peer, now: datetime, entered: datetime) -> datetime | None:
    """Return when the bot calls a device that has no leg, or awaits it at its SFU; None: never by itself."""
    if setup.protocol is CallProtocol.MATRIXRTC:
        return now + timedelta(seconds=PAUSES_S[min(peer.calls, len(PAUSES_S) - 1)])
    if peer.calls >= len(PAUSES_S):
        return None
    pause = timedelta(seconds=PAUSES_S[peer.calls])
    if not is_ours_to_call(setup, peer):
        return now + max(pause, PATIENCE[setup.protocol])
    earliest = entered + AFTER_JOINING if setup.protocol is CallProtocol.MXVC else entered
    return max(now + pause, earliest)


def end_of(phase: Phase, setup: Setup, device: Device, now: datetime) -> datetime | None:
    """Return when a phase that begins now ends, if nothing happens."""
    if phase is Phase.OFFERED and setup.protocol is CallProtocol.MXVC:
        is_lower = order(device.device_id) < order(setup.ours.device_id)
        return now + timedelta(seconds=_MXVC_OFFERED_S[is_lower])
    seconds = _PHASES_S.get(phase)
    return None if seconds is None else now + timedelta(seconds=seconds)


def is_glare(leg: Leg) -> bool:
    """Return whether an offer that comes now crosses ours."""
    return leg.is_ours and leg.phase in (Phase.OFFERING, Phase.OFFERED)


def theirs_counts(setup: Setup, leg: Leg, offered: LegId, now: datetime) -> bool:
    """Return whether, of two offers that crossed, the other device's counts.

    MSC3401: the one with the lower call id, as in matrix-js-sdk: both ends know both ids. MXVC has no ids, and its page
    takes back its own offer to answer another (WebRTC, implicit rollback): ours counts while it is fresh.
    """
    if setup.protocol is CallProtocol.MXVC:
        sent = end_of(Phase.OFFERED, setup, leg.device, now)
        return leg.phase is Phase.OFFERED and leg.until is not None and sent is not None and sent - leg.until > STALE
    return order(offered) < order(leg.id)


def end_of_listing(setup: Setup, peer: Peer) -> datetime | None:
    """Return when a device is no longer in the call, as the room's state and its own sound tell; None: never."""
    expires = peer.member.expires_at
    if expires is None or setup.protocol is not CallProtocol.MXVC or peer.heard_at is None:
        return expires
    is_connected = peer.leg is not None and peer.leg.phase is Phase.CONNECTED
    return max(expires, peer.heard_at + SOUND_IS_LIFE) if is_connected else expires


def most_legs(setup: Setup) -> int:
    """Return how many legs a call may have: a mesh is a connection for each, an SFU one for all."""
    return MOST_DEVICES if setup.protocol is CallProtocol.MATRIXRTC else MOST_LEGS


def has_stem_left(stems: Mapping[UserId, int], user: UserId) -> bool:
    """Return whether a user may have one more stem. `stems`: how many each has."""
    return stems.get(user, 0) < (MOST_STEMS - sum(stems.values())) // SHARE


def has_place(peers: Mapping[Key, Peer], key: Key, most: int) -> bool:
    """Return whether one more leg can be made for a device, instead of its own if it has one."""
    taken = Counter(user for (user, device_id), peer in peers.items() if (user, device_id) != key and is_live(peer.leg))
    return may_take(taken, key[0], most)


def may_take(taken: Counter[UserId], user: UserId, most: int) -> bool:
    """Return whether a user may have one more leg. `taken`: how many each has."""
    return taken.total() < most and taken[user] < MOST_OF_ONE_USER


def is_live(leg: Leg | None) -> bool:
    return leg is not None and leg.phase is not Phase.CLOSING


def counted(rates: Mapping[str, Rate], what: str, now: datetime) -> tuple[Mapping[str, Rate], bool]:
    """Count one more, and return whether it is still within what is heeded in a minute."""
    rate = rates.get(what)
    if rate is None or not timedelta() <= now - rate.since < timedelta(minutes=1):
        rate = Rate(now)
    rate = Rate(rate.since, rate.count + 1)
    return {**rates, what: rate}, rate.count <= A_MINUTE[what]
