"""`aircheck rooms` and `aircheck recordings`, for people and for machines."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.check.finding import Level
from bot.errors import ConfigError
from bot.settings import Settings, validate
from bot.shell import listings
from bot.shell.check_storage import check_rooms
from storage import archive, calls, heirs, rooms
from storage.errors import StoreError
from storage.records import (
    Announce,
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    ChunkFacts,
    Container,
    Episode,
    EventId,
    Position,
    Recording,
    RecordingKind,
    RoomId,
    Samples,
    StateEvent,
    Stem,
    Timing,
    UserId,
    Visibility,
    to_samples,
)
from storage.store import Store
from tests.factories import a_chunk, a_recording, a_room
from tests.postgresql import of_the_file

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ROOM = RoomId("!studio:hs.example")
ALICE = UserId("@alice:hs.example")
BLOB = BlobKey("ab" * 32)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example"}
    return validate({"matrix": matrix, "storage": {"directory": str(tmp_path / "data")}})


def recording(event: str, started: datetime) -> Recording:
    return a_recording(at=started, room_id=ROOM, event_id=EventId(event), broadcaster=ALICE, broadcaster_name="Alice")


async def filled(settings: Settings, *, room_name: str = "The Studio") -> None:
    """Make a room with two recordings, the newer one with a chunk and an episode."""
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room(ROOM))
        name = StateEvent(ROOM, "m.room.name", "", ALICE, {"name": room_name}, Position(1))
        await rooms.save_state(db, name)
        await archive.add_recording(db, recording("$old", NOW - timedelta(days=1)))
        newer = await archive.add_recording(db, recording("$new", NOW))
        facts = ChunkFacts(Container.WAV, Timing.EXACT, to_samples(72_000), sample_rate=48_000, channels=1)
        chunk = a_chunk(recording_id=newer.id, position=Position(2), blob=BLOB, bytes=99, facts=facts)
        await archive.save_chunks(db, [chunk])
        episode = Episode(newer.id, "guid-1", BLOB, 1_000_000, Samples(48_000), NOW, published_at=NOW)
        await archive.save_episode(db, episode)
    await store.close()


async def test_recordings_for_machines(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """--json is an array, newest first, each with its ledger and the path of its episode."""
    await filled(settings)
    await listings.print_recordings(settings, room_id=None, as_json=True)
    newest, oldest = json.loads(capsys.readouterr().out)
    assert (newest["id"], oldest["id"]) == ("$new", "$old")
    assert newest["chunks"][0]["state"] == "stored"
    assert newest["duration_ms"] == 72_000
    assert newest["episode"]["title"] == "Alice, 20 November 2026, 14:05"
    assert newest["episode"]["path"] == f"blobs/ab/{BLOB}"
    assert oldest["episode"] is None


async def test_a_call_for_machines(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A call is listed with the paths of its stems, and its events."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    stem = Stem(1, ALICE, "DEV", "Alice", Samples(0), Position(1), serial=1, left=Samples(48), blob=BLOB, bytes=7)
    async with store.write() as db:
        begun = replace(recording("$call", NOW + timedelta(days=1)), kind=RecordingKind.CALL, stems=(stem,))
        call = await archive.add_recording(db, replace(begun, protocol=CallProtocol.MXVC, call_id=""))
        await calls.note(db, call.id, [CallEvent(Samples(0), ALICE, CallEventKind.JOINED, "DEV")])
    await store.close()
    await listings.print_recordings(settings, room_id=None, as_json=True)
    shown = json.loads(capsys.readouterr().out)[0]
    assert (shown["protocol"], shown["stems"][0]["path"]) == ("mxvc", f"blobs/ab/{BLOB}")
    assert shown["events"] == [{"at_ms": 0, "user_id": ALICE, "what": "joined"}]


async def test_recordings_for_people(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is a line for each recording, its columns separated by tabs."""
    await filled(settings)
    await listings.print_recordings(settings, room_id=ROOM, as_json=False)
    heads, first, *_ = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    shown = dict(zip(heads, first, strict=True))
    assert len(shown["code"]) == 6
    assert shown["started (UTC)"] == "2026-11-20 14:05"
    assert shown["length"] == "1 min 12 s"
    assert shown["title"] == "Alice, 20 November 2026, 14:05"


async def test_a_room_that_is_not_known_is_named(settings: Settings) -> None:
    """--room with an unknown room is a wrong argument."""
    await filled(settings)
    with pytest.raises(ConfigError, match="--room: !other:hs"):
        await listings.print_recordings(settings, room_id="!other:hs", as_json=True)


