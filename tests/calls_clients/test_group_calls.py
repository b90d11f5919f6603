"""Group calls of MSC3401 with matrix-js-sdk in headless Chromium: `make test-calls` installs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.app import Aircheck
from bot.demo.people import Person
from bot.demo.synapse import Homeserver
from storage import archive, calls
from storage.records import CallEventKind, EndedBy, LeftBy, Recording, RecordingState
from storage.store import Store
from tests.blobs import folder_of
from tests.calls_clients.callers import Callers, callers
from tests.calls_clients.sounds import SURE, likeness, microphone
from tests.lab import PASSWORD, People, decode
from tests.line.conftest import Worlds
from tests.line.world import World, move_in, until, welcome

pytestmark = pytest.mark.calls

LEVELS = {"org.matrix.msc3401.call": 0, "org.matrix.msc3401.call.member": 0}
WINDOWS = 2


@pytest.fixture
def world(homeserver: Homeserver, tmp_path: Path) -> Worlds:
    return Worlds(homeserver, tmp_path)


@dataclass(frozen=True, slots=True)
class Browser:
    """A device that a browser logged in as."""

    user_id: str
    token: str
    device_id: str


async def log_in(homeserver: Homeserver, user_id: str) -> Browser:
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": PASSWORD,
    }
    where = f"{homeserver.address}/_matrix/client/v3/login"
    async with aiohttp.ClientSession() as http, http.post(where, json=login) as answer:
        told: Mapping[str, Any] = await answer.json()
    return Browser(user_id, told["access_token"], told["device_id"])


async def open_caller(
    made: Callers, name: str, homeserver: Homeserver, user_id: str, room: str, sound: Path, *, encrypts: bool
) -> None:
    """Open a browser that is logged in as this user, in this room."""
    device = await log_in(homeserver, user_id)
    await made.open(
        name,
        sound,
        homeserver=homeserver.address,
        userId=device.user_id,
        token=device.token,
        deviceId=device.device_id,
        roomId=room,
        encrypts=encrypts,
    )


async def room_with_calls(
    bot: World, host: Person, guest: Person, *, encrypted: bool, levels: Mapping[str, int] = LEVELS
) -> str:
    """Make a room whose members may call, and in which calls are recorded."""
    room = await move_in(bot, host, encrypted=encrypted)
    power = dict(await host.state(room, "m.room.power_levels"))
    await host.send_state(room, "m.room.power_levels", {**power, "events": {**power.get("events", {}), **levels}})
    await welcome(guest, host, room)
    await host.say(room, "!aircheck record calls on")
    await host.wait_for(lambda event: event.room_id == room and event.sender == bot.user_id and "calls" in event.body)
    return room


async def heard_in(store: Store, stems: int, windows: int) -> Recording:
    """Wait until so many stems of the call have so many slices each, and return its recording."""

    async def check() -> Recording | None:
        async with store.read() as db:
            for recording in await calls.running(db):
                chunks = await archive.chunks(db, recording.id)
                counts = [sum(chunk.stem == stem.number for chunk in chunks) for stem in recording.stems]
                if sum(count >= windows for count in counts) >= stems:
                    return recording
        return None

    return await until(store, check, 120)


async def listed(store: Store, recording: Recording, user_id: str, what: CallEventKind) -> None:
    """Wait until the recording of a call lists an event of a member."""

    async def check() -> bool | None:
        async with store.read() as db:
            events = await calls.events(db, recording.id)
        return any((event.user_id, event.what) == (user_id, what) for event in events) or None

    await until(store, check)


async def finished(store: Store, recording: Recording) -> Recording:
    """Wait until the episode of a recording is made."""

    async def check() -> Recording | None:
        async with store.read() as db:
            found = await archive.recording(db, recording.id)
            episode = await archive.episode(db, recording.id)
        return found if found and found.state.is_decided and episode is not None else None

    return await until(store, check, 120)


def stem_sounds(aircheck: Aircheck, recording: Recording) -> dict[str, bytes]:
    return {
        stem.user_id: folder_of(aircheck.store).read(stem.blob)
        for stem in recording.stems
        if stem.blob is not None and not stem.removed
    }


@pytest.mark.parametrize(
    ("sdk", "encrypted"),
    [("js-sdk-36", True), ("js-sdk-36", False), ("js-sdk-24", True), ("js-sdk-42", False)],
    ids=["36-encrypted", "36-plain-room", "24-encrypted", "42-plain"],
)
async def test_a_group_call_becomes_an_episode_with_a_stem_for_each_speaker(
    homeserver: Homeserver, world: Worlds, person: People, tmp_path: Path, *, sdk: str, encrypted: bool
) -> None:
    """Two members call in browsers. The bot joins both, records each apart, and leaves when they have."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await person("ann"), await person("ben")
    sounds = {
        ann.user_id: (1, microphone(1, tmp_path / "ann.wav")),
        ben.user_id: (2, microphone(2, tmp_path / "ben.wav")),
    }
    encrypts = sdk != "js-sdk-42"
    async with bot.running() as aircheck, callers("group_call.js", tmp_path, sdk=sdk) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=encrypted)
        for name, someone in (("ann", ann), ("ben", ben)):
            sound = sounds[someone.user_id][1]
            await open_caller(made, name, homeserver, someone.user_id, room, sound, encrypts=encrypts)
        for name in ("ann", "ben"):
            await made.do(name, "enter")
            await made.do(name, "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=WINDOWS)
        await made.do("ben", "mute", muted=True)
        await listed(aircheck.store, running, ben.user_id, CallEventKind.MUTED)
        await made.do("ben", "leave")
        await made.do("ann", "leave")
        recording = await finished(aircheck.store, running)
        async with aircheck.store.read() as db:
            episode = await archive.episode(db, recording.id)
            events = await calls.events(db, recording.id)
        found = stem_sounds(aircheck, recording)
        assert recording.state is RecordingState.COMPLETE
        assert recording.ended_by is EndedBy.STOPPED
        assert [stem.left_by for stem in recording.stems] == [LeftBy.LEFT, LeftBy.LEFT]
        assert {"joined", "muted", "left"} <= {str(event.what) for event in events if event.user_id == ben.user_id}
        for user_id, (part, _) in sounds.items():
            pcm = decode(found[user_id])
            assert likeness(pcm, part) > SURE
            assert likeness(pcm, 3 - part) < SURE
        assert episode is not None
        mix = decode(folder_of(aircheck.store).read(episode.blob))
        assert abs(len(mix) - episode.samples) < 4800
        members = await ann.state(room, "org.matrix.msc3401.call.member", bot.user_id)
        assert not members["m.calls"]


async def test_a_browser_that_is_killed_is_lost_and_the_other_goes_on(
    homeserver: Homeserver, world: Worlds, person: People, tmp_path: Path
) -> None:
    """A stem of a browser that crashes ends as lost with its last sound; it may come back."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await person("ann"), await person("ben")
    one, two = microphone(1, tmp_path / "ann.wav"), microphone(2, tmp_path / "ben.wav")
    async with bot.running() as aircheck, callers("group_call.js", tmp_path, sdk="js-sdk-36") as made:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        await open_caller(made, "ann", homeserver, ann.user_id, room, one, encrypts=True)
        await open_caller(made, "ben", homeserver, ben.user_id, room, two, encrypts=True)
        for name in ("ann", "ben"):
            await made.do(name, "enter")
            await made.do(name, "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=1)
        await made.do("ben", "kill")

        async def lost() -> bool | None:
            async with aircheck.store.read() as db:
                now = await archive.recording(db, running.id)
            assert now is not None
            return any(stem.left_by is LeftBy.LOST for stem in now.stems) or None

        await until(aircheck.store, lost, 90)
        await made.do("ann", "leave")
        recording = await finished(aircheck.store, running)
        by_user = {str(stem.user_id): stem for stem in recording.stems}
        assert by_user[ben.user_id].left_by is LeftBy.LOST
        assert by_user[ann.user_id].left_by is LeftBy.LEFT
        assert likeness(decode(stem_sounds(aircheck, recording)[ben.user_id]), 2) > SURE


async def test_pushing_to_talk_is_listed_by_mute_events(
    homeserver: Homeserver, world: Worlds, person: People, tmp_path: Path
) -> None:
    """In a call by push-to-talk each transmission is an `unmuted` and a `muted` of its speaker."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await person("ann"), await person("ben")
    one, two = microphone(1, tmp_path / "ann.wav"), microphone(2, tmp_path / "ben.wav")
    async with bot.running() as aircheck, callers("group_call.js", tmp_path, sdk="js-sdk-36") as made:
        room = await room_with_calls(bot, ann, ben, encrypted=True)
        await open_caller(made, "ann", homeserver, ann.user_id, room, one, encrypts=True)
        await open_caller(made, "ben", homeserver, ben.user_id, room, two, encrypts=True)
        await made.do("ann", "enter", pushToTalk=True)
        await made.do("ann", "meet", userId=bot.user_id)
        await made.do("ben", "enter")
        await made.do("ben", "meet", userId=bot.user_id)
        running = await heard_in(aircheck.store, stems=2, windows=1)  # js-sdk says `connected` before the bot is
        for name, someone in (("ann", ann), ("ben", ben)):
            await made.do(name, "mute", muted=False)
            await listed(aircheck.store, running, someone.user_id, CallEventKind.UNMUTED)
            await made.do(name, "mute", muted=True)
            await listed(aircheck.store, running, someone.user_id, CallEventKind.MUTED)
        for name in ("ann", "ben"):
            await made.do(name, "leave")
        recording = await finished(aircheck.store, running)
        async with aircheck.store.read() as db:
            events = await calls.events(db, recording.id)
        for someone in (ann, ben):
            told = [str(event.what) for event in events if event.user_id == someone.user_id]
            assert told.index("unmuted") < len(told) - 1 - told[::-1].index("muted")
