"""A recording as the contract shows it."""

import json
from dataclasses import replace
from datetime import timedelta

from bot.recording.model import CameBack, Deleted, Ended, Heard, NotHeard, Spoken, WentAway
from bot.recording.report import recording_json
from storage.records import (
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    ChunkState,
    Credit,
    EndedBy,
    Episode,
    LeftBy,
    RecordingId,
    RecordingState,
    Samples,
    Turn,
)
from tests.recording.call.world import ANN, BEN, Call, closed, slice_of
from tests.recording.session.samples import a_session
from tests.recording.world import NOON, World, absent, blob, mp4, recording, slices


def episode() -> Episode:
    made = NOON + timedelta(minutes=1)
    return Episode(RecordingId(1), "urn:uuid:x", BlobKey("ab"), 1_472_000, Samples(0), made, published_at=made)


def test_a_complete_recording() -> None:
    """Every field of the contract is there, in its form."""
    world = World()
    facts = slices([7, 7])
    world.say("$1", 1, facts[0])
    world.say("$2", 2, facts[1])
    world.stop(2)
    shown = recording_json(
        world.recording, world.chunks, episode(), title="Alice, today", given_title=None, named=str, path="blobs/ab/ab"
    )
    assert json.loads(json.dumps(shown)) == {
        "id": "$start",
        "code": "kfmtra",
        "number": 1,
        "room_id": "!room:hs",
        "kind": "voice_broadcast",
        "broadcaster": "@alice:hs",
        "state": "complete",
        "ended_by": "stopped",
        "started_at": "2026-11-20T12:00:00.000+00:00",
        "ended_at": "2026-11-20T12:00:00.000+00:00",
        "duration_ms": 11_120,
        "speakers": [{"user_id": "@alice:hs", "name": None, "heard_ms": 11_120}],
        "chapters": [],
        "chunks": [
            {
                "sequence": 1,
                "event_id": "$1",
                "state": "stored",
                "position_ms": 0,
                "duration_ms": 5520,
                "timing": "exact",
                "bytes": 1000,
                "sha256": blob("$1"),
                "container": "ogg/opus",
            },
            {
                "sequence": 2,
                "event_id": "$2",
                "state": "stored",
                "position_ms": 5520,
                "duration_ms": 5600,
                "timing": "exact",
                "bytes": 1000,
                "sha256": blob("$2"),
                "container": "ogg/opus",
            },
        ],
        "gaps": [],
        "episode": {
            "guid": "urn:uuid:x",
            "title": "Alice, today",
            "path": "blobs/ab/ab",
            "bytes": 1_472_000,
            "mime": "audio/mpeg",
            "published_at": "2026-11-20T12:01:00.000+00:00",
        },
    }


def test_what_is_missing() -> None:
    """A chunk that was never seen has no event, one that waits for its key no number; both are gaps."""
    world = World()
    world.say("$1", 1, mp4(5))
    world.seal("$s")
    world.say("$4", 4, mp4(5))
    shown = recording_json(world.recording, world.chunks, None, title="", given_title=None, named=str, path=None)
    assert [(chunk["sequence"], chunk["event_id"], chunk["state"]) for chunk in shown["chunks"]] == [
        (1, "$1", "stored"),
        (None, "$s", "waiting_for_key"),
        (3, None, "missing"),
        (4, "$4", "stored"),
    ]
    assert shown["chunks"][2]["bytes"] is None
    assert shown["gaps"] == [
        {"position_ms": 5000, "duration_ms": 5000, "reason": "waiting_for_key"},
        {"position_ms": 10_000, "duration_ms": 5000, "reason": "missing"},
    ]
    assert (shown["state"], shown["ended_by"], shown["ended_at"], shown["episode"]) == ("live", None, None, None)


