"""Types of events that several modules name: of the Client-Server API, and our own. Pure."""

from collections.abc import Mapping

from storage.records import CallProtocol

# ---- of a room's state

CREATE = "m.room.create"
POWER_LEVELS = "m.room.power_levels"
MEMBER = "m.room.member"
ROOM_NAME = "m.room.name"
ROOM_TOPIC = "m.room.topic"
ROOM_AVATAR = "m.room.avatar"
CANONICAL_ALIAS = "m.room.canonical_alias"
ENCRYPTION = "m.room.encryption"
HISTORY_VISIBILITY = "m.room.history_visibility"
TOMBSTONE = "m.room.tombstone"
JOIN_RULES = "m.room.join_rules"
PINNED_EVENTS = "m.room.pinned_events"
DISCLOSURE = "org.aircheck.room"
PERMIT = "org.aircheck.walkie.permit"
FLOOR = "org.aircheck.walkie.floor"
CALL = "org.matrix.msc3401.call"
CALL_MEMBER = "org.matrix.msc3401.call.member"
"""Members of a call, of MSC3401 and in another shape of MatrixRTC."""
CALL_STATE = "de.mtorials.test.callstate"
"""A device that is in an MXVC voice channel, or was."""
RTC_SLOT = "org.matrix.msc4143.rtc.slot"
"""A place for MatrixRTC calls of a kind in a room: open, or closed."""
CALLS = frozenset({CALL, CALL_MEMBER, CALL_STATE, RTC_SLOT})
"""All types of state that tell who is in a call."""
RTC_MEMBER = "org.matrix.msc4143.rtc.member"
"""A member of a MatrixRTC call, in a sticky event of the timeline. Kept among a room's state while it is sticky."""
SEALED_STICKY = "org.aircheck.sticky.sealed"
"""A sticky event whose key has not come, as it is kept among a room's state."""
STICKY_FIELD = "msc4354_sticky"
"""The field of an event that says for how long it is sticky (MSC4354)."""
STICKY = frozenset({RTC_MEMBER, SEALED_STICKY})
"""Types under which sticky events are kept among a room's state. State of these types, which anybody could send, is
not."""
SHOWN_IN_CALL: Mapping[CallProtocol, str] = {
    CallProtocol.MSC3401: CALL_MEMBER,
    CallProtocol.MATRIXRTC: CALL_MEMBER,
    CallProtocol.MXVC: CALL_STATE,
}
"""The types of state by which a member is shown in a call."""

# ---- of the bot's account data

WISHES = "org.aircheck.wishes"
"""Wishes for a room, or everywhere, sealed (`bot.intake.sealed_wishes`)."""

ELEMENT_INFO = "io.element.voice_broadcast_info"
MSC3888_INFO = "org.matrix.msc3888.voice_broadcast_info"
BROADCAST_INFOS = (ELEMENT_INFO, MSC3888_INFO, "m.voice_broadcast_info")
"""Info events of voice broadcasts: Element's, and the unstable and the stable one of MSC3888."""

# ---- of the timeline

MESSAGE = "m.room.message"
REACTION = "m.reaction"
MSC3888_CHUNK = "org.matrix.msc3888.voice_broadcast_chunk"
"""A chunk of a voice broadcast, by the unstable name of MSC3888."""
ENCRYPTED = "m.room.encrypted"
REQUEST = "org.aircheck.walkie.request"
CALL_SIGNAL = "de.mtorials.test.call"
"""An offer, an answer or an ICE candidate in an MXVC voice channel."""

# ---- to a device, about a leg of a call (MSC3401)

CALL_INVITE = "m.call.invite"
CALL_ANSWER = "m.call.answer"
CALL_CANDIDATES = "m.call.candidates"
CALL_SELECT_ANSWER = "m.call.select_answer"
CALL_NEGOTIATE = "m.call.negotiate"
CALL_HANGUP = "m.call.hangup"
CALL_REJECT = "m.call.reject"
CALL_METADATA = "m.call.sdp_stream_metadata_changed"
CALL_METADATA_UNSTABLE = "org.matrix.call.sdp_stream_metadata_changed"
CALL_MESSAGES = ("m.call.", "org.matrix.call.")
"""The beginnings of all types of messages between devices about a call, also of those that the bot has no use for: they
are numbered with the others."""
RTC_KEYS = "io.element.call.encryption_keys"
"""A key of a device's sound in a MatrixRTC call; sealed by Olm."""
SEALED_MESSAGES = (*CALL_MESSAGES, RTC_KEYS)
"""The beginnings of all types of messages between devices that are heard if they are sealed."""
