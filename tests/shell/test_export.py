"""`aircheck export`: a folder that can be read and played without Aircheck."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from bot.errors import AircheckError, ConfigError
from bot.recorder import Recorder
from bot.recording.model import Deleted
from bot.recording.policy import Limits
from bot.settings import Settings, validate
from bot.shell import export as exporting
from bot.shell import exported
from storage import archive, calls, changes, optouts, originals, rooms
from storage.records import (
    EVERYWHERE,
    BlobKey,
    CallProtocol,
    Change,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Container,
    Credit,
    Episode,
    EventId,
    OptOut,
    Original,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    RoomId,
    Samples,
    StateEvent,
    Stem,
    Timing,
    UserId,
    to_samples,
)
from storage.store import Store
from tests.blobs import folder_of
from tests.factories import a_chunk, a_recording, a_room

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ROOM, OTHER = RoomId("!studio:hs.example"), RoomId("!other:hs.example")
ALICE, MOD = UserId("@alice:hs.example"), UserId("@mod:hs.example")
SPEAKER, STRANGER = UserId("@alice:hs"), UserId("@stranger:hs")
MP3, OGG = b"ID3 an episode", b"OggS a chunk"
MOMENT = "2026-11-20T14:05:00.000+00:00"
HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example"}
    return validate({"matrix": matrix, "storage": {"directory": str(tmp_path / "data")}})


async def add(store: Store, event: str, *, at: datetime = NOW, room_id: RoomId = ROOM, **fields: object) -> Recording:
    """Store a recording with one chunk and an episode, and their files."""
    mp3, ogg = MP3 + event.encode(), OGG + event.encode()
    keys = [BlobKey(sha256(content).hexdigest()) for content in (mp3, ogg)]
    for key, content in zip(keys, (mp3, ogg), strict=True):
        part = store.blobs.part("file")
        part.write_bytes(content)
        folder_of(store).add(part, key)
    facts = ChunkFacts(Container.OGG_OPUS, Timing.EXACT, to_samples(2_000), sample_rate=48_000, channels=1)
    async with store.write() as db:
        made = a_recording(at=at, room_id=room_id, event_id=EventId(event), broadcaster_name="Alice", **fields)
        saved = await archive.add_recording(db, made)
        chunk = a_chunk(
            recording_id=saved.id, event_id=EventId(f"{event}-1"), blob=keys[1], bytes=len(ogg), facts=facts
        )
        await archive.save_chunks(db, [chunk])
        samples = Samples(96_000)
        await archive.save_episode(db, Episode(saved.id, event, keys[0], len(mp3), samples, at, published_at=at))
    return saved


async def filled(settings: Settings) -> tuple[Recording, Recording]:
    """Make a room with two recordings, the older one first, and another room with one."""
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room(ROOM))
        await rooms.save_room(db, a_room(OTHER))
        name = StateEvent(ROOM, "m.room.name", "", ALICE, {"name": "The Studio"}, Position(1))
        await rooms.save_state(db, name)
        await changes.add(db, Change(0, NOW, ROOM, MOD, "record", before="off", after="on"))
    older = await add(store, "$old", at=NOW - timedelta(days=1), title=HOSTILE, description=HOSTILE)
    newer = await add(store, "$new")
    await add(store, "$elsewhere", room_id=OTHER)
    await store.close()
    return older, newer


async def test_a_room_becomes_a_folder_that_needs_no_bot(settings: Settings, tmp_path: Path) -> None:
    """The audio, the chunks, the list, the feed, the page and the room's log of consent are in the folder, and every
    file that they name is there."""
    older, newer = await filled(settings)
    target = tmp_path / "copy"
    said = await exporting.export(settings, ROOM, target)
    assert "2 episodes" in said
    assert (target / "audio" / f"{newer.code}.mp3").read_bytes() == MP3 + b"$new"
    listed = json.loads((target / "recordings.json").read_text())
    assert [entry["code"] for entry in listed] == [newer.code, older.code]
    for entry in listed:
        assert (target / entry["episode"]["path"]).stat().st_size == entry["episode"]["bytes"]
        (chunk,) = entry["chunks"]
        (file,) = (target / "chunks" / entry["code"]).iterdir()
        assert (file.name, sha256(file.read_bytes()).hexdigest()) == (f"00001-{chunk['sha256']}.ogg", chunk["sha256"])
    channel = ElementTree.fromstring((target / "feed.xml").read_bytes())[0]  # noqa: S314  our own
    addresses = [item.find("enclosure").get("url") for item in channel.findall("item")]  # type: ignore[union-attr]
    assert [address and (target / address).is_file() for address in addresses] == [True, True]
    page = (target / "index.html").read_text()
    assert f'src="audio/{newer.code}.mp3"' in page
    assert "<script" not in page
    log = json.loads((target / "consent.json").read_text())
    assert [change["by"] for change in log["changes"]] == [MOD]
    assert {path.stat().st_mode & 0o077 for path in target.rglob("*")} == {0}


async def test_a_session_names_its_speakers(settings: Settings, tmp_path: Path) -> None:
    """The copy of a session names all who speak on its page, in its feed and in its list; the files of its messages
    stand in their order."""
    heard = (Credit(UserId("@alice:hs"), "Alice"), Credit(UserId("@ben:hs"), "Ben"))
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room(ROOM, at=NOW))
    session = await add(store, "$first", kind=RecordingKind.VOICE_MESSAGES, speakers=heard)
    part, key = store.blobs.part("second"), BlobKey(sha256(b"second").hexdigest())
    part.write_bytes(b"second")
    folder_of(store).add(part, key)
    facts = ChunkFacts(Container.OGG_OPUS, Timing.EXACT, to_samples(3_000), sample_rate=48_000, channels=1)
    async with store.write() as db:
        second = a_chunk(recording_id=session.id, event_id=EventId("$second"), sequence=None, position=Position(9),
                         sender=heard[1].user_id, sender_name="Ben", blob=key, bytes=6, facts=facts)  # fmt: skip
        await archive.save_chunks(db, [second])
    await store.close()
    await exporting.export(settings, session.code, tmp_path / "copy")
    page = (tmp_path / "copy" / "index.html").read_text()
    assert "Alice and Ben" in page
    assert ":hs" not in page
    assert '<podcast:person role="co-host">Ben</podcast:person>' in (tmp_path / "copy" / "feed.xml").read_text()
    (listed,) = json.loads((tmp_path / "copy" / "recordings.json").read_text())
    assert [speaker["name"] for speaker in listed["speakers"]] == ["Alice", "Ben"]
    names = sorted(path.name for path in (tmp_path / "copy" / "chunks" / session.code).iterdir())
    assert [name[:6] for name in names] == ["00001-", "00002-"]
    assert names[1] == f"00002-{key}.ogg"


async def test_a_call_is_exported_with_its_stems(settings: Settings, tmp_path: Path) -> None:
    """A stem is one file, named in recordings.json; the slices of one without a file are there instead."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    call = await add(store, "$call", kind=RecordingKind.CALL, protocol=CallProtocol.MSC3401, call_id="c")
    slice_ = BlobKey(sha256(OGG + b"$call").hexdigest())
    whole = Stem(1, SPEAKER, "DEV", "Alice", Samples(0), Position(1), serial=1, left=Samples(9), blob=slice_, bytes=9)
    torn = replace(whole, number=2, blob=None, bytes=None)
    async with store.write() as db:
        await archive.save_recording(db, replace(call, stems=(whole, torn)))
        (chunk,) = await archive.chunks(db, call.id)
        others = [replace(chunk, id=ChunkId(f"c{number}"), event_id=None, stem=number) for number in (1, 2)]
        await archive.delete_chunks(db, call.id)
        await archive.save_chunks(db, others)
        await calls.note_told(db, call.id, [SPEAKER, STRANGER])
    await store.close()
    target = tmp_path / "copy"
    await exporting.export(settings, call.code, target)
    (listed,) = json.loads((target / "recordings.json").read_text())
    assert listed["stems"][0]["path"] == f"stems/{call.code}/001.ogg"
    assert listed["stems"][1]["path"] is None
    assert (target / listed["stems"][0]["path"]).read_bytes() == OGG + b"$call"
    assert [file.name for file in (target / "chunks" / call.code).iterdir()] == [f"00002-{slice_}.ogg"]
    assert f"stems/{call.code}/" in (target / "index.html").read_text()
    consent = json.loads((target / "consent.json").read_text())["calls"]
    assert [(told["recording"], told["told"]) for told in consent] == [(call.code, [SPEAKER])]


