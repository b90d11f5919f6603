"""Clients that die, sleep, reload, log out or lose their connection: sent chunks are kept, and the broadcast ends."""

from pathlib import Path

from bot import orders
from bot.demo.slicing import speech
from storage import jobs
from storage.records import EndedBy, JobState, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.replay import Capture, Replay, assert_heard_whole
from tests.line.speaker import Speaker, sliced, told
from tests.line.world import first_chunks, open_broadcast, recorded, whole_broadcast

QUIET_S = 60
ABANDONED_S = 1800
PAUSED_S = 14_400
HOLD_S = 3600
HOUR_S = 3600


async def state(replay: Replay, speaker: Speaker) -> tuple[RecordingState, EndedBy | None]:
    found = await replay.recording(speaker.broadcast)
    return found.state, found.ended_by


async def assert_heard(replay: Replay, speaker: Speaker, media: list[bytes], folder: Path) -> None:
    """Check that the episode is these chunks without any silence."""
    assert (await replay.ledger(speaker.broadcast)).gaps == ()
    await assert_heard_whole(await replay.audio(speaker.broadcast), media, folder)


async def test_a_killed_client_leaves_what_it_sent(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """Half an hour of silence ends the broadcast; its incomplete episode is listed an hour later."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media[:2], 1)))
    await replay.pass_by(ABANDONED_S)
    await replay.pass_by(QUIET_S)
    assert await state(replay, alice) == (RecordingState.INCOMPLETE, EndedBy.ABANDONED)
    held = await replay.episode(alice.broadcast)
    assert held is not None
    assert held.published_at is None
    await replay.pass_by(HOLD_S)
    listed = await replay.episode(alice.broadcast)
    assert listed is not None
    assert listed.published_at is not None
    (said,) = [said for said in replay.said if "is ready" in said]
    assert "its end never came" in said
    await assert_heard(replay, alice, media[:2], tmp_path)


async def test_a_laptop_that_sleeps_for_three_hours_goes_on_where_it_was(
    replay: Replay, room: Capture, tmp_path: Path
) -> None:
    """A chunk after hours of sleep re-opens the abandoned recording, and `stopped` ends it."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media[:2], 1)))
    await replay.pass_by(3 * HOUR_S)
    await replay.pass_by(QUIET_S)
    before = await replay.episode(alice.broadcast)
    assert await state(replay, alice) == (RecordingState.INCOMPLETE, EndedBy.ABANDONED)
    assert before is not None
    await told(replay, alice, alice.sends(media[2], 3))
    await told(replay, alice, alice.tells("stopped", 3))
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    after = await replay.episode(alice.broadcast)
    assert after is not None
    assert after.guid == before.guid
    await assert_heard(replay, alice, media, tmp_path)


async def test_a_laptop_that_sleeps_in_a_pause_is_still_live(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """A pause of less than four hours ends nothing, and is not in the episode."""
    alice, before, after = Speaker(room), sliced(2, 1), sliced(2, 1, begin=10)
    chunks = [alice.starts(), *(alice.sends(data, number) for number, data in enumerate(before, 1))]
    await told(replay, alice, *chunks, alice.tells("paused", 2))
    await replay.pass_by(3 * HOUR_S)
    assert await state(replay, alice) == (RecordingState.LIVE, None)
    more = [alice.sends(data, number) for number, data in enumerate(after, 3)]
    await told(replay, alice, alice.tells("resumed", 2), *more, alice.tells("stopped", 4))
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    await assert_heard(replay, alice, [*before, *after], tmp_path)


async def test_a_pause_that_nobody_ends_is_ended(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """After four hours a paused broadcast ends, complete by its pages."""
    alice, media = Speaker(room), sliced(2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media, 1)))
    await told(replay, alice, alice.tells("paused", 2))
    await replay.pass_by(PAUSED_S - 1)
    assert await state(replay, alice) == (RecordingState.LIVE, None)
    await replay.pass_by(1)
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.ABANDONED)
    await assert_heard(replay, alice, media, tmp_path)


