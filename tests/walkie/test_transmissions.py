"""Transmissions on a real homeserver: a voice message, a broadcast that is heard live, and an episode of both."""

from contextlib import suppress
from pathlib import Path

import pytest

from bot.demo.client_api import Refused, room_path
from bot.demo.synapse import Homeserver
from bot.recording.report import recording_json
from storage import archive, rooms, tracks
from storage.records import Chunk, ChunkState, EndedBy, Episode, Json, MediaSource, MxcUri, Recording, RecordingState
from tests.lab import FederatedHomeserver
from tests.line.conftest import Worlds
from tests.line.world import until
from tests.walkie.lab import FLOOR, PERMIT, Bot, Member, members
from tests.world import INFO, media_of

SECOND = 1000


@pytest.fixture
def world(homeserver: Homeserver, tmp_path: object) -> Worlds:
    return Worlds(homeserver, tmp_path)  # type: ignore[arg-type]


async def voice(member: Member, room: str, name: str, **more: object) -> str:
    """Send a voice message of one second; return its event."""
    mxc = await member.api.upload(media_of(MediaSource(MxcUri(name))), "audio/wav")
    content = {"msgtype": "m.audio", "body": "Voice message", "url": mxc, "org.matrix.msc3245.voice": {}, **more}
    sent = await member.api.call("PUT", room_path(room, "send", "m.room.message", name), content)
    return str(sent["event_id"])


async def info(member: Member, room: str, state: str, **more: object) -> str:
    """Send an info event of a broadcast; return its id."""
    content = {"state": state, "device_id": "PHONE", "chunk_length": 5, **more}
    sent = await member.api.call("PUT", room_path(room, "state", INFO, member.user_id), content)
    return str(sent["event_id"])


def of(broadcast: str) -> Json:
    return {"m.relates_to": {"rel_type": "m.reference", "event_id": broadcast}}


async def chunk(member: Member, room: str, broadcast: str, number: int) -> str:
    sequence = {"io.element.voice_broadcast_chunk": {"sequence": number}}
    return await voice(member, room, f"{broadcast}-{number}", **sequence, **of(broadcast))


async def told(floor: Bot) -> None:
    """Wait until the room was told that it is recorded."""

    async def check() -> bool | None:
        async with floor.store.read() as db:
            room = await rooms.room(db, floor.room)
        return True if room is not None and room.recorded else None

    await until(floor.store, check)


async def stored(floor: Bot, count: int) -> Recording:
    """Wait until so many chunks of the session are stored, and are heard live; return the session."""

    async def check() -> Recording | None:
        async with floor.store.read() as db:
            for recording in await archive.recordings(db, floor.room):
                chunks = await archive.chunks(db, recording.id)
                live = len([samples for samples, known in await tracks.peaks(db, recording.id) if known])
                if sum(chunk.state is ChunkState.STORED for chunk in chunks) == count <= live:
                    return recording
        return None

    return await until(floor.store, check)


async def whole(floor: Bot) -> tuple[Recording, tuple[Chunk, ...], Episode]:
    """Wait for the episode of the one recording."""

    async def check() -> tuple[Recording, tuple[Chunk, ...], Episode] | None:
        async with floor.store.read() as db:
            (recording,) = await archive.recordings(db, floor.room)
            episode = await archive.episode(db, recording.id)
            chunks = await archive.chunks(db, recording.id)
        is_over = recording.state is RecordingState.COMPLETE and episode is not None
        return (recording, chunks, episode) if is_over and episode is not None else None

    return await until(floor.store, check)


async def handed_back(member: Member, room: str, bot: str) -> list[Json]:
    """Return the voice messages of the bot in the room."""
    page = await member.api.call("GET", room_path(room, "messages") + "?dir=b&limit=100")
    ours = [event["content"] for event in page["chunk"] if event["sender"] == bot]
    return [content for content in ours if content.get("msgtype") == "m.audio"]


