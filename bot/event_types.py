"""Types of events of the Client-Server API that several modules name. Pure."""

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

# ---- of the timeline

MESSAGE = "m.room.message"
REACTION = "m.reaction"
ENCRYPTED = "m.room.encrypted"