async def test_direct_chats_are_listed_only_when_they_are_recorded(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A direct chat is listed only if it is recorded."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        for name, on in (("!mere:hs.example", False), ("!recorded:hs.example", True)):
            room = rooms.new_room(RoomId(name), NOW)
            await rooms.save_room(db, replace(room, joined=True, direct=True, recording_on=on))
    await store.close()
    await listings.print_rooms(settings, as_json=True)
    listed = {entry["room_id"] for entry in json.loads(capsys.readouterr().out)}
    assert listed == {ROOM, "!recorded:hs.example"}


async def test_rooms_for_machines(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """--json lists each room with its policies and its size."""
    await filled(settings)
    await listings.print_rooms(settings, as_json=True)
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry == {
        "room_id": ROOM,
        "name": "The Studio",
        "joined": True,
        "encrypted": False,
        "direct": False,
        "recording": True,
        "recording_messages": False,
        "recording_calls": False,
        "waiting": False,
        "podcast": "private",
        "retention": "forever",
        "announce": "quiet",
        "language": None,
        "review": False,
        "replay": False,
        "studio": True,
        "studio_events": False,
        "speakers": None,
        "heir": None,
        "recordings": 2,
        "bytes": 1_000_099,
    }


async def test_policies_that_are_not_the_usual_ones_are_listed(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table names them in one column, --json each under its own key."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        chosen = a_room(ROOM, announce=Announce.ON, language="de", review=True, replay=True, speakers=(ALICE,))
        chosen = replace(chosen, studio=False, studio_events=True)
        await rooms.save_room(db, chosen)
    await store.close()
    await listings.print_rooms(settings, as_json=False)
    heads, row = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (
        dict(zip(heads, row, strict=True))["also"]
        == "announce on, language de, review, replay, speakers: 1, no studio, studio events"
    )
    await listings.print_rooms(settings, as_json=True)
    (entry,) = json.loads(capsys.readouterr().out)
    assert [entry[key] for key in ("announce", "language", "review", "replay", "speakers")] == [
        "on", "de", True, True, [ALICE],
    ]  # fmt: skip


async def test_a_room_that_was_not_told_yet_is_listed_as_waiting(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A room that waits for its notice is marked in table and JSON, and `aircheck check` warns of it."""
    await filled(settings)
    assert await check_rooms(settings) is None
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        room = a_room(ROOM, told_at=None)
        await rooms.save_room(db, room)
    await store.close()
    await listings.print_rooms(settings, as_json=False)
    assert "waiting for its notice" in capsys.readouterr().out
    await listings.print_rooms(settings, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["waiting"]
    found = await check_rooms(settings)
    assert found is not None
    assert (found.level, found.subject, ROOM in found.text) == (Level.WARN, "rooms", True)


async def test_a_room_that_was_upgraded_names_its_heir(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """An upgraded room is listed with its heir and the podcast's current visibility, and keeps its recordings."""
    await filled(settings)
    new = RoomId("!zoo:hs.example")
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        heir = a_room(new, visibility=Visibility.PUBLIC)
        await rooms.save_room(db, heir)
        assert await heirs.inherit(db, ROOM, new)
    await store.close()
    await listings.print_rooms(settings, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [(one["room_id"], one["heir"], one["podcast"], one["recordings"]) for one in listed] == [
        (ROOM, new, "public", 2),
        (new, None, "public", 0),
    ]
    await listings.print_rooms(settings, as_json=False)
    assert capsys.readouterr().out.splitlines()[1].endswith(f"\t{new}")
    await listings.print_recordings(settings, room_id=ROOM, as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 2


async def test_a_hostile_room_name_stays_in_its_cell(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks, tabs and terminal escapes in a name are written as escapes."""
    await filled(settings, room_name="a\nb\t\x1b[2J[bold]c")
    await listings.print_rooms(settings, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].split("\t")[1] == r"a\nb\t\x1b[2J[bold]c"


async def test_an_empty_archive(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A new store gives `[]` to machines; people read a sentence on standard error."""
    await (await Store.own(settings.storage.place)).close()
    await listings.print_rooms(settings, as_json=True)
    assert json.loads(capsys.readouterr().out) == []
    await listings.print_recordings(settings, room_id=None, as_json=False)
    assert capsys.readouterr() == ("", "no recordings yet\n")


async def test_they_read_beside_the_owner(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The listings work while another process owns the store."""
    await filled(settings)
    owner = await Store.own(settings.storage.place)
    try:
        await listings.print_recordings(settings, room_id=None, as_json=True)
    finally:
        await owner.close()
    assert len(json.loads(capsys.readouterr().out)) == 2


@of_the_file
async def test_without_a_store_there_is_one_sentence(settings: Settings) -> None:
    """Before the first start the error names the folder that has no database."""
    with pytest.raises(StoreError, match="there is no database in"):
        await listings.print_rooms(settings, as_json=True)