async def test_a_browser_that_was_reloaded_says_stopped_without_a_number(
    replay: Replay, room: Capture, tmp_path: Path
) -> None:
    """A reloaded Element Web sends `stopped` without a number, which ends the broadcast at once."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media[:2], 1)))
    await told(replay, alice, alice.tells("stopped"))
    await replay.pass_by(QUIET_S)
    assert (await state(replay, alice))[1] is EndedBy.STOPPED
    await assert_heard(replay, alice, media[:2], tmp_path)


async def test_a_lost_connection_brings_its_chunk_late_and_then_paused(
    replay: Replay, room: Capture, tmp_path: Path
) -> None:
    """A chunk and `paused` that come ten minutes late are recorded; only the sound that the client dropped is lost."""
    alice, before, after = Speaker(room), sliced(2, 2, 1)[:2], sliced(2, 1, begin=10)
    await told(replay, alice, alice.starts(), alice.sends(before[0], 1))
    await replay.pass_by(600)
    await told(replay, alice, alice.sends(before[1], 2), alice.tells("paused", 2))
    more = [alice.sends(data, number) for number, data in enumerate(after, 3)]
    await told(replay, alice, alice.tells("resumed", 2), *more, alice.tells("stopped", 4))
    await replay.pass_by(QUIET_S)
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    await assert_heard(replay, alice, [*before, *after], tmp_path)


async def test_a_chunk_after_the_abandonment_opens_it_again(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """A chunk after the abandonment is in the episode under its GUID; the broadcast stays ended."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    await told(replay, alice, alice.starts(), alice.sends(media[0], 1))
    await replay.pass_by(ABANDONED_S)
    await replay.pass_by(QUIET_S)
    before = await replay.episode(alice.broadcast)
    await replay.pass_by(24 * HOUR_S)
    await told(replay, alice, *(alice.sends(data, number) for number, data in enumerate(media[1:], 2)))
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.ABANDONED)
    after = await replay.episode(alice.broadcast)
    assert before is not None
    assert after is not None
    assert after.guid == before.guid
    await assert_heard(replay, alice, media, tmp_path)


async def test_nobody_is_looked_at_for_ever(replay: Replay, room: Capture) -> None:
    """A decided recording has no planned jobs left."""
    alice, media = Speaker(room), sliced(2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media, 1)))
    await told(replay, alice, alice.tells("stopped", 2))
    await replay.pass_by(PAUSED_S + QUIET_S)
    assert await state(replay, alice) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    async with replay.store.read() as db:
        assert await jobs.next_due(db, [orders.Tick.kind, orders.Finish.kind]) is None
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_a_speaker_who_logs_out_is_found_to_be_gone(world: Worlds, person: People) -> None:
    """A logged-out device leaves an episode when the time is up, without later messages of another device."""
    bot, alice = await world(recording={"quiet_period_s": 1, "abandoned_after_s": 3}), await person("alice")
    async with bot.running() as aircheck:
        speaker = await open_broadcast(bot, alice, encrypted=True)
        started = speaker.broadcast_id
        assert await first_chunks(aircheck.store, speaker, speech(1)[:800], 2) == []
        await alice.api.call("POST", "/_matrix/client/v3/logout", {})
        recording, ledger = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        assert (recording.ended_by, ledger.gaps) == (EndedBy.ABANDONED, ())
        assert [entry.sequence for entry in ledger.entries] == [1, 2]
        again = await person("alice", account=alice.user_id)
        other = await whole_broadcast(again, speaker.room_id, speech(2)[:400])
        _, whole = await recorded(aircheck.store, other.broadcast_id, RecordingState.COMPLETE)
        assert whole.samples == other.samples
        assert (await recorded(aircheck.store, started, RecordingState.INCOMPLETE))[1] == ledger
