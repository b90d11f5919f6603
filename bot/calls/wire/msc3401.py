"""The messages of MSC3401 between two devices of a group call: read into ours, and written. Pure.

Types and fields are those of 1:1 calls (Client-Server API, VoIP), sent to devices, with fields that name the group call
and the sessions of both ends; seen on the wire of matrix-js-sdk 24 to 42 and read in Hydrogen. Stream metadata
(MSC3077) has two names: js-sdk sends the unstable one up to version 40, the stable one from 41 on.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from bot.calls.model import (
    Answered,
    AnswerSelected,
    Candidates,
    Device,
    HungUp,
    Ignored,
    LegId,
    Message,
    Muted,
    Offered,
    Received,
    Renegotiated,
    Send,
)
from bot.calls.wire import webrtc
from bot.dialects import fields
from bot.event_types import (
    CALL_ANSWER,
    CALL_CANDIDATES,
    CALL_HANGUP,
    CALL_INVITE,
    CALL_MESSAGES,
    CALL_METADATA,
    CALL_METADATA_UNSTABLE,
    CALL_NEGOTIATE,
    CALL_REJECT,
    CALL_SELECT_ANSWER,
)
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import Json

METADATA, METADATA_UNSTABLE = "sdp_stream_metadata", "org.matrix.msc3077.sdp_stream_metadata"
USERMEDIA = "m.usermedia"
LIFETIME_MS = 60_000
MOST_CANDIDATES = 100
"""Candidates of one message that are read."""
MOST_STREAMS = 32
MOST_SEQ = 1 << 53
_STREAM = re.compile(r"^a=(?:msid|ssrc:\d{1,10} msid):(?!-\s)(\S{1,255})\s", re.ASCII | re.MULTILINE)
CAPABILITIES = {"m.call.transferee": False, "m.call.dtmf": False}


# ---- reading


def read(signal: Signal, us: Device, call_id: str) -> Received | Rejected:
    """Read a message to the bot's device about a leg of this call, or tell by a short name why it is none. One that is
    for the bot, but malformed or of another type, is `Ignored`: those after it must not wait for its number.

    The session machine decides by the room's state whether the device is in the call, by its user and its id (what it
    says may come before the state that tells of its session), and whether the message had to be encrypted.
    """
    content = fields.mapping(signal.content)
    if not signal.type.startswith(CALL_MESSAGES) or signal.room_id is not None:
        return Rejected("type")
    if (astray := _astray(content, us, call_id)) is not None:
        return Rejected(astray)
    leg, device_id, session_id = (fields.text(content.get(k)) for k in ("call_id", "device_id", "sender_session_id"))
    seq = fields.whole(content["seq"], 0, MOST_SEQ) if "seq" in content else None
    if leg is None or device_id is None or session_id is None or (seq is None and "seq" in content):
        return Rejected("fields")
    if signal.encrypted and device_id != signal.device_id:
        return Rejected("device")
    if (signal.sender, device_id) == (us.user_id, us.device_id):
        return Rejected("own")
    reader = _READERS.get(signal.type)
    message = reader(content) if reader is not None else Ignored("type")
    device = Device(signal.sender, device_id, session_id)
    return Received(call_id, device, LegId(leg), message, seq, signal.encrypted)


def _astray(content: Json, us: Device, call_id: str) -> str | None:
    """Return why a message is not for this process of the bot in this call; None if it is."""
    if content.get("conf_id") != call_id:
        return "other_call"
    if content.get("dest_session_id") != us.session_id:
        return "other_session"
    return None if content.get("invitee", us.user_id) == us.user_id else "other_user"


def _offered(content: Json) -> Message:
    sdp = webrtc.sdp(content.get("offer"), "offer")
    return Ignored(sdp.rule) if isinstance(sdp, Rejected) else Offered(sdp, _muted(content))


def _answered(content: Json) -> Message:
    sdp = webrtc.sdp(content.get("answer"), "answer")
    return Ignored(sdp.rule) if isinstance(sdp, Rejected) else Answered(sdp, _muted(content))


def _renegotiated(content: Json) -> Message:
    kind = fields.mapping(content.get("description")).get("type")
    if kind not in ("offer", "answer"):
        return Ignored("sdp")
    sdp = webrtc.sdp(content.get("description"), kind)
    return Ignored(sdp.rule) if isinstance(sdp, Rejected) else Renegotiated(kind == "offer", sdp, _muted(content))


def _candidates(content: Json) -> Message:
    listed = content.get("candidates")
    if not isinstance(listed, list | tuple):
        return Ignored("candidates")
    read = [webrtc.candidate(candidate) for candidate in listed[:MOST_CANDIDATES]]
    return Candidates(tuple(candidate for candidate in read if candidate is not None))


def _selected(content: Json) -> Message:
    party = fields.text(content.get("selected_party_id"))
    return Ignored("party") if party is None else AnswerSelected(party)


def _hung_up(content: Json) -> Message:
    return HungUp(fields.text(content.get("reason"), 64) or "")


def _rejected(content: Json) -> Message:
    return HungUp(fields.text(content.get("reason"), 64) or "", rejects=True)


def _changed(content: Json) -> Message:
    muted = _muted(content)
    return Ignored("metadata") if muted is None else Muted(muted)


_READERS: Mapping[str, Callable[[Json], Message]] = {
    CALL_INVITE: _offered,
    CALL_ANSWER: _answered,
    CALL_CANDIDATES: _candidates,
    CALL_SELECT_ANSWER: _selected,
    CALL_NEGOTIATE: _renegotiated,
    CALL_HANGUP: _hung_up,
    CALL_REJECT: _rejected,
    CALL_METADATA: _changed,
    CALL_METADATA_UNSTABLE: _changed,
}


def _muted(content: Json) -> bool | None:
    """Return whether the microphone is muted, in all streams that are of a camera or microphone; None: not told."""
    streams = content.get(METADATA, content.get(METADATA_UNSTABLE))
    entries = [fields.mapping(entry) for entry in list(fields.mapping(streams).values())[:MOST_STREAMS]]
    told = [entry.get("audio_muted") for entry in entries if entry.get("purpose") == USERMEDIA]
    muted = [value for value in told if isinstance(value, bool)]
    return all(muted) if muted else None


# ---- writing


def write(send: Send, us: Device, call_id: str, message_id: str) -> tuple[str, Json]:
    """Return type and content of a message. `message_id`: a new one for each (org.matrix.msgid)."""
    kind, special = _special(send.message, send.device)
    return kind, {
        **special,
        "call_id": send.leg,
        "conf_id": call_id,
        "party_id": us.device_id,
        "version": "1",
        "device_id": us.device_id,
        "sender_session_id": us.session_id,
        "dest_session_id": send.device.session_id,
        "seq": send.seq,
        "org.matrix.msgid": message_id,
    }


def _special(message: Message, to: Device) -> tuple[str, dict[str, Any]]:
    """Return the type of a message, and the fields that only messages of this type have."""
    match message:
        case Offered(sdp=sdp):
            offer = {"offer": {"type": "offer", "sdp": sdp}, "lifetime": LIFETIME_MS, "invitee": to.user_id}
            return CALL_INVITE, {**offer, "capabilities": CAPABILITIES, **_streams(sdp, message.muted)}
        case Answered(sdp=sdp):
            answer = {"answer": {"type": "answer", "sdp": sdp}, "capabilities": CAPABILITIES}
            return CALL_ANSWER, {**answer, **_streams(sdp, message.muted)}
        case Renegotiated(is_offer=is_offer, sdp=sdp):
            description = {"type": "offer" if is_offer else "answer", "sdp": sdp}
            again = {"description": description, "lifetime": LIFETIME_MS}
            return CALL_NEGOTIATE, {**again, **_streams(sdp, message.muted)}
        case Candidates(candidates=candidates):
            return CALL_CANDIDATES, {"candidates": [webrtc.init_of(candidate) for candidate in candidates]}
        case AnswerSelected(party_id=party):
            return CALL_SELECT_ANSWER, {"selected_party_id": party}
        case HungUp(reason=reason, rejects=rejects):
            return CALL_REJECT if rejects else CALL_HANGUP, {"reason": reason} if reason else {}
        case Muted() | Ignored():
            raise ValueError("the bot sends no such message")


def _streams(sdp: str, muted: bool | None) -> dict[str, Any]:
    """Describe the streams of our SDP, under both names. The bot shows itself muted: it only listens, and who is
    unmuted has the floor of a push-to-talk call."""
    kind = {"purpose": USERMEDIA, "audio_muted": muted is not False, "video_muted": True}
    streams = dict.fromkeys(_STREAM.findall(sdp), kind)
    return {METADATA: streams, METADATA_UNSTABLE: streams}
