"""Chunks of a real Element Web that come back as plain voice messages, through the whole line.

https://github.com/element-hq/element-ios/issues/7261
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.keeper import Keeper
from storage import journal, orphans
from storage.records import Chunk, ChunkState, EventId, HeardEvent, RecordingState
from storage.tables import chunks
from storage.tables import journal as journal_rows
from tests.line.replay import ALICE, INFO, Capture, Replay, address_of, assert_heard_whole, encoded, replaying

QUIET_S = 60  # the default
DAY_S = 24 * 3600
CHUNK = "io.element.voice_broadcast_chunk"
VOICE = EventId("$voice")
MXC = "mxc://lab.local/voice"


def orphaned(heard: HeardEvent, event_id: EventId = VOICE, **content: Any) -> HeardEvent:
    """Make an ordinary voice message of a chunk, as clients do after a failed upload."""
    said = {**heard.event["content"], **content}
    kept = {name: said[name] for name in said if name not in (CHUNK, "m.relates_to")}
    event = {**heard.event, "event_id": event_id, "content": kept}
    return replace(heard, event_id=event_id, event=event, clear_relation=None)


def parts(capture: Capture) -> list[HeardEvent]:
    return [one for one in capture.broadcast if one.event["type"] == "m.room.message"]


def with_orphan(capture: Capture, number: int) -> list[HeardEvent]:
    """Give the broadcast with one chunk as an orphan."""
    lost = parts(capture)[number - 1]
    return [orphaned(one) if one is lost else one for one in capture.broadcast]


def without(capture: Capture, number: int) -> list[HeardEvent]:
    lost = parts(capture)[number - 1]
    return [one for one in capture.broadcast if one is not lost]


async def told(replay: Replay, capture: Capture, *batches: Iterable[HeardEvent]) -> None:
    await replay.move_in(capture)
    for batch in batches:
        await replay.tell(capture.room, batch)


async def rows(replay: Replay, event_id: EventId = VOICE) -> tuple[int, int]:
    """Count the rows of an event in the journal and among the chunks."""
    async with replay.store.read() as db:
        heard = select(func.count()).select_from(journal_rows).where(journal_rows.c.event_id == event_id)
        known = select(func.count()).select_from(chunks).where(chunks.c.event_id == event_id)
        return (await db.execute(heard)).scalar_one(), (await db.execute(known)).scalar_one()


def downloads(replay: Replay) -> int:
    """Count the downloads of the voice message's media."""
    return sum(path == address_of(MXC) for path, _ in replay.homeserver.asked)


async def found(replay: Replay, capture: Capture) -> tuple[Chunk, ...]:
    recording = await replay.recording(capture.started)
    async with replay.store.read() as db:
        return await orphans.of(db, recording.id)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["plain", "encrypted"])
async def test_an_orphan_is_in_the_episode_to_the_sample(name: str, number: int, tmp_path: Path) -> None:
    """An orphan at the beginning, in the middle or at the end of a run is in the episode, to the sample."""
    capture = Capture(name)
    heard = with_orphan(capture, number)
    async with replaying(tmp_path / "data") as replay:
        await told(replay, capture, *([one] for one in heard))
        recording = await replay.recording(capture.started)
        assert recording.state is RecordingState.COMPLETE
        ledger = await replay.ledger(capture.started)
        assert (ledger.proved, ledger.gaps) == (True, ())
        assert sorted(entry.sequence or 0 for entry in ledger.entries) == [1, 2, 3, 4, 5]
        chunk = (await replay.chunks(capture.started))[VOICE]
        assert (chunk.state, chunk.attached, chunk.source) == (ChunkState.STORED, True, None)
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)
        assert "I know of no problems." in await replay.ask(capture.room, "!aircheck status")


