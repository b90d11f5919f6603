"""MSC3888, redactions, sealed events, and junk."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dialects import READERS, read
from bot.recording.model import BroadcastStarted, ChunkSealed, ChunkSent, MessageSealed, Redacted, Rejected
from storage.records import EventId, HeardEvent, Json, RoomId, SessionId, UserId
from tests.recording.world import DATA

EXAMPLES = json.loads((DATA / "examples.json").read_text())
TO_START = {"rel_type": "m.reference", "event_id": "$start"}


def heard(event: dict[str, Any], **how: Any) -> HeardEvent:
    return HeardEvent(RoomId("!r:hs"), EventId("$event"), {"sender": "@a:hs", **event}, **how)


@pytest.mark.parametrize("prefix", ["org.matrix.msc3888", "m"])
def test_the_proposal_is_spoken_under_both_names(prefix: str) -> None:
    """MSC3888's events are read under their unstable and their stable names."""
    info = heard({**EXAMPLES["web_started"], "type": f"{prefix}.voice_broadcast_info", "state_key": "@a:hs"})
    chunk = read(heard({**EXAMPLES["msc_chunk"], "type": f"{prefix}.voice_broadcast_chunk"}))
    assert isinstance(read(info), BroadcastStarted)
    assert isinstance(chunk, ChunkSent)
    assert (chunk.broadcast, chunk.sequence, chunk.announced_ms) == ("$start", 1, 1)


def test_redacted_chunk_of_the_proposal() -> None:
    """A redacted chunk of MSC3888 says nothing; one with junk for a content is rejected."""
    kind = "m.voice_broadcast_chunk"
    assert read(heard({"type": kind, "content": {}})) is None
    assert read(heard({"type": kind, "content": []})) == Rejected("content", "msc3888")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"redacts": "$start", "content": {}}, "$start"),
        ({"content": {"redacts": "$start"}}, "$start"),
        ({"redacts": "$start", "content": {"redacts": "$start", "reason": "oops"}}, "$start"),
        ({"redacts": "$start"}, "$start"),
    ],
)
def test_redactions_of_all_room_versions(event: dict[str, Any], expected: str) -> None:
    """The redacted event is named at the top, since room version 11 in the content."""
    assert read(heard({"type": "m.room.redaction", **event})) == Redacted(EventId(expected), "@a:hs")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "event",
    [
        {"content": {}},
        {"redacts": "start", "content": {}},
        {"redacts": {"$start": 1}, "content": {"redacts": {"$start": 1}}},
        {"redacts": "$mine", "content": {"redacts": "$start"}},
    ],
)
def test_redactions_that_are_none(event: dict[str, Any]) -> None:
    """A redaction without a target, or with two that differ, redacts nothing."""
    assert read(heard({"type": "m.room.redaction", **event})) == Rejected("redacts", "redaction")


def test_encrypted_redaction_is_a_forgery() -> None:
    """A redaction out of an encrypted payload is rejected, since no homeserver checked it."""
    event = {"type": "m.room.redaction", "redacts": "$start", "content": {}}
    assert read(heard(event, encrypted=True)) == Rejected("encrypted_redaction", "redaction")


def test_sealed_event_with_a_reference() -> None:
    """An event that can't be decrypted and refers to another may be a chunk."""
    event = read(heard(EXAMPLES["web_chunk_wrapper_e2ee"], session_id=SessionId("megolm"), clear_relation=TO_START))
    assert event == ChunkSealed(EventId("$start"), "@a:hs", SessionId("megolm"), None)  # type: ignore[arg-type]


def test_sealed_event_from_its_wrapper_alone() -> None:
    """The wrapper's own content is enough to know the reference and the session."""
    event = read(heard(EXAMPLES["web_chunk_wrapper_e2ee"]))
    assert isinstance(event, ChunkSealed)
    assert (event.broadcast, event.session_id) == ("$start", "...")


@pytest.mark.parametrize("relation", [None, {"rel_type": "m.thread", "event_id": "$r"}, {"m.in_reply_to": {}}])
def test_sealed_event_without_a_reference(relation: Json | None) -> None:
    """An encrypted message without a reference may be a voice message."""
    content = {"session_id": "s", "m.relates_to": relation}
    sealed = heard({"type": "m.room.encrypted", "content": content}, session_id=SessionId("s"))
    assert read(sealed) == MessageSealed(UserId("@a:hs"))


@pytest.mark.parametrize("rel_type", ["m.replace", "m.annotation"])
def test_sealed_event_that_is_no_message_of_its_own(rel_type: str) -> None:
    """An edit and a reaction are left out."""
    content = {"session_id": "s", "m.relates_to": {"rel_type": rel_type, "event_id": "$r"}}
    assert read(heard({"type": "m.room.encrypted", "content": content}, session_id=SessionId("s"))) is None


KEYS = st.sampled_from(
    [
        "state", "device_id", "chunk_length", "last_chunk_sequence", "m.relates_to", "rel_type", "event_id", "msgtype",
        "url", "file", "key", "k", "iv", "hashes", "sha256", "v", "info", "duration", "size", "sequence", "redacts",
        "io.element.voice_broadcast_chunk", "org.matrix.msc1767.audio", "session_id",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["$start", "@a:hs", "mxc://h/i"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)
FIELDS = dict.fromkeys(("state_key", "sender", "content", "origin_server_ts", "redacts", "event_id"), JSON)


@given(
    kind=st.sampled_from(sorted(READERS)),
    fields=st.fixed_dictionaries({}, optional=FIELDS),
    relation=st.none() | st.dictionaries(KEYS, JSON, max_size=3),
    encrypted=st.booleans(),
)
def test_junk_never_raises(
    kind: str, fields: dict[str, Any], relation: dict[str, Any] | None, *, encrypted: bool
) -> None:
    """Whatever strangers write, the result is a valid event, a named rejection, or nothing."""
    event = HeardEvent(
        RoomId("!r"), EventId("$e"), {"type": kind, **fields}, encrypted=encrypted, clear_relation=relation
    )
    found = read(event)
    if isinstance(found, Rejected):
        assert found.rule.isidentifier()
    if isinstance(found, ChunkSent):
        repr(found).encode()
        assert found.sequence is None or 1 <= found.sequence <= 100_000


@given(path=st.sampled_from(["info", "key", "file", "marker", "relation"]), junk=JSON)
def test_junk_inside_a_good_chunk(path: str, junk: Any) -> None:
    """Junk in one part of a good chunk never raises and never changes its broadcast."""
    content = json.loads(json.dumps(EXAMPLES["web_chunk_plain"]["content"]))
    place = {"marker": "io.element.voice_broadcast_chunk", "relation": "m.relates_to"}.get(path, path)
    content[place] = junk
    found = read(heard({"type": "m.room.message", "content": content}))
    if isinstance(found, ChunkSent) and path != "relation":
        assert found.broadcast == "$start"
