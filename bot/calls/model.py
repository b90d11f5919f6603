"""Members of a call, messages between them, and the events and effects of the bot's part in it: frozen classes. Pure.

The wire formats (`bot.calls.wire`) read and write messages, the media (`bot.calls.media`) carry out what concerns a
connection, the session machine (`bot.calls.session`) decides, and the engine (`bot.calls.engine`) connects them.
A leg is one connection between the bot and one device, from its beginning to its end.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from storage.records import CallEventKind, CallProtocol, EventId, LeftBy, UserId

LegId = NewType("LegId", str)
"""The id of a leg, new for each: MSC3401's `call_id` of a pair of devices; made by us for MXVC."""

MOST_LEGS = 32
"""Legs of one call. Devices beyond are refused."""


# ---- who is in a call


@dataclass(frozen=True, slots=True)
class Device:
    """A device in a call. MXVC knows only names: `device_id` is the state key, `session_id` empty."""

    user_id: UserId
    device_id: str
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Transport:
    """An SFU that members of a MatrixRTC call send their sound to (MSC4195, `livekit`): the address of its token
    service, without a slash at its end. The service names the room there, whatever members say (`livekit_alias`), so
    equal ones are one connection."""

    service_url: str


@dataclass(frozen=True, slots=True)
class Member:
    """A device that the room's state lists in a call. MatrixRTC: it sends its sound to `transport` (None: to none that
    the bot can use), whatever its own entry names, and `identity` is its name there; `device.session_id` is the id of
    its membership."""

    device: Device
    event_id: EventId | None
    expires_at: datetime | None = None  # None: never by itself
    since: datetime | None = None  # MatrixRTC, in state: when this membership began, the sender's word
    transport: Transport | None = None
    identity: str = ""
    named: Transport | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call that goes on in a room, as its state tells it."""

    protocol: CallProtocol
    call_id: str  # the state key of the call; MXVC: empty; MatrixRTC: its slot
    event_id: EventId | None  # of the call's state event; MXVC and MatrixRTC: of the first member's
    members: tuple[Member, ...]  # joined to the room and not expired, without the bot's own
    push_to_talk: bool = False  # io.element.ptt
    left_out: tuple[Device, ...] = ()  # MatrixRTC: devices beyond those that are read

    @property
    def users(self) -> set[UserId]:
        return {member.device.user_id for member in self.members}


# ---- messages between two devices


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ICE candidate of the other side (WebRTC, RTCIceCandidateInit)."""

    candidate: str
    sdp_mid: str | None
    sdp_m_line_index: int | None


@dataclass(frozen=True, slots=True)
class Offered:
    """The offer of a new leg: `m.call.invite`, or MXVC's `offer`. `muted`: of its microphone; None: not told."""

    sdp: str
    muted: bool | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    sdp: str
    muted: bool | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class AnswerSelected:
    """`m.call.select_answer`: the caller goes on with this party's answer."""

    party_id: str


@dataclass(frozen=True, slots=True)
class Renegotiated:
    """`m.call.negotiate`: a new offer on a leg that stands, or the answer to ours."""

    is_offer: bool
    sdp: str
    muted: bool | None = None


@dataclass(frozen=True, slots=True)
class Muted:
    """A change of what streams carry: `sdp_stream_metadata_changed`. `audio`: the microphone is muted."""

    audio: bool


@dataclass(frozen=True, slots=True)
class HungUp:
    """The end of a leg: `m.call.hangup`. `rejects`: of an offer that was not answered, `m.call.reject`; js-sdk heeds no
    other of a device that it has no answer from."""

    reason: str = ""
    rejects: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is of no use to the bot, or malformed (`rule`: a short name). Its number counts among those of
    its leg."""

    rule: str


Message = Offered | Answered | Candidates | AnswerSelected | Renegotiated | Muted | HungUp | Ignored


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a device about a leg, in the order of `seq`, its number among those of the leg; None: the format has
    none. `leg`: empty where the format does not name it (MXVC): the leg that the device has.
    """

    call_id: str
    device: Device
    leg: LegId
    message: Message
    seq: int | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class KeyTold:
    """A key of a device's sound (MatrixRTC, `io.element.call.encryption_keys`), sealed by the device itself."""

    device: Device  # without its session
    index: int
    key: bytes = field(repr=False)


# ---- events of the bot's part in a call


@dataclass(frozen=True, slots=True)
class Seen:
    """The members of the call, as the room's state has them now. `declined`: users whose sound may not be received;
    `gone`: users with a device in the call who are not in the room. Both also of devices that are no longer listed.
    `left_out`: devices that are in the call, but too many to be looked after.
    """

    members: tuple[Member, ...]
    declined: frozenset[UserId] = frozenset()
    gone: frozenset[UserId] = frozenset()
    left_out: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferMade:
    """The media made our offer for a leg."""

    leg: LegId
    sdp: str


@dataclass(frozen=True, slots=True)
class AnswerMade:
    """The media made our answer to an offer, or to a new one on a leg that stands (`again`)."""

    leg: LegId
    sdp: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class LegConnected:
    leg: LegId


@dataclass(frozen=True, slots=True)
class SoundHeard:
    """Sound of a leg arrives: the first, the first after a time without any, and again every few seconds while it goes
    on. Packets that hold digital silence are none."""

    leg: LegId