async def test_an_orphan_after_the_stop_is_waited_for_as_any_chunk(tmp_path: Path) -> None:
    """An orphan sent again within the quiet period is in the episode when it is finished."""
    capture = Capture("plain")
    async with replaying(tmp_path / "data") as replay:
        await told(replay, capture, without(capture, 2))
        assert (await replay.recording(capture.started)).state is RecordingState.FINISHING
        await replay.tell(capture.room, [orphaned(parts(capture)[1])])
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_an_orphan_that_is_looked_into_late_heals_the_episode(tmp_path: Path) -> None:
    """An orphan whose media comes after the end heals the episode under its GUID."""
    capture = Capture("plain")
    lost = parts(capture)[1]
    mxc = lost.event["content"]["url"]
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(capture)
        await replay.tell(capture.room, [orphaned(lost, url=MXC) if one is lost else one for one in capture.broadcast])
        await replay.pass_by(QUIET_S)
        first = await replay.episode(capture.started)
        assert first is not None
        assert (await replay.recording(capture.started)).state is RecordingState.INCOMPLETE
        replay.serves({MXC: capture.uploads[mxc]})
        await replay.pass_by(3600)
        healed = await replay.episode(capture.started)
        assert healed is not None
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        assert (healed.guid, await found(replay, capture)) == (first.guid, ())
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


@pytest.mark.parametrize("kind", ["m4a", "ogg"])
async def test_what_proves_nothing_is_named_and_not_put_in(kind: str, tmp_path: Path) -> None:
    """An orphan without proof is named by `status`, the gap stays, and none of its sound is kept."""
    capture = Capture("plain")
    options = {
        "m4a": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"),
        "ogg": ("-c:a", "libopus", "-f", "ogg"),
    }
    media = await encoded(capture.files[1], *options[kind])
    lost = parts(capture)[1]
    async with replaying(tmp_path / "data", changed={"feeds": {"timezone": "Europe/Berlin"}}) as replay:
        await replay.move_in(capture)
        replay.serves({MXC: media})
        await replay.tell(capture.room, [orphaned(lost, url=MXC) if one is lost else one for one in capture.broadcast])
        await replay.pass_by(QUIET_S)
        recording = await replay.recording(capture.started)
        assert recording.state is RecordingState.INCOMPLETE
        (gap,) = (await replay.ledger(capture.started)).gaps
        assert gap.reason is ChunkState.MISSING
        (candidate,) = await found(replay, capture)
        assert (candidate.facts is not None, candidate.blob, candidate.bytes) == (True, None, None)
        assert (candidate.source is None) == (kind == "m4a")
        kept = {chunk.blob for chunk in (await replay.chunks(capture.started)).values() if chunk.blob}
        assert len(kept) == 4
        assert len(await replay.audio_left()) == 4 + 1
        assert candidate.sent_at is not None
        sent = candidate.sent_at + timedelta(hours=1)  # Berlin in winter
        said = await replay.ask(capture.room, "!aircheck status")
        assert said.split("\n")[-1] == (
            f"{recording.code}: 1 voice message of its speaker may be a missing part of it "
            f"(sent {sent:%H:%M} Europe/Berlin); "
            "I can't be certain, so it is not in it."
        )


async def test_a_voice_message_beside_a_whole_broadcast_leaves_no_trace(tmp_path: Path) -> None:
    """A voice message beside a whole broadcast leaves neither a row nor its sound."""
    capture = Capture("plain")
    media = await encoded(capture.files[0], "-c:a", "libopus", "-f", "ogg")
    started, first, *rest = capture.broadcast
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(capture)
        replay.serves({MXC: media})
        await replay.tell(capture.room, [started, first, orphaned(first, url=MXC)])
        assert [chunk.event_id for chunk in await found(replay, capture)] == [VOICE]
        await replay.tell(capture.room, rest)
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        assert await found(replay, capture) == ()
        assert len(await replay.audio_left()) == 5 + 1


