"""Recordings that wait for approval: within reach of its speakers and of moderators only, at every address."""

from dataclasses import dataclass, replace

import pytest
from aiohttp import ClientSession

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.audio.waveform import SLOT
from storage import archive, tracks
from storage.records import DurationMs, Mark, Recording, RecordingState, Room, UserId, Visibility
from tests.web.on_the_air import Broadcast
from tests.web.world import ALICE, BOB, NOW, World

MOD = UserId("@mod:hs")
LIVE = ("{}", "{}.m3u8", "{}-0-0.mp3", "{}-live.mp3", "live.mp3")
FINISHED = ("{}", "{}.mp3", "{}.chapters.json", "{}.waveform.json", "{}.m3u8", "{}-0-0.mp3")
LISTS = ("", "feed.xml")
PLAIN = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Review:
    """A public room with review on: Alice spoke, Bob is another member."""

    world: World
    client: ClientSession
    room: Room
    broadcast: Broadcast

    @property
    def recording(self) -> Recording:
        return self.broadcast.recording

    async def root(self, who: UserId | None) -> str:
        """The addresses of a listener, or those of everybody."""
        return f"/p/{await self.world.listener(self.room, who)}/" if who else f"/r/{self.room.key}/"

    async def reach(self, who: UserId | None, names: tuple[str, ...]) -> bool:
        """Return whether this listener reaches all addresses of the recording; it must be all or none."""
        root, code = await self.root(who), self.recording.code
        answers = set()
        for name in names:
            async with self.client.get(root + name.format(code)) as answer:
                answers.add(answer.status == 200)
                assert answer.status in (200, 410) or len(await answer.read()) < 32
        assert len(answers) == 1
        return answers.pop()

    async def told(self, who: UserId | None) -> tuple[bool, bool]:
        """Return whether the room's page and its feed say something of the recording."""
        root, found = await self.root(who), []
        for name in LISTS:
            async with self.client.get(root + name, headers=PLAIN) as answer:
                found.append(self.recording.code in await answer.text())
        return found[0], found[1]

    async def finish(self) -> None:
        """End the broadcast; its episode waits."""
        await self.broadcast.end()
        async with self.world.store.write() as db:
            episode = await archive.episode(db, self.recording.id)
            assert episode is not None
            marks = (Mark(DurationMs(0), "Alice"),)
            cut = replace((await tracks.cuts(db, self.recording.id))[0], gains=b"\0\0")
            await tracks.decide(db, self.recording.id, [(cut, b"\x40" * -(-cut.samples // SLOT))])
            await archive.save_episode(db, replace(episode, published_at=None, chapters=marks))

    async def approve(self) -> None:
        async with self.world.store.write() as db:
            episode = await archive.episode(db, self.recording.id)
            assert episode is not None
            await archive.save_episode(db, replace(episode, published_at=NOW))
        await self.world.save(replace(self.recording, unreviewed=False))


@pytest.fixture
async def review(world: World, client: ClientSession) -> Review:
    room = await world.room(visibility=Visibility.PUBLIC, review=True)
    await world.state(room, "m.room.create", {"room_version": "10"})
    await world.state(room, "m.room.power_levels", {"users": {MOD: 50}})
    for user in (ALICE, BOB, MOD):
        await world.member(room, user)
    recording = await world.recording(room, state=RecordingState.LIVE, started_at=NOW, unreviewed=True)
    broadcast = Broadcast(world, recording)
    await broadcast.speak(6 * FRAMES)
    world.clock.pass_by(30)
    return Review(world, client, room, broadcast)


PEOPLE = {"speaker": (ALICE, True), "moderator": (MOD, True), "member": (BOB, False), "everybody": (None, False)}


@pytest.mark.parametrize("who", PEOPLE)
async def test_a_live_broadcast_that_waits(review: Review, who: str) -> None:
    """Its page, playlist, segments and stream are its speaker's and the moderators'."""
    user, reaches = PEOPLE[who]
    assert await review.reach(user, LIVE) is reaches
    assert await review.told(user) == (reaches, False)


@pytest.mark.parametrize("who", PEOPLE)
async def test_an_episode_that_waits(review: Review, who: str) -> None:
    """Its page and all files beside it are its speaker's and the moderators'; approval opens them for all, and the
    feeds."""
    user, reaches = PEOPLE[who]
    await review.finish()
    assert await review.reach(user, FINISHED) is reaches
    assert await review.told(user) == (reaches, False)
    await review.approve()
    assert await review.reach(user, FINISHED)
    assert await review.told(user) == (True, True)


async def test_a_speaker_who_left_reaches_nothing(review: Review) -> None:
    """Leaving closes what waits for a speaker too; joining again opens it."""
    await review.finish()
    await review.world.member(review.room, ALICE, "leave", at=50)
    assert not await review.reach(ALICE, (*FINISHED, *LISTS))
    await review.world.member(review.room, ALICE, "join", at=60)
    assert await review.reach(ALICE, FINISHED)


async def test_lost_power_closes_with_the_next_request(review: Review) -> None:
    """A moderator who is one no longer reaches nothing that waits, on no page that was cached; power gives it back."""
    await review.finish()
    for power, reaches in ((50, True), (49, False), (50, True)):
        await review.world.state(review.room, "m.room.power_levels", {"users": {MOD: power}})
        assert await review.reach(MOD, FINISHED) is reaches
        assert await review.told(MOD) == (reaches, False)
        assert await review.told(BOB) == (False, False)


async def test_the_pages_say_that_it_waits(review: Review) -> None:
    """The room's page marks it, its own page says how it is approved."""
    await review.finish()
    root = await review.root(MOD)
    for name, words in (("", "waits for approval"), (review.recording.code, f"approve {review.recording.code}")):
        async with review.client.get(root + name, headers=PLAIN) as answer:
            assert words in await answer.text()


async def test_the_name_of_who_waits_is_not_the_podcasts(review: Review) -> None:
    """A nameless room is not called after a speaker whose recording nobody approved."""
    await review.world.state(review.room, "m.room.name", {})
    await review.finish()
    async with review.client.get(await review.root(None), headers=PLAIN) as answer:
        assert "Alice" not in await answer.text()
