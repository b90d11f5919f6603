"""Handing back transmissions: a broadcast of a walkie-talkie is posted by itself, and follows its sound."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.errors import GiveUp
from bot.intake import transmissions
from bot.matrix.media import FetchedMedia
from bot.recording.model import Deleted
from bot.worker import handing_back
from storage.records import HeardEvent, MediaSource
from tests.recorder import talk
from tests.recorder.talk import ANN, grant, part, release, started, stopped
from tests.recorder.voices import BEN, redaction, voice
from tests.worker.quick import without_ffmpeg
from tests.worker.test_handing_back import Homeserver, Town, fake, town
from tests.world import ROOM, Killed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)
    monkeypatch.setattr(handing_back, "make_voice_message", fake)
    monkeypatch.setattr(handing_back, "LEAST_BYTES", 1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path / "data") as made:
        await made.join()
        await talk.switch_on(made)
        yield made


def a_round(world: Town) -> tuple[HeardEvent, ...]:
    """Return the timeline of a voice message of Ann's, and a broadcast of Ben's of three chunks."""
    now = world.clock()
    at = int(now.timestamp() * 1000)
    parts = [part("$live", number, BEN, at) for number in (1, 2, 3)]
    message = (*grant("1", ANN), voice("$m1", now, who=ANN), *release("1"))
    broadcast = (*grant("2", BEN), started("$live", BEN, at), *parts, stopped("$live", BEN, 3, at), *release("2"))
    return (*message, *broadcast)


async def test_it_is_posted_when_it_is_over_while_the_session_goes_on(world: Town) -> None:
    """The room gets one voice message that refers to its start, though whole recordings are not handed back; that of
    somebody else, which is in the room, is not posted again."""
    await world.hear(*a_round(world))
    await world.work()
    recording, _chunks = await talk.session(world)
    (content,) = world.homeserver.audio
    assert content["m.relates_to"] == {"rel_type": "m.reference", "event_id": "$live"}
    assert (content["info"]["duration"], content["org.aircheck.recording"]) == (3000, recording.code)
    assert content["body"].startswith("Ben, ")
    assert len(content["org.matrix.msc1767.audio"]["waveform"]) == 30
    await world.policy(replay=True)
    async with world.store.write() as db:
        await transmissions.end(db, world.recorder.apply, ROOM)
    await world.work()
    assert len(world.homeserver.events) == 1


async def test_it_is_replaced_when_it_heals(world: Town) -> None:
    """A chunk whose media come late makes another voice message, in the place of the first."""
    whole = world.download

    async def without_second(source: MediaSource, file: Path, max_bytes: int) -> FetchedMedia:
        if source.mxc.endswith("live-2"):
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        return await whole(source, file, max_bytes)

    world.download = without_second
    await world.hear(*a_round(world))
    await world.work()
    world.clock.pass_by(700)
    await world.work()
    (first,) = world.homeserver.audio
    world.download = whole
    world.clock.pass_by(3600)
    await world.work()
    assert world.homeserver.audio[-1]["org.aircheck.replaces"] == "$handed-back-1"
    assert world.homeserver.visible == [world.homeserver.audio[-1]] != [first]


async def test_it_goes_with_its_start(world: Town) -> None:
    """Redacting the start redacts it, and so does the deletion of the session."""
    await world.hear(*a_round(world))
    await world.work()
    await world.hear(redaction("$r", "$live", BEN))
    await world.work()
    assert world.homeserver.visible == []


async def test_it_goes_with_the_session(world: Town) -> None:
    """A session that is deleted takes the voice messages of its transmissions with it."""
    await world.hear(*a_round(world))
    await world.work()
    recording, _chunks = await talk.session(world)
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Deleted())
    await world.work()
    assert (await talk.session(world))[0].transmissions == ()
    assert world.homeserver.visible == []


@pytest.mark.parametrize("dies_at", range(1, 4))
@pytest.mark.parametrize("after_commit", [False, True])
async def test_it_is_posted_once_wherever_the_process_dies(tmp_path: Path, dies_at: int, *, after_commit: bool) -> None:
    """A death at any write of the handler, before or after its commit, repeats no message and loses none."""
    homeserver = Homeserver()
    async with town(tmp_path / "data", homeserver) as world:
        await world.join()
        await talk.switch_on(world)
        await world.hear(*a_round(world))
        world.dies_at, world.store.after_commit = dies_at, after_commit
        try:
            await world.work()
        except Killed:
            world.dies_at = None
            await world.rise_again()
            await world.work()
        assert len(homeserver.audio) == 1