async def test_of_a_voice_message_outside_a_broadcast_only_its_place_is_kept(tmp_path: Path) -> None:
    """A voice message outside a broadcast or of another member is not downloaded, and nothing of it is kept but its id
    and its place in the timeline, by which an episode can be made of it later."""
    capture = Capture("plain")
    first = parts(capture)[0]
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(capture)
        replay.serves({MXC: b"private"})
        before = orphaned(first, EventId("$before"), url=MXC)
        await replay.tell(capture.room, [before])
        *most, stopped = capture.broadcast
        await replay.tell(capture.room, most)
        foreign = orphaned(first, EventId("$foreign"), url=MXC)
        await replay.tell(capture.room, [replace(foreign, event={**foreign.event, "sender": "@carol:lab.local"})])
        await replay.tell(capture.room, [stopped])
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        await replay.tell(capture.room, [orphaned(first, EventId("$after"), url=MXC)])
        for name in ("$before", "$foreign", "$after"):
            assert await rows(replay, EventId(name)) == (1, 0)
            async with replay.store.read() as db:
                kept = select(journal_rows.c.event).where(journal_rows.c.event_id == name)
                assert (await db.execute(kept)).scalar_one() is None
        assert downloads(replay) == 0


async def test_the_words_of_a_candidate_are_not_kept_in_the_journal(tmp_path: Path) -> None:
    """The journal keeps a candidate's id and nothing of its content."""
    capture = Capture("plain")
    async with replaying(tmp_path / "data") as replay:
        await told(replay, capture, capture.broadcast[:2], [orphaned(parts(capture)[0], url=MXC)])
        assert await rows(replay) == (1, 1)
        async with replay.store.read() as db:
            kept = await db.execute(select(journal_rows.c.event).where(journal_rows.c.event_id == VOICE))
            assert kept.scalar_one() is None
            assert await journal.unhandled(db, 10) == ()


@pytest.mark.parametrize("what", ["voice", "start"])
async def test_a_redaction_takes_a_candidate(what: str, tmp_path: Path) -> None:
    """A redaction of the voice message or of the broadcast removes the candidate."""
    capture = Capture("plain")
    started, first, *_ = capture.broadcast
    async with replaying(tmp_path / "data") as replay:
        await told(replay, capture, [started, first], [orphaned(first, url=MXC)])
        assert await rows(replay) == (1, 1)
        target = VOICE if what == "voice" else capture.started
        event = {"type": "m.room.redaction", "sender": ALICE, "event_id": "$r", "redacts": target, "content": {}}
        await replay.tell(capture.room, [HeardEvent(capture.room, EventId("$r"), event)])
        assert (await rows(replay))[1] == 0
        assert downloads(replay) == 1
        replay.serves({MXC: capture.files[0]})
        await replay.pass_by(DAY_S)
        assert downloads(replay) == 1


async def test_a_candidate_is_forgotten_a_day_after_the_end(tmp_path: Path) -> None:
    """A candidate is forgotten a day after the quiet period, because its source holds a key."""
    capture = Capture("plain")
    lost = parts(capture)[1]
    async with replaying(tmp_path / "data") as replay:
        media = await encoded(capture.files[1], "-c:a", "libopus", "-f", "ogg")
        await replay.move_in(capture)
        replay.serves({MXC: media})
        await replay.tell(capture.room, [orphaned(lost, url=MXC) if one is lost else one for one in capture.broadcast])
        await replay.pass_by(DAY_S - 60)
        keeper = Keeper(replay.store, replay.clock, replay.settings.retention)
        await keeper.tidy()
        assert len(await found(replay, capture)) == 1
        await replay.pass_by(61 + QUIET_S)
        await keeper.tidy()
        assert await found(replay, capture) == ()


async def test_of_two_broadcasts_the_one_that_it_fits_takes_it(tmp_path: Path) -> None:
    """With one speaker live on two devices, an orphan joins the broadcast that its sound continues."""
    capture = Capture("plain")
    started = capture.broadcast[0]
    other = {**started.event, "event_id": "$other", "content": {**started.event["content"], "device_id": "OTHER"}}
    second = replace(started, event_id=EventId("$other"), event=other)
    assert other["type"] == INFO
    heard = with_orphan(capture, 2)
    async with replaying(tmp_path / "data") as replay:
        await told(replay, capture, [heard[0], second], *([one] for one in heard[1:]))
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        assert (await replay.recording(EventId("$other"))).state is RecordingState.LIVE
        assert await replay.chunks(EventId("$other")) == {}
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)
