"""Types of events that several modules name: of the Client-Server API, and our own. Pure."""

# ---- of a room's state

CREATE = "m.room.create"
POWER_LEVELS = "m.room.power_levels"
MEMBER = "m.room.member"
ROOM_NAME = "m.room.name"
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

# ---- of the timeline

MESSAGE = "m.room.message"
REACTION = "m.reaction"
ENCRYPTED = "m.room.encrypted"
REQUEST = "org.aircheck.walkie.request"
