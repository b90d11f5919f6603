"""The tables. Column names are the fields of `storage.records`, so that a row is a record."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from storage.columns import (
    Aways,
    Chapters,
    Credits,
    Delayed,
    Devices,
    Facts,
    Floors,
    Kept,
    Lost,
    Positions,
    RaisedUsers,
    SavedLevels,
    Source,
    StemParts,
    Stems,
    Texts,
    Transmissions,
    Turns,
    UnheardTimes,
    Users,
    Utc,
    Word,
    Words,
)
from storage.dialect import BIG, NEVER_AGAIN, only_where
from storage.records import (
    Announce,
    Behind,
    CallEventKind,
    CallProtocol,
    ChunkState,
    Container,
    EndedBy,
    FloorMarkKind,
    HistoryVisibility,
    JobState,
    PermitSource,
    RecordingKind,
    RecordingState,
    Visibility,
)

TREE = JSON(none_as_null=True)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

rooms = Table(
    "rooms",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("podcast_guid", String(36), nullable=False),
    Column("joined", Boolean, nullable=False),
    Column("recording_on", Boolean, nullable=False),
    Column("visibility", Word(Visibility), nullable=False),
    Column("public_since", BIG),
    Column("encrypted", Boolean, nullable=False),
    Column("direct", Boolean, nullable=False),
    Column("inviter", String(255)),
    Column("revision", Integer, nullable=False),
    Column("changed_at", Utc, nullable=False),
    Column("cover", String(64)),
    Column("cover_of", Text),
    Column("told_at", BIG, server_default="0"),
    Column("told_by", String(255)),
    Column("messages_since", BIG),
    Column("messages_wait", Boolean, nullable=False, server_default="0"),
    Column("calls_on", Boolean, nullable=False, server_default="0"),
    Column("call_wanted", Boolean, nullable=False, server_default="0"),
    Column("announce", Word(Announce), nullable=False, server_default="quiet"),
    Column("language", String(16)),
    Column("retention", Kept, nullable=False, server_default="{}"),
    Column("review", Boolean, nullable=False, server_default="0"),
    Column("replay", Boolean, nullable=False, server_default="0"),
    Column("speakers", Users),
    Column("podcast", Texts, nullable=False, server_default="{}"),
    Column("own_cover", String(64)),
    Column("own_cover_event", String(255), index=True),
    Column("own_cover_room", String(255)),
    Column("own_cover_sender", String(255)),
    Column("closed_since", BIG),
    Column("behind", Word(Behind)),
)

room_state = Table(
    "room_state",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("type", String(255), primary_key=True),
    Column("state_key", String(255), primary_key=True),
    Column("sender", String(255), nullable=False),
    Column("content", TREE, nullable=False),
    Column("position", BIG, nullable=False),
    Column("event_id", String(255)),
    Column("sent_at", Utc),
)

journal = Table(
    "journal",
    metadata,
    Column("position", BIG, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("event", TREE),  # None once it is handled and nothing waits for it
    Column("encrypted", Boolean, nullable=False),
    Column("clear_relation", TREE),
    Column("session_id", String(255), index=True),
    Column("history", Boolean, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("handled", Boolean, nullable=False, index=True),
    **NEVER_AGAIN,
)

messages = Table(
    "messages",
    metadata,
    Column("session_id", String(255), primary_key=True),
    Column("message_index", BIG, primary_key=True, autoincrement=False),
    Column("event_id", String(255), nullable=False, index=True),
    Column("heard_at", Utc, nullable=False, index=True),
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("code", String(16), nullable=False, unique=True),
    Column("number", Integer, nullable=False),
    Column("room_id", String(255), nullable=False),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("kind", Word(RecordingKind), nullable=False),
    Column("broadcaster", String(255), nullable=False, index=True),
    Column("state", Word(RecordingState), nullable=False, index=True),
    Column("position", BIG, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("heard_at", Utc, nullable=False),
    Column("ended_by", Word(EndedBy)),
    Column("ended_at", Utc),
    Column("quiet_until", Utc),
    Column("history_visibility", Word(HistoryVisibility), nullable=False),
    Column("public", Boolean, nullable=False),
    Column("past", Boolean, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("kept", Boolean, nullable=False, server_default="0"),
    Column("unreviewed", Boolean, nullable=False, server_default="0"),
    Column("expiry_told_at", Utc),
    Column("announced_as", String(255)),
    Column("expiry_tried_at", Utc),
    Column("broadcaster_name", Text),
    Column("chunks_edition", String(16), nullable=False, server_default=""),
    # of sessions alone
    Column("thread", String(255)),
    Column("speakers", Credits, nullable=False, server_default="[]"),
    Column("transmissions", Transmissions, nullable=False, server_default="[]"),
    Column("chosen", Boolean, nullable=False, server_default="0"),
    # of calls alone
    Column("protocol", Word(CallProtocol)),
    Column("call_id", String(255)),
    Column("stems", Stems, nullable=False, server_default="[]"),
    Column("aways", Aways, nullable=False, server_default="[]"),
    Column("unheard", UnheardTimes, nullable=False, server_default="[]"),
    Column("turns", Turns, nullable=False, server_default="[]"),
    Column("notice", String(255)),
    # of a voice broadcast alone
    Column("device_id", String(255)),
    Column("paused", Boolean, nullable=False),
    Column("announced_last", Integer),
    Column("resumes", Positions, nullable=False, server_default="[]"),
    UniqueConstraint("room_id", "number", name="uq_recordings_room_number"),
    Index("ix_recordings_newest", "room_id", "started_at", "id"),
    Index("ix_recordings_of_kind", "room_id", "kind", "thread", "position"),
    Index("ix_recordings_unreviewed", "room_id", "unreviewed"),
    **NEVER_AGAIN,
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(255), unique=True),
    Column("sender", String(255), nullable=False, index=True),
    Column("position", BIG, nullable=False),
    Column("state", Word(ChunkState), nullable=False),
    Column("reason", String(64)),
    Column("source", Source),
    Column("session_id", String(255), index=True),
    Column("announced_ms", BIG),
    Column("announced_bytes", BIG),
    Column("sent_at", Utc),
    Column("blob", String(64), index=True),
    Column("bytes", BIG),
    Column("facts", Facts),
    Column("answer", String(160)),
    # of sessions alone
    Column("sender_name", Text),
    Column("transmission", String(255), index=True),
    # of calls alone
    Column("stem", Integer),
    Column("at", BIG),
    # of a voice broadcast alone
    Column("sequence", BIG),
    Column("attached", Boolean, nullable=False),
    Index("ix_chunks_candidates", "state", **only_where("state = 'candidate'")),
    Index("ix_chunks_in_order", "recording_id", "position"),
)

erased_messages = Table(
    "erased_messages",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
)

transmissions = Table(
    "transmissions",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
)

call_events = Table(
    "call_events",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", BIG, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("what", Word(CallEventKind), nullable=False),
    Column("device_id", String(255), nullable=False),
)

call_told = Table(
    "call_told",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
)

stem_blobs = Table(
    "stem_blobs",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
)

floor_marks = Table(
    "floor_marks",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("kind", Word(FloorMarkKind), primary_key=True),
    Column("users", Users, nullable=False),
    Column("ours", Boolean, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("noted_at", Utc, nullable=False, index=True),
)

episodes = Table(
    "episodes",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("guid", String(64), nullable=False, unique=True),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
    Column("samples", BIG, nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("published_at", Utc),
    Column("fingerprint", String(64), nullable=False),
    Column("announced", Boolean, nullable=False),
    Column("loss", Lost, nullable=False),
    Column("chapters", Chapters, nullable=False, server_default="[]"),
    Column("titled", Text),
    Column("credited", Text),
    Column("head", Integer, nullable=False, server_default="0"),
    Column("lost_at", Utc),
    Column("unjoined", String(64)),
)

tracks = Table(
    "tracks",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("channels", Integer, nullable=False),
    Column("kbps", Integer, nullable=False),
    Column("target_lufs", Float),
    Column("start_db", Float),
    Column("generation", Integer, nullable=False),
    Column("live_from", Utc),
    Column("edition", String(16), nullable=False, server_default=""),
)

cuts = Table(
    "cuts",
    metadata,
    Column("recording_id", BIG, ForeignKey("tracks.recording_id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("samples", BIG, nullable=False),
    Column("blob", String(64)),
    Column("container", Word(Container), nullable=False),
    Column("continues", Boolean, nullable=False),
    Column("gains", LargeBinary),
    Column("level", Text),
    Column("off_by", BIG, nullable=False),
    Column("parts", StemParts),  # of a window of a call
    Column("kept", LargeBinary),
    Column("peaks", LargeBinary),  # of 10 ms each
)

extents = Table(
    "extents",
    metadata,
    Column("recording_id", BIG, ForeignKey("tracks.recording_id", ondelete="CASCADE"), primary_key=True),
    Column("first", BIG, primary_key=True),
    Column("frames", BIG, nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("offset", BIG, nullable=False),
)

handed_back = Table(
    "handed_back",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("fingerprint", String(64), nullable=False),
    Column("part", Integer, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("first", BIG, nullable=False),
    Column("samples", BIG, nullable=False),
    Column("bytes", BIG, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("replaces", String(255)),
    Column("source", Source),
    Column("event_id", String(255)),
    Column("withdrawn", Boolean, nullable=False),
    Column("transmission", String(255)),
    **NEVER_AGAIN,
)

withheld = Table(
    "withheld",
    metadata,
    Column("session_id", String(255), primary_key=True),
    Column("sender", String(255), primary_key=True),
    Column("code", String(64), nullable=False),
    Column("noted_at", Utc, nullable=False),
)

heirs = Table(
    "heirs",
    metadata,
    Column("room_id", String(255), ForeignKey("rooms.room_id"), primary_key=True),
    Column("heir", String(255), ForeignKey("rooms.room_id"), nullable=False, unique=True),
    Column("confirmed", Boolean, nullable=False, server_default="0"),  # by the old room's tombstone
)

hosts = Table(
    "hosts",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
)

redacted = Table(
    "redacted",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("room_id", String(255), nullable=False),
    Column("event_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False),
    Column("noted_at", Utc, nullable=False),
    Column("may", Boolean),  # redact others' events, by power when it was said
    UniqueConstraint("event_id", "sender", "room_id"),
    Index("ix_redacted_newest", "room_id", "id"),
)

sealed_messages = Table(
    "sealed_messages",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("room_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False, index=True),
    Column("heard_at", Utc, nullable=False, index=True),
    Index("ix_sealed_messages_room", "room_id", "id"),
)

gaps = Table(
    "gaps",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("low", BIG, nullable=False),
    Column("next_position", BIG, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("mark", Text),
    Column("until_token", Text),
    Column("until_event", String(255)),
    Column("pages", Integer, nullable=False),
    Column("unclaimed", Integer, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("hold_until", Utc, nullable=False),
    Column("walking", Boolean, nullable=False),
    **NEVER_AGAIN,
)

newest_heard = Table(
    "newest_heard",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("event_id", String(255), nullable=False),
)

asked = Table(
    "asked",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("answered_at", Utc, nullable=False),
)

listeners = Table(
    "listeners",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("next_generation", Integer),
    Column("next_sha256", String(64)),
    Index("ix_listeners_next_sha256", "next_sha256", unique=True),
)

listener_uses = Table(
    "listener_uses",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("used_at", Utc, nullable=False),
    Column("app", String(64), nullable=False),
)

ended_addresses = Table(
    "ended_addresses",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("ended_at", Utc, nullable=False),
)

feed_editions = Table(
    "feed_editions",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("changed_at", Utc, nullable=False),
)

public_urls = Table(
    "public_urls",
    metadata,
    Column("url", String(512), primary_key=True),
    Column("since", Utc, nullable=False),
)

hub_notes = Table(
    "hub_notes",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("revision", Integer, nullable=False),
)

originals = Table(
    "originals",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("fingerprint", String(64), nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
    Column("sha384", String(64), nullable=False),
)

portraits = Table(
    "portraits",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("avatar", Text, nullable=False),
    Column("blob", String(64), index=True),
)

directs = Table(
    "directs",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, unique=True),
    Column("invited_at", Utc, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("room_id", String(255)),
    Column("by", String(255)),
    Column("what", String(32), nullable=False),
    Column("subject", String(255)),
    Column("before", Text),
    Column("after", Text),
    Column("event_id", String(255)),
    Index("ix_changes_newest", "room_id", "id"),
    **NEVER_AGAIN,
)

optouts = Table(
    "optouts",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("room_id", String(255), primary_key=True),
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("out", Boolean, nullable=False),
    Column("at", Utc, nullable=False),
    Column("event_id", String(255)),
)

questions = Table(
    "questions",
    metadata,
    Column("command", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("asker", String(255), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("words", Words, nullable=False),
    Column("asked_at", Utc, nullable=False, index=True),
    Column("encrypted", Boolean, nullable=False),
    Column("event_id", String(255)),
    Column("answered", Boolean, nullable=False),
    Column("about", String(255), nullable=False, server_default=""),
    Column("thread", String(255)),
    Column("sent_at", Utc),
    Column("said_at", Utc),
)

consent_notices = Table(
    "consent_notices",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("said_at", Utc, nullable=False),
    Column("body", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
)

walkies = Table(
    "walkies",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("on", Boolean, nullable=False),
    Column("floor_s", Float, nullable=False),
    Column("guard_s", Float, nullable=False),
    Column("floor", Floors, nullable=False),
    Column("panel", String(255)),
    Column("locked", Boolean, nullable=False),
    Column("saved", SavedLevels, nullable=False),
    Column("raised", RaisedUsers, nullable=False),
    Column("shown", TREE),
    Column("delayed", Delayed),
    Column("hindered", Boolean, nullable=False),
    Column("pinned", String(255)),
)

permits = Table(
    "permits",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("source", Word(PermitSource), primary_key=True),
    Column("position", BIG, nullable=False),
    Column("receive", Boolean, nullable=False),
    Column("send", Boolean, nullable=False),
    Column("expires_at", Utc),
    Column("devices", Devices),
    Column("written", Boolean, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("payload", TREE, nullable=False),
    Column("state", Word(JobState), nullable=False),
    Column("run_at", Utc, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("once_key", String(600), unique=True),
    Column("changed_at", Utc, nullable=False),
    Column("turn", String(255)),
    Column("worker", String(64)),  # that runs it; NULL: the bot itself
    Index("ix_jobs_due", "state", "run_at", "id"),
    Index("uq_jobs_ready", "kind", "subject", unique=True, **only_where("state = 'ready'")),
    Index("uq_jobs_running", "kind", "subject", unique=True, **only_where("state = 'running'")),
    **NEVER_AGAIN,
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("since", Utc, nullable=False),
    Column("until", Utc, nullable=False),  # by the database's clock
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

live_listening = Table(
    "live_listening",
    metadata,
    Column("recording_id", BIG, primary_key=True, autoincrement=False),
    Column("heard_at", Utc, nullable=False, index=True),
)

owner = Table(
    "owner",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("epoch", BIG, nullable=False),
    Column("holder", String(300), nullable=False),
    Column("since", Utc, nullable=False),
    Column("until", Utc, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("heard_at", Utc),
)

blob_marks = Table(
    "blob_marks",
    metadata,
    Column("blob", String(64), primary_key=True),
    Column("token", String(32), primary_key=True),
    Column("leaving", Boolean, nullable=False),
    Column("since", Utc, nullable=False),
    Index("ix_blob_marks_token", "token"),
)
