"""Numbers and order as real clients get them wrong, through the whole line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.demo.broadcaster import Info
from bot.demo.slicing import speech
from storage.records import ChunkState, EndedBy, EventId, HeardEvent, RecordingState, UserId, chunk_id_of
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.replay import ALICE, Capture, Replay, assert_heard_whole, encoded
from tests.line.speaker import Speaker, sliced, told
from tests.line.world import assert_exact, newest_episode, open_broadcast, personal_feed, recorded

QUIET_S = 60
CAROL = UserId("@carol:lab.local")
M4A = ("-f", "ipod", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
WAV = ("-f", "wav", "-c:a", "pcm_s16le")


async def assert_whole(replay: Replay, broadcast: EventId, media: list[bytes], folder: Path) -> None:
    recording, ledger = await replay.recording(broadcast), await replay.ledger(broadcast)
    assert (recording.state, ledger.gaps) == (RecordingState.COMPLETE, ())
    await assert_heard_whole(await replay.audio(broadcast), media, folder)


@pytest.mark.parametrize("last", [None, 0, 1, 3, 4], ids=["absent", "none", "too low", "right", "too high"])
async def test_slices_are_whole_whatever_last_number_is_said(
    replay: Replay, room: Capture, tmp_path: Path, last: int | None
) -> None:
    """Whatever the last number is, proved pages make the recording complete, after the quiet period at the latest."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media, 1)))
    await told(replay, alice, alice.tells("stopped", last))
    await replay.pass_by(QUIET_S)
    await assert_whole(replay, alice.broadcast, media, tmp_path)


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, RecordingState.COMPLETE),
        (0, RecordingState.COMPLETE),
        (1, RecordingState.COMPLETE),
        (2, RecordingState.COMPLETE),
        (3, RecordingState.INCOMPLETE),
    ],
    ids=["absent", "none", "too low", "right", "too high"],
)
async def test_files_of_their_own_are_as_complete_as_the_numbers_say(
    replay: Replay, room: Capture, last: int | None, state: RecordingState
) -> None:
    """Without pages an announced number that never came leaves the recording incomplete, without silence at the end."""
    alice = Speaker(room)
    media = [await encoded(data, *WAV) for data in sliced(2, 2)]
    await told(replay, alice, alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media, 1)))
    await told(replay, alice, alice.tells("stopped", last))
    await replay.pass_by(QUIET_S)
    assert (await replay.recording(alice.broadcast)).state is state
    ledger, episode = await replay.ledger(alice.broadcast), await replay.episode(alice.broadcast)
    assert episode is not None
    assert (ledger.gaps, episode.samples) == ((), sum((len(data) - 44) // 2 for data in map(bare, media)))


def bare(wav: bytes) -> bytes:
    """Make a WAV file with a header of 44 bytes."""
    return wav[wav.index(b"data") - 36 :]


async def test_stopped_before_the_last_chunk_as_android_and_ios_send_it(replay: Replay, room: Capture) -> None:
    """A last chunk after `stopped`, as Android and iOS send it, completes the episode at once."""
    alice = Speaker(room, device="ANDROID")
    media = [await encoded(data, *M4A) for data in sliced(2, 2, 1)]
    started = alice.starts()
    chunks = [alice.sends(data, number) for number, data in enumerate(media, 1)]
    await told(replay, alice, started, *chunks[:2], alice.tells("stopped", 3))
    assert (await replay.recording(alice.broadcast)).state is RecordingState.FINISHING
    assert await replay.episode(alice.broadcast) is None
    await replay.pass_by(5)
    await told(replay, alice, chunks[2])
    recording, ledger = await replay.recording(alice.broadcast), await replay.ledger(alice.broadcast)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert [str(entry.chunk_id) for entry in ledger.entries if entry.sounds] == [one.event_id for one in chunks]


async def test_swapped_numbers_change_no_order(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """A chunk that a slow upload numbered after its follower is played in the order of its pages."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    events = [alice.starts(), alice.sends(media[1], 1), alice.sends(media[0], 2), alice.sends(media[2], 3)]
    await told(replay, alice, *events, alice.tells("stopped", 3))
    await assert_whole(replay, alice.broadcast, media, tmp_path)


Again = Callable[[Speaker, HeardEvent, list[bytes]], HeardEvent]


def the_same_media(speaker: Speaker, first: HeardEvent, _: list[bytes]) -> HeardEvent:
    return speaker.sends(b"", 2, mxc=first.event["content"]["url"])


def uploaded_again(speaker: Speaker, _: HeardEvent, media: list[bytes]) -> HeardEvent:
    return speaker.sends(media[1], 2)


def other_media(speaker: Speaker, _: HeardEvent, __: list[bytes]) -> HeardEvent:
    return speaker.sends(sliced(1, begin=10)[0], 2)


@pytest.mark.parametrize("again", [the_same_media, uploaded_again, other_media])
async def test_of_two_with_one_number_the_first_is_heard(
    replay: Replay, room: Capture, tmp_path: Path, again: Again
) -> None:
    """A second chunk with the same number is listed as a duplicate and not played."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    started = alice.starts()
    first, second, third = (alice.sends(data, number) for number, data in enumerate(media, 1))
    double = again(alice, second, media)
    await told(replay, alice, started, first, second, double, third, alice.tells("stopped", 3))
    await assert_whole(replay, alice.broadcast, media, tmp_path)
    states = {entry.chunk_id: entry.state for entry in (await replay.ledger(alice.broadcast)).entries}
    assert states[chunk_id_of(double.event_id)] is ChunkState.DUPLICATE


async def test_an_empty_file_with_a_used_number_takes_nobodys_place(
    replay: Replay, room: Capture, tmp_path: Path
) -> None:
    """An empty file does not take the number of a chunk with sound, even when it comes first."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    started, leftover = alice.starts(), alice.sends(b"", 2)
    chunks = [alice.sends(data, number) for number, data in enumerate(media, 1)]
    await told(replay, alice, started, leftover, *chunks, alice.tells("stopped", 3))
    await replay.pass_by(QUIET_S)
    await assert_whole(replay, alice.broadcast, media, tmp_path)


async def test_without_any_number_the_timeline_is_the_order(replay: Replay, room: Capture) -> None:
    """Files without pages and numbers are played as they came, and the recording stays incomplete."""
    alice = Speaker(room)
    media = [await encoded(data, *WAV) for data in sliced(1, 2, 3)]
    started = alice.starts()
    chunks = [alice.sends(data, None) for data in media]
    await told(replay, alice, started, *chunks, alice.tells("stopped"))
    await replay.pass_by(QUIET_S)
    ledger = await replay.ledger(alice.broadcast)
    assert [str(entry.chunk_id) for entry in ledger.entries] == [one.event_id for one in chunks]
    assert await replay.episode(alice.broadcast) is not None


async def test_a_broadcast_without_a_chunk_is_empty(replay: Replay, room: Capture) -> None:
    """A broadcast without a chunk has no episode and waits for nothing."""
    alice = Speaker(room)
    await told(replay, alice, alice.starts(), alice.tells("stopped", 0))
    await replay.pass_by(QUIET_S)
    assert (await replay.recording(alice.broadcast)).state is RecordingState.EMPTY
    assert await replay.episode(alice.broadcast) is None
    assert not [said for said in replay.said if "is ready" in said]


async def test_starts_that_the_homeserver_merged_are_both_heard(replay: Replay, room: Capture, tmp_path: Path) -> None:
    """Two starts merged into one broadcast, with numbers from 1 each, are both in the episode."""
    alice, before, after = Speaker(room), sliced(2, 1), sliced(2, 2, 1, begin=10)
    started = alice.starts()
    chunks = [alice.sends(data, number) for run in (before, after) for number, data in enumerate(run, 1)]
    await told(replay, alice, started, *chunks, alice.tells("stopped", 3))
    await assert_whole(replay, alice.broadcast, [*before, *after], tmp_path)


async def test_a_new_start_of_the_same_device_ends_the_one_before(
    replay: Replay, room: Capture, tmp_path: Path
) -> None:
    """A new start of the same device ends the broadcast before it; both are recorded."""
    first, second = Speaker(room), Speaker(room)
    before, after = sliced(2, 1), sliced(2, 2, begin=10)
    await told(replay, first, first.starts(), *(first.sends(data, number) for number, data in enumerate(before, 1)))
    started = second.starts()
    chunks = [second.sends(data, number) for number, data in enumerate(after, 1)]
    await told(replay, second, started, *chunks, second.tells("stopped", 2))
    assert (await replay.recording(first.broadcast)).ended_by is EndedBy.RESTARTED
    await assert_whole(replay, first.broadcast, before, tmp_path)
    await assert_whole(replay, second.broadcast, after, tmp_path)


@pytest.mark.parametrize(
    ("user", "device"), [(CAROL, "OTHER"), (ALICE, "OTHER")], ids=["two members", "two devices of one member"]
)
async def test_two_who_are_live_at_once_are_recorded_apart(
    replay: Replay, room: Capture, tmp_path: Path, user: UserId, device: str
) -> None:
    """Two broadcasts whose events come mixed are each recorded whole."""
    one, other = Speaker(room), Speaker(room, user, device)
    mine, theirs = sliced(2, 2, 1), sliced(2, 1, begin=10)
    starts = [one.starts(), other.starts()]
    first = [one.sends(data, number) for number, data in enumerate(mine, 1)]
    second = [other.sends(data, number) for number, data in enumerate(theirs, 1)]
    replay.serves(one.uploads | other.uploads)
    await replay.tell(room.room, [*starts, first[0], second[0], first[1], second[1], other.tells("stopped", 2)])
    assert (await replay.recording(one.broadcast)).state is RecordingState.LIVE
    await replay.tell(room.room, [first[2], one.tells("stopped", 3)])
    for speaker, media in ((one, mine), (other, theirs)):
        assert (await replay.recording(speaker.broadcast)).ended_by is EndedBy.STOPPED
        await assert_whole(replay, speaker.broadcast, media, tmp_path)


async def test_a_second_go_live_on_a_real_homeserver_is_heard_too(world: Worlds, person: People) -> None:
    """After a second start that a real homeserver merged with the first, everything is recorded."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker = await open_broadcast(bot, alice, encrypted=True)
        started = speaker.broadcast_id
        await speaker.speak(speech(1)[:600])
        await speaker.send_chunk(speaker.end_run())
        runs = speaker.slicers
        assert await speaker.start() == started, "this homeserver merges nothing: the test shows nothing"
        speaker.slicers = [*runs, *speaker.slicers]
        await speaker.speak(speech(2)[:700])
        await speaker.send_chunk(speaker.end_run())
        await speaker.tell(Info.STOPPED)
        _, ledger = await recorded(aircheck.store, started, RecordingState.COMPLETE)
        assert ledger.samples == speaker.samples
        feed, _ = await personal_feed(bot, alice, speaker.room_id)
        await assert_exact(await newest_episode(feed), speaker)
