"""The session of a walkie-talkie, ended by a moderator."""

from pathlib import Path

from bot.intake import transmissions
from storage import archive
from storage.records import EndedBy, EventId, RecordingKind, RecordingState
from tests.factories import a_recording
from tests.world import ROOM, world_of


async def test_ending_closes_what_runs_of_the_walkie_talkie_alone(tmp_path: Path) -> None:
    """Its live session is over, by `stopped`; a broadcast in the room goes on."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        async with world.store.write() as db:
            for kind in (RecordingKind.WALKIE_TALKIE, RecordingKind.VOICE_MESSAGES):
                live = a_recording(
                    kind=kind, room_id=ROOM, event_id=EventId(f"${kind}"), state=RecordingState.LIVE, at=world.clock()
                )
                await archive.add_recording(db, live)
            ended = await transmissions.end(db, world.recorder.apply, ROOM)
            assert [recording.kind for recording in ended] == [RecordingKind.WALKIE_TALKIE]
            by_kind = {recording.kind: recording for recording in await archive.recordings(db)}
        assert by_kind[RecordingKind.WALKIE_TALKIE].ended_by is EndedBy.STOPPED
        assert by_kind[RecordingKind.VOICE_MESSAGES].state is RecordingState.LIVE