async def test_one_recording_is_exported_alone(settings: Settings, tmp_path: Path) -> None:
    """A code names one recording; nothing of the others is in the folder."""
    older, newer = await filled(settings)
    await exporting.export(settings, newer.code, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy" / "audio").iterdir()] == [f"{newer.code}.mp3"]
    assert older.code not in (tmp_path / "copy" / "index.html").read_text()


async def test_the_original_sound_is_in_the_copy(settings: Settings, tmp_path: Path) -> None:
    """The file of a recording that is one Opus stream lies beside the episode's."""
    _, newer = await filled(settings)
    data = OGG + b"$new"
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        original = Original(newer.id, "", BlobKey(sha256(data).hexdigest()), len(data), "digest")
        await originals.save(db, original)
    await store.close()
    await exporting.export(settings, newer.code, tmp_path / "copy")
    assert (tmp_path / "copy" / "audio" / f"{newer.code}.opus").read_bytes() == data


async def test_nothing_deleted_is_in_the_copy(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that is deleted while the copy grows leaves its tombstone alone."""
    _, newer = await filled(settings)
    copy_one = exported.copy_recording

    async def copy_and_delete(*arguments: object) -> object:
        copied = await copy_one(*arguments)  # type: ignore[arg-type]
        if copied.recording.state is not RecordingState.DELETED:
            store = await Store.look(settings.storage.place)
            recorder = Recorder(store, Limits(60, 1800, 14400, 21600, 1 << 20), lambda: NOW)
            async with store.write() as db:
                await recorder.apply(db, copied.recording.id, Deleted())
            await store.close()
        return copied

    monkeypatch.setattr(exporting, "copy_recording", copy_and_delete)
    await exporting.export(settings, newer.code, tmp_path / "copy")
    (entry,) = json.loads((tmp_path / "copy" / "recordings.json").read_text())
    assert (entry["state"], entry["episode"], entry["chunks"]) == ("deleted", None, [])
    assert [path for path in (tmp_path / "copy").rglob("*") if path.suffix in (".mp3", ".ogg")] == []
    assert newer.code not in (tmp_path / "copy" / "index.html").read_text()


async def test_the_log_of_consent_names_nobody_who_was_merely_there(settings: Settings, tmp_path: Path) -> None:
    """The log says who switched what and who opted out, and lists no members."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await optouts.add(db, OptOut(ALICE, ROOM, Position(3), out=True, at=NOW))
        present = StateEvent(ROOM, "m.room.member", "@present:hs.example", MOD, {"membership": "join"}, Position(2))
        await rooms.save_state(db, present)
    await store.close()
    await exporting.export(settings, "consent", tmp_path / "log")
    text = (tmp_path / "log" / "consent.json").read_text()
    log = json.loads(text)
    assert [(each["by"], each["what"], each["at"]) for each in log["changes"]] == [(MOD, "record", MOMENT)]
    assert [(each["user_id"], each["said"]) for each in log["opt_outs"]] == [(ALICE, "optout")]
    assert "@present" not in text


@pytest.mark.parametrize("what", ["!nowhere:hs", "zzzzzz", "$nothing", "two words"])
async def test_what_does_not_exist_is_named(settings: Settings, tmp_path: Path, what: str) -> None:
    """A wrong name is a wrong argument, and no folder appears."""
    await filled(settings)
    with pytest.raises(ConfigError):
        await exporting.export(settings, what, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_folder_with_something_in_it_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    """The export refuses a folder that is not empty, and takes an empty one."""
    await filled(settings)
    target = tmp_path / "copy"
    target.mkdir()
    await exporting.export(settings, ROOM, target)
    before = sorted(target.rglob("*"))
    with pytest.raises(ConfigError, match="not an empty folder"):
        await exporting.export(settings, ROOM, target)
    assert sorted(target.rglob("*")) == before


async def test_a_file_that_is_missing_is_named(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that the store lost is named, and the others are copied; the rest of an earlier try is cleared away."""
    older, newer = await filled(settings)
    part = tmp_path / ".copy.part"
    part.mkdir()
    (part / exporting.MARK).touch()
    (part / "old").touch()
    store = await Store.look(settings.storage.place)
    async with store.read() as db:
        episode = await archive.episode(db, newer.id)
    assert episode is not None
    folder_of(store).remove(episode.blob)
    await store.close()
    assert "1 episode " in await exporting.export(settings, ROOM, tmp_path / "copy")
    assert f"audio/{newer.code}.mp3" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "copy" / "audio").iterdir()] == [f"{older.code}.mp3"]
    assert not (tmp_path / "copy" / "old").exists()


async def test_a_folder_that_cannot_be_written_is_an_error(settings: Settings, tmp_path: Path) -> None:
    """The sentence names the folder, and nothing is left of the try."""
    await filled(settings)
    (tmp_path / "file").touch()
    with pytest.raises(AircheckError, match="can't be written"):
        await exporting.export(settings, ROOM, tmp_path / "file" / "copy")


async def test_removed_sound_is_not_in_the_copy(settings: Settings, tmp_path: Path) -> None:
    """An episode that still holds a redacted chunk is left out, as the web leaves it out."""
    _, newer = await filled(settings)
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        (chunk,) = await archive.chunks(db, newer.id)
        gone = replace(chunk, state=ChunkState.REDACTED, reason="redacted", blob=None, bytes=None)
        await archive.save_chunks(db, [gone])
    await store.close()
    await exporting.export(settings, newer.code, tmp_path / "copy")
    assert [path for path in (tmp_path / "copy").rglob("*") if path.suffix in (".mp3", ".ogg")] == []


async def test_a_copy_tells_nothing_of_those_who_do_not_speak_in_it(settings: Settings, tmp_path: Path) -> None:
    """Opt-outs for everywhere are in the copy of a room only if their member speaks in it."""
    await filled(settings)
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        for number, user in enumerate((SPEAKER, STRANGER)):
            await optouts.add(db, OptOut(user, EVERYWHERE, Position(number), out=True, at=NOW))
            await changes.add(db, Change(0, NOW, None, user, "optout", subject=user))
    await store.close()
    await exporting.export(settings, ROOM, tmp_path / "copy")
    text = (tmp_path / "copy" / "consent.json").read_text()
    assert SPEAKER in text
    assert STRANGER not in text