async def test_a_message_and_a_broadcast_are_one_episode(world: Worlds, homeserver: Homeserver) -> None:
    """Two members speak with the floor, one of them live; the creator, whom nobody can limit, speaks out of turn.
    `walkie end` makes one episode with two chapters, and the room has the broadcast as a voice message."""
    bot = await world(walkie={"floor_s": 30, "guard_s": 0})
    async with members((homeserver, "alice"), (homeserver, "ben"), (homeserver, "cat")) as (alice, ben, cat):
        room = await alice.create("12", bot.user_id, ben.user_id, cat.user_id)
        levels = await alice.state(room, "m.room.power_levels")
        events = {**levels.get("events", {}), INFO: 0}
        await alice.api.call("PUT", room_path(room, "state", "m.room.power_levels"), {**levels, "events": events})
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            for member in (ben, cat):
                await member.join(room)
            await floor.joined(alice.user_id, ben.user_id, cat.user_id)
            await told(floor)
            await floor.switch(on=True)
            for member in (ben, cat):
                await member.permit(room)
            await floor.permitted(ben.user_id, cat.user_id)

            await ben.ask(room)
            assert await floor.granted(1) == ben.user_id
            message = await voice(ben, room, "message")
            await floor.free()

            await cat.ask(room)
            assert await floor.granted(2) == cat.user_id
            started = await info(cat, room, "started")
            chunks = [await chunk(cat, room, started, 1)]
            session = await stored(floor, 2)  # while the broadcast runs
            assert (session.event_id, session.state) == (message, RecordingState.LIVE)
            aside = await voice(alice, room, "aside")
            chunks.append(await chunk(cat, room, started, 2))
            await info(cat, room, "stopped", last_chunk_sequence=2, **of(started))
            await floor.free()

            async def is_handed_back() -> Json | None:
                async with floor.store.read() as db:
                    rows = await archive.transmissions_of(db, session.id)
                assert rows == (started,)
                posted = await handed_back(alice, room, bot.user_id)
                return posted[0] if posted else None

            posted = await until(floor.store, is_handed_back)
            assert posted["m.relates_to"]["event_id"] == started
            assert posted["info"]["duration"] == 2 * SECOND

            await alice.say(room, "!aircheck walkie end")
            recording, sound, episode = await whole(floor)
            assert len(await handed_back(alice, room, bot.user_id)) == 1
    assert (recording.id, recording.ended_by) == (session.id, EndedBy.STOPPED)
    assert [mark.at for mark in episode.chapters] == [0, 2 * SECOND]
    report = recording_json(recording, sound, episode, title="t", path=None, given_title=None, named=lambda _name: "n")
    assert (report["kind"], report["state"], report["gaps"]) == ("walkie_talkie", "complete", [])
    assert [(each["event_id"], each["state"], each["sender"], each["position_ms"]) for each in report["chunks"]] == [
        (message, "stored", ben.user_id, 0),
        (chunks[0], "stored", cat.user_id, 2 * SECOND),
        (chunks[1], "stored", cat.user_id, 3 * SECOND),
        (aside, "refused", alice.user_id, 4 * SECOND),
    ]
    assert [speaker["user_id"] for speaker in report["speakers"]] == [ben.user_id, cat.user_id]


async def test_a_stray_message_of_a_remote_member_is_not_in_the_audio(
    federation: tuple[FederatedHomeserver, FederatedHomeserver], tmp_path: Path
) -> None:
    """A homeserver that has not heard of a release takes one more message of its member. The archive has one speaker at
    a time, and is complete without it."""
    near, far = federation
    bot = await Worlds(near, tmp_path)(walkie={"floor_s": 20, "guard_s": 0})
    async with members((near, "alice"), (near, "bob"), (far, "cat")) as (alice, bob, cat):
        room = await alice.create("10", bot.user_id, bob.user_id, cat.user_id)
        async with bot.running() as aircheck:
            floor = Bot(aircheck, room, bot)
            await bob.join(room)
            await cat.join(room, via=near.server_name)
            await floor.joined(alice.user_id, bob.user_id, cat.user_id)
            await told(floor)
            await floor.switch(on=True)
            await cat.sees(room, "m.room.power_levels", lambda content: PERMIT in content["events"])
            for member in (bob, cat):
                await member.permit(room)
            await floor.permitted(bob.user_id, cat.user_id)
            kept = []
            for number in (1, 2):
                await cat.ask(room)
                assert await floor.granted(2 * number - 1) == cat.user_id
                await cat.sees(room, FLOOR, lambda content: content["holder"] == cat.user_id)
                await bob.ask(room)
                await floor.waits(bob.user_id)
                kept.append(await voice(cat, room, f"remote-{number}"))
                assert await floor.granted(2 * number) == bob.user_id
                with suppress(Refused):  # its homeserver may have heard of the release
                    await voice(cat, room, f"stray-{number}")
                kept.append(await voice(bob, room, f"near-{number}"))
                await floor.free()
            await alice.say(room, "!aircheck walkie end")
            _recording, sound, _episode = await whole(floor)
    assert [chunk.event_id for chunk in sound if chunk.state is ChunkState.STORED] == kept