def test_a_tombstone_shows_nothing() -> None:
    """A deleted recording shows neither chunks nor an episode, even if rows were left."""
    gone = replace(recording(), state=RecordingState.DELETED)
    shown = recording_json(
        gone,
        [absent("$1", 1, ChunkState.DAMAGED)],
        episode(),
        title="Secret",
        given_title=None,
        named=str,
        path="blobs/x",
    )
    assert (shown["chunks"], shown["gaps"], shown["episode"], shown["duration_ms"]) == ([], [], None, 0)
    assert (shown["speakers"], shown["chapters"]) == ([], [])
    assert "Secret" not in json.dumps(shown)


def test_a_session() -> None:
    """A session lists its speakers and chapters, and each message has a sender and no number."""
    session, messages = a_session("ann 4", "ben 3", "ann 2")
    shown = recording_json(session, messages, None, title="", given_title=None, named=str, path=None)
    assert (shown["kind"], shown["broadcaster"]) == ("voice_messages", "@ann:hs")
    assert shown["speakers"] == [
        {"user_id": "@ann:hs", "name": "Ann", "heard_ms": 6000},
        {"user_id": "@ben:hs", "name": "Ben", "heard_ms": 3000},
    ]
    assert shown["chapters"] == [
        {"position_ms": 0, "title": "Ann"},
        {"position_ms": 5000, "title": "Ben"},
        {"position_ms": 9000, "title": "Ann"},
    ]
    assert [(chunk["sequence"], chunk["sender"]) for chunk in shown["chunks"]] == [
        (None, "@ann:hs"),
        (None, "@ben:hs"),
        (None, "@ann:hs"),
    ]


def test_chunks_of_a_broadcast_have_no_sender() -> None:
    """A broadcast has one speaker, whom its chunks don't repeat."""
    world = World()
    world.say("$1", 1, mp4(5))
    shown = recording_json(world.recording, world.chunks, None, title="", given_title=None, named=str, path=None)
    assert "sender" not in shown["chunks"][0]


def test_the_first_speaker_is_the_broadcaster() -> None:
    """Whoever began a session and can't be heard in it is not its broadcaster."""
    session, messages = a_session("ann 4", "ben 3")
    waiting = replace(messages[0], state=ChunkState.WAITING_FOR_KEY, blob=None, facts=None)
    shown = recording_json(session, [waiting, messages[1]], None, title="", given_title=None, named=str, path=None)
    assert (shown["broadcaster"], len(shown["speakers"])) == ("@ben:hs", 1)


def test_a_call() -> None:
    """A call lists its stems and events, and no chunks; the time in which the bot was not in it is a gap."""
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    call.keep(slice_of(1, 0), slice_of(2, 0, BEN))
    call.tell(replace(closed(1, 10, LeftBy.LOST), received=Samples(9 * 48_000), lost=Samples(48_000)))
    call.tell(WentAway(Samples(10 * 48_000)))
    call.tell(CameBack(Samples(20 * 48_000)))
    call.keep(slice_of(2, 2, BEN))
    turns = (Turn(BEN, "Ben", Samples(0), Samples(480_000)),)
    call.tell(Spoken((Credit(BEN, "Ben", Samples(480_000)), Credit(ANN, "Ann", Samples(48_000))), turns))
    events = [
        CallEvent(Samples(0), ANN, CallEventKind.JOINED, "DEV"),
        CallEvent(Samples(480_000), ANN, CallEventKind.LOST, "DEV"),
    ]
    call.now += timedelta(seconds=40)
    shown = recording_json(
        call.recording, call.chunks, None, title="", given_title=None, named=str, path=None, events=events,
        stem_paths={1: "blobs/ab/ab"},
    )  # fmt: skip
    assert json.loads(json.dumps(shown)) == {
        "id": "$call",
        "code": "kfmtra",
        "number": 1,
        "room_id": "!room:hs",
        "kind": "call",
        "broadcaster": BEN,
        "state": "live",
        "ended_by": None,
        "started_at": "2026-11-20T12:00:00.000+00:00",
        "ended_at": None,
        "duration_ms": 30_000,
        "speakers": [
            {"user_id": BEN, "name": "Ben", "heard_ms": 10_000},
            {"user_id": ANN, "name": "Ann", "heard_ms": 1000},
        ],
        "chapters": [{"position_ms": 0, "title": "Ben"}],
        "protocol": "msc3401",
        "stems": [
            {
                "user_id": ANN,
                "device_id": "DEV",
                "joined_ms": 0,
                "left_ms": 10_000,
                "left_by": "lost",
                "received_ms": 9000,
                "lost_ms": 1000,
                "path": "blobs/ab/ab",
                "bytes": 5000,
                "mime": "audio/ogg",
            },
            {
                "user_id": BEN,
                "device_id": "BEN",
                "joined_ms": 0,
                "left_ms": None,
                "left_by": None,
                "received_ms": 0,
                "lost_ms": 0,
                "path": None,
                "bytes": None,
                "mime": "audio/ogg",
            },
        ],
        "events": [
            {"at_ms": 0, "user_id": ANN, "what": "joined"},
            {"at_ms": 10_000, "user_id": ANN, "what": "lost"},
        ],
        "chunks": [],
        "gaps": [{"position_ms": 10_000, "duration_ms": 10_000, "reason": "away"}],
        "episode": None,
    }


