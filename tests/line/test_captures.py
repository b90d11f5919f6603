"""Captures of a real Element Web, through the whole line to an episode."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import ChunkState, EndedBy, EventId, HeardEvent, Recording, RecordingState
from tests.blobs import folder_of
from tests.line.replay import (
    ALICE,
    INFO,
    Capture,
    Replay,
    assert_heard_whole,
    joined_runs,
    length_of,
    replay_by_hand,
    replaying,
)
from tests.postgresql import EVERYWHERE

QUIET_S = 60  # the default
ABANDONED_S = 1800  # the default

Order = Callable[[tuple[HeardEvent, ...]], list[tuple[HeardEvent, ...]]]


async def heard_in_batches(line: Replay, capture: Capture, batches: Iterable[Iterable[HeardEvent]]) -> Recording:
    await line.move_in(capture)
    for batch in batches:
        await line.tell(capture.room, batch)
    return await line.recording(capture.started)


def threes(heard: tuple[HeardEvent, ...]) -> list[tuple[HeardEvent, ...]]:
    return [heard[start : start + 3] for start in range(0, len(heard), 3)]


@pytest.mark.parametrize("name", ["plain", "encrypted", "pauses"])
async def test_a_capture_becomes_an_episode_to_the_sample(name: str, tmp_path: Path) -> None:
    """A capture becomes an episode of the exact length and sound, complete without a quiet period."""
    capture = Capture(name)
    async with replaying(tmp_path / "data") as replay:
        recording = await heard_in_batches(replay, capture, threes(capture.broadcast))
        assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
        ledger = await replay.ledger(capture.started)
        episode = await replay.episode(capture.started)
        assert episode is not None
        assert (ledger.proved, ledger.gaps, ledger.samples) == (True, (), episode.samples)
        assert episode.published_at == replay.clock()
        assert "complete" in replay.said[-1]
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_what_was_uploaded_encrypted_is_kept_decrypted(tmp_path: Path) -> None:
    """Chunks uploaded encrypted are stored as the speaker recorded them."""
    capture = Capture("encrypted")
    assert not set(capture.uploads.values()) & set(capture.files)
    async with replaying(tmp_path / "data") as replay:
        await heard_in_batches(replay, capture, [capture.broadcast])
        kept = [chunk.blob for chunk in (await replay.chunks(capture.started)).values()]
        assert None not in kept
        assert [folder_of(replay.store).read(blob) for blob in kept if blob] == capture.files


async def test_keys_that_come_after_the_end_heal_it(tmp_path: Path) -> None:
    """Keys that come after the end turn the recording into a whole episode."""
    capture = Capture("encrypted")
    async with replaying(tmp_path / "data") as replay:
        await heard_in_batches(replay, capture, [capture.sealed[:6], capture.sealed[6:]])
        await replay.pass_by(QUIET_S)
        before = await replay.recording(capture.started)
        assert (before.state, await replay.episode(capture.started)) == (RecordingState.INCOMPLETE, None)
        assert {chunk.state for chunk in (await replay.chunks(capture.started)).values()} == {
            ChunkState.WAITING_FOR_KEY
        }
        replay.clear = {one.event_id: one for one in capture.broadcast if one.encrypted}
        sessions = {str(one.session_id) for one in capture.sealed if one.session_id}
        await replay.tell(capture.room, [], new_keys=sessions)
        after = await replay.recording(capture.started)
        assert (after.state, after.id, after.code) == (RecordingState.COMPLETE, before.id, before.code)
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_a_chunk_that_comes_ten_seconds_after_the_stop_is_in_the_episode(tmp_path: Path) -> None:
    """A second chunk after a `stopped` that announced one is in the episode."""
    capture = Capture("slowstop")
    *before, late = capture.broadcast
    async with replaying(tmp_path / "data") as replay:
        recording = await heard_in_batches(replay, capture, [before])
        assert recording.state is RecordingState.FINISHING
        assert recording.announced_last == 1
        stopped_at = replay.clock()
        assert await replay.episode(capture.started) is None
        await replay.tell(capture.room, [late])
        assert 9 < (replay.clock() - stopped_at).total_seconds() < 11
        recording = await replay.recording(capture.started)
        assert (recording.state, len(await replay.chunks(capture.started))) == (RecordingState.COMPLETE, 2)
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_a_chunk_that_comes_after_the_quiet_period_heals_the_episode(tmp_path: Path) -> None:
    """An incomplete episode has silence for missing pages and is not listed; the late chunk heals it under its GUID."""
    capture = Capture("slowstop")
    *before, late = capture.broadcast
    async with replaying(tmp_path / "data") as replay:
        await heard_in_batches(replay, capture, [before])
        await replay.pass_by(QUIET_S)
        first = await replay.episode(capture.started)
        assert first is not None
        assert (await replay.recording(capture.started)).state is RecordingState.INCOMPLETE
        (gap,) = (await replay.ledger(capture.started)).gaps
        assert (gap.position, gap.reason) == (0, ChunkState.MISSING)
        assert first.published_at is None
        await replay.pass_by(600)
        await replay.tell(capture.room, [late])
        healed = await replay.episode(capture.started)
        assert healed is not None
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        assert (await replay.ledger(capture.started)).gaps == ()
        assert (healed.guid, healed.samples, healed.published_at) == (first.guid, first.samples, replay.clock())
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_a_browser_that_was_killed_leaves_an_incomplete_episode_without_a_gap(tmp_path: Path) -> None:
    """A broadcast without `stopped` is ended by the clock, incomplete and without a gap."""
    capture = Capture("kill")
    async with replaying(tmp_path / "data") as replay:
        assert (await heard_in_batches(replay, capture, [capture.broadcast])).state is RecordingState.LIVE
        await replay.pass_by(ABANDONED_S - 1)
        assert (await replay.recording(capture.started)).state is RecordingState.LIVE
        await replay.pass_by(1)
        await replay.pass_by(QUIET_S)
        recording = await replay.recording(capture.started)
        assert (recording.state, recording.ended_by) == (RecordingState.INCOMPLETE, EndedBy.ABANDONED)
        ledger = await replay.ledger(capture.started)
        assert (ledger.gaps, ledger.samples) == ((), sum(map(length_of, joined_runs(capture.files))))
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


def before_the_redaction(capture: Capture) -> tuple[tuple[HeardEvent, ...], HeardEvent]:
    """Rebuild the broadcast as it was heard live, and give the redaction. In the capture the started event is empty,
    and the `stopped` that replaced it holds its content."""
    *events, redaction = capture.broadcast
    stopped = events[-1].event
    started = {**events[0].event, "content": stopped["unsigned"]["prev_content"]}
    return (replace(events[0], event=started), *events[1:]), redaction


async def test_a_broadcast_that_its_speaker_removed_is_gone(tmp_path: Path) -> None:
    """A redaction of the started event leaves nothing of the broadcast on the disk."""
    capture = Capture("redact")
    live, redaction = before_the_redaction(capture)
    async with replaying(tmp_path / "data") as replay:
        assert (await heard_in_batches(replay, capture, [live])).state is RecordingState.COMPLETE
        assert len(await replay.audio_left()) == 1 + len(capture.files)
        await replay.tell(capture.room, [redaction])
        assert (await replay.recording(capture.started)).state is RecordingState.DELETED
        assert (await replay.chunks(capture.started), await replay.episode(capture.started)) == ({}, None)
        assert await replay.audio_left() == set()
        assert "no " in (await replay.ask(capture.room, "!aircheck list")).lower()


async def test_a_broadcast_that_was_removed_before_the_bot_heard_of_it_is_nothing(tmp_path: Path) -> None:
    """Chunks of a broadcast that was redacted before are ignored, and none is downloaded."""
    capture = Capture("redact")
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(capture)
        await replay.tell(capture.room, capture.broadcast)
        assert replay.homeserver.asked == []
        assert "no " in (await replay.ask(capture.room, "!aircheck list")).lower()


def doubled(heard: tuple[HeardEvent, ...]) -> list[tuple[HeardEvent, ...]]:
    """Repeat every event, as after a lost answer to a sync."""
    return [batch for batch in threes(heard) for _ in range(2)]


def one_by_one(heard: tuple[HeardEvent, ...]) -> list[tuple[HeardEvent, ...]]:
    return [(one,) for one in heard]


def shuffled(heard: tuple[HeardEvent, ...]) -> list[tuple[HeardEvent, ...]]:
    """Swap neighbouring chunks, and put `paused`, `resumed` and `stopped` at the wrong places."""
    started, first, second, third, paused, resumed, fourth, fifth, stopped = heard
    return [(started, second, first), (third, fourth, paused, resumed), (stopped, fifth)]


def sound_of(mp3: bytes) -> bytes:
    """Cut the ID3 tag off (ID3v2.4, section 3.1): its picture differs from room to room."""
    assert mp3.startswith(b"ID3")
    size = sum(byte << 7 * index for index, byte in enumerate(reversed(mp3[6:10])))
    return mp3[10 + size :]


@pytest.mark.parametrize("order", [doubled, one_by_one, shuffled])
async def test_the_way_in_which_events_come_does_not_change_the_episode(order: Order, tmp_path: Path) -> None:
    """Events once, twice or out of order give the same ledger, the same bytes of sound and one notice."""
    capture = Capture("plain")
    made = []
    for number, batches in enumerate((threes(capture.broadcast), order(capture.broadcast))):
        async with replaying(tmp_path / f"data{number}") as replay:
            recording = await heard_in_batches(replay, capture, batches)
            assert recording.state is RecordingState.COMPLETE
            episode = await replay.episode(capture.started)
            assert episode is not None
            made.append((episode.fingerprint, sound_of((await replay.audio(capture.started)).read_bytes())))
            assert sum("is ready" in said for said in replay.said) == 1
    assert made[0] == made[1]


async def test_another_member_adds_nothing_to_a_capture(tmp_path: Path) -> None:
    """The same events in another member's name are not in the episode."""
    capture = Capture("plain")
    forged = [
        replace(one, event_id=EventId(f"{one.event_id}x"), event={**one.event, "sender": "@carol:lab.local"})
        for one in capture.broadcast
        if one.event["type"] != INFO
    ]
    assert all(one.event["sender"] == ALICE for one in capture.broadcast)
    async with replaying(tmp_path / "data") as replay:
        await heard_in_batches(replay, capture, [[*capture.broadcast[:3], *forged], capture.broadcast[3:]])
        assert set(await replay.chunks(capture.started)) == {
            one.event_id for one in capture.broadcast if one.event["type"] != INFO
        }
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)


async def test_a_capture_can_be_replayed_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The replay by hand of docs/debugging.md leaves the store in the folder and prints the bot's words in the room."""
    await replay_by_hand("plain", tmp_path / "replayed", [2])
    assert "incomplete, 6 s missing at 0:05" in capsys.readouterr().out
    assert EVERYWHERE or (tmp_path / "replayed" / "aircheck.db").exists()