@dataclass(frozen=True, slots=True)
class LegMuted:
    """The SFU tells that the microphone of a leg's device is muted, or not any more."""

    leg: LegId
    muted: bool


@dataclass(frozen=True, slots=True)
class LegUnreadable:
    """Sound of a leg is silence for ever: its key did not come, or it is `unencrypted` where it has to be encrypted.
    Told once for each stretch of such sound; `SoundHeard` ends the stretch."""

    leg: LegId
    unencrypted: bool = False


@dataclass(frozen=True, slots=True)
class LegReached:
    """The bot is at the SFU of a leg (MatrixRTC), whether its device is there or not."""

    leg: LegId


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The connection of a leg has ended: closed by the other side, or lost."""

    leg: LegId


@dataclass(frozen=True, slots=True)
class LegFailed:
    """The media refuse a leg, or can't make it: bad SDP, no Opus, beyond the bounds. `reason`: a short code; `broken`
    and `unreachable` are not the device's doing. MatrixRTC: the SFU refuses the bot, or can't be reached."""

    leg: LegId
    reason: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Time has passed. `is_cut`: the homeserver answers the bot no more."""

    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """The call ends, or its recording does: all legs are closed. Nothing is done after it."""


SessionEvent = (
    Seen
    | Received
    | OfferMade
    | AnswerMade
    | LegConnected
    | SoundHeard
    | LegMuted
    | LegUnreadable
    | LegReached
    | LegEnded
    | LegFailed
    | TimePassed
    | Over
)


# ---- effects
#
# Those for one leg are carried out in their order. A leg that any effect names is closed by exactly one `CloseLeg`,
# also one that was only turned down; no effect names it after that.


@dataclass(frozen=True, slots=True)
class MakeOffer:
    """Make a leg to a device, and an offer for it: `OfferMade` or `LegFailed` follows."""

    leg: LegId
    device: Device


@dataclass(frozen=True, slots=True)
class MakeAnswer:
    """Make a leg to a device from its offer, and an answer: `AnswerMade` or `LegFailed` follows."""

    leg: LegId
    device: Device
    offer: str


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive the sound of a device at its SFU (MatrixRTC): `LegConnected` follows once it is there, or `LegFailed`.
    Both may take any time: the device, or the SFU, may not be there yet."""

    leg: LegId
    device: Device
    transport: Transport
    identity: str


@dataclass(frozen=True, slots=True)
class TakeAnswer:
    leg: LegId
    answer: str


@dataclass(frozen=True, slots=True)
class TakeCandidates:
    leg: LegId
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class AnswerAgain:
    """Answer a new offer on a leg that stands: `AnswerMade` with `again`, or `LegFailed`, follows."""

    leg: LegId
    offer: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a device. `seq`: its number, from 0 for each leg. `encrypted`: by Olm; None: by Olm where the
    bot has the device's keys, plain where it has none and the room is not encrypted."""

    device: Device
    leg: LegId
    seq: int
    message: Message
    encrypted: bool | None = None


@dataclass(frozen=True, slots=True)
class OpenStem:
    """Begin a stem with the sound of this leg."""

    leg: LegId
    device: Device


@dataclass(frozen=True, slots=True)
class CloseLeg:
    """End a leg and its stem, if it has one. Of a lost one the stem ends with its last sound."""

    leg: LegId
    by: LeftBy


@dataclass(frozen=True, slots=True)
class Happened:
    """Note an event of the call in its recording."""

    device: Device
    what: CallEventKind


@dataclass(frozen=True, slots=True)
class Missed:
    """Note that a device is not heard, though it should be, up to `HeardAgain`: an event of the recording, and a gap of
    its user. `why`: one of `storage.records.UNHEARD`; `since`: how long it was not heard before that was known."""

    device: Device
    why: CallEventKind
    since: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class HeardAgain:
    """Note that a device is heard again that was `Missed`, or gone."""

    device: Device


@dataclass(frozen=True, slots=True)
class TellMissed:
    """Tell the room, once for a recording, that a member is not heard, and why."""

    device: Device
    why: CallEventKind


@dataclass(frozen=True, slots=True)
class Beep:
    """Play the tone into all legs."""


class Why(StrEnum):
    """The reasons for which the bot leaves a call by itself."""

    ALONE = "alone"  # for calls.empty_s
    LIMIT = "limit"  # recording.max_broadcast_s


@dataclass(frozen=True, slots=True)
class LeaveCall:
    """Leave the call; all legs are closed already. No effect comes after it."""

    why: Why


@dataclass(frozen=True, slots=True)
class TellSilent:
    """Tell the room, once, that nobody was heard for calls.silent_s."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimePassed` at this time; only the last one counts. Every step says it anew, until the bot leaves."""

    at: datetime


LegEffect = MakeOffer | MakeAnswer | Receive | TakeAnswer | TakeCandidates | AnswerAgain | Send | CloseLeg
"""Effects for one leg, its stem aside."""
SessionEffect = (
    LegEffect | OpenStem | Happened | Missed | HeardAgain | TellMissed | Beep | LeaveCall | TellSilent | WakeAt
)