def test_calls_name_their_protocol_and_what_happened() -> None:
    """The words are those of the protocols, and of what members and their devices did; what could not be heard of them
    is in the gaps."""
    recording = replace(Call().recording, protocol=CallProtocol.MATRIXRTC)
    events = [CallEvent(Samples(0), ANN, what, "DEV") for what in CallEventKind]
    shown = recording_json(
        recording, (), None, title="", given_title=None, named=str, path=None, events=events
    )  # fmt: skip
    assert shown["protocol"] == "matrixrtc"
    words = "joined left lost rejoined muted unmuted declined refused"
    assert [event["what"] for event in shown["events"]] == words.split()


def test_the_gaps_of_speakers() -> None:
    """A gap of one member names them and why, among the gaps of all, in the order of their beginnings."""
    call = Call()
    call.join(ANN)
    call.keep(slice_of(1, 0), slice_of(1, 1))
    for device, why, at in (("DEV", CallEventKind.UNREACHABLE, 2), ("PHONE", CallEventKind.UNREADABLE, 12)):
        call.tell(NotHeard(BEN, device, why, Samples(at * 48_000)))
        call.tell(Heard(BEN, device, Samples((at + 3) * 48_000)))
    call.tell(WentAway(Samples(7 * 48_000)))
    call.tell(CameBack(Samples(9 * 48_000)))
    call.tell(closed(1, 20))
    call.tell(Ended(EndedBy.STOPPED))
    shown = recording_json(
        call.recording, call.chunks, None, title="", given_title=None, named=str, path=None
    )  # fmt: skip
    assert (shown["state"], shown["duration_ms"]) == ("incomplete", 20_000)
    assert shown["gaps"] == [
        {"position_ms": 2000, "duration_ms": 3000, "reason": "unreachable", "user_id": BEN},
        {"position_ms": 7000, "duration_ms": 2000, "reason": "away"},
        {"position_ms": 12_000, "duration_ms": 3000, "reason": "unreadable", "user_id": BEN},
    ]


def test_a_deleted_call() -> None:
    """Nothing is left that shows who was in it."""
    call = Call()
    call.join(ANN)
    call.tell(Deleted())
    events = [CallEvent(Samples(0), ANN, CallEventKind.JOINED, "DEV")]
    shown = recording_json(
        call.recording, (), None, title="", given_title=None, named=str, path=None, events=events
    )  # fmt: skip
    assert (shown["protocol"], shown["stems"], shown["events"], shown["chunks"]) == ("msc3401", [], [], [])
