"""The machine: people, and the homeserver, the clock and the bot, each of which may take the next step."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from storage.records import ChunkState, RecordingId, SessionId
from tests.blobs import folder_of
from tests.interleaving import verdict
from tests.interleaving.homeserver import Fate, Media
from tests.interleaving.listener import Listener
from tests.interleaving.people import ANY, COMES, LONG, People, one_of, session_of
from tests.interleaving.sound import RAW_FRAME
from tests.interleaving.verdict import Kept
from tests.interleaving.world import LANE_KINDS, World

WITH_BYTES = {ChunkState.STORED, ChunkState.WAITING_FOR_MEDIA, ChunkState.DAMAGED, ChunkState.REFUSED}
"""Chunks whose bytes may be kept: those that are heard, and those that wait for better ones."""


class Interleavings(People):
    """`begun` is a store whose bot is in the room already."""

    def __init__(self, begun: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="interleaving-"))
        self._patch = pytest.MonkeyPatch()
        super().__init__(World(shutil.copytree(begun, self._folder / "data"), loop, self._patch))
        self.listener = Listener(self.world)
        self._read: tuple[int | None, tuple[Kept, ...]] = None, ()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.everything_comes_to_rest()
                self.made_again_nothing_changes()
                self.told_again_nothing_changes()
        finally:
            self.world.close()
            self._patch.undo()
            shutil.rmtree(self._folder)

    # ---- the homeserver and the bot

    @rule(most=st.sampled_from([None, None, 1, 2, 5]), gap=st.integers(0, 2), again=st.sampled_from([0, 0, 3, 50]))
    def a_sync_comes(self, most: int | None, gap: int, again: int) -> None:
        self.world.run(self.world.sync(most, gap=gap, again=again))

    @rule(then=st.sampled_from(["settle", "fetch", "sound", "desk", "all"]), most=st.integers(1, 4))
    def a_sync_comes_and_some_of_it_is_done(self, then: str, most: int) -> None:
        self.world.run(self.world.sync())
        self.the_bot_works(then, most)

    @precondition(lambda self: self.speaking and self._is_short())
    @rule(
        which=ANY,
        fates=st.lists(st.sampled_from([Fate.HERE] * 4 + [Fate.AWAY]), min_size=2, max_size=6),
        seconds=st.sampled_from([0, 11, 30]),
        redacted=st.none() | ANY,
    )
    def somebody_is_heard_live(self, which: int, fates: list[Fate], seconds: int, redacted: int | None) -> None:
        """They speak for a while, the bot keeps up, and something of it may be taken back at once."""
        broadcast = one_of(self.speaking, which)
        for fate in fates:
            self._send(broadcast, broadcast.cut(LONG, last=False, announced=True), fate, None)
        self._the_bot_keeps_up()
        self.world.pass_by(seconds)
        self._the_bot_keeps_up()
        self.somebody_listens()
        sent = [one for one in self._redactable(chunks=True) if one.broadcast is broadcast]
        if redacted is not None and sent:
            self.world.redact(one_of(sent, redacted))
            self._the_bot_keeps_up()
            self.somebody_listens()

    def _the_bot_keeps_up(self) -> None:
        self.world.run(self.world.sync())
        self.world.run(self.world.all_due())

    @rule(what=st.sampled_from(["settle", *LANE_KINDS, "fetch", "sound", "all", "all"]), most=st.integers(1, 4))
    def the_bot_works(self, what: str, most: int) -> None:
        if what == "settle":
            self.world.run(self.world.bot.settle())
        elif what == "all":
            self.world.run(self.world.all_due())
        else:
            self.world.run(self.world.work(LANE_KINDS[what], most))

    @precondition(lambda self: self._unsent_keys() or self._media_away())
    @rule(which=ANY, media=st.booleans())
    def a_key_or_media_turn_up(self, which: int, media: bool) -> None:
        keys, away = self._unsent_keys(), self._media_away()
        if keys and not (media and away):
            self.world.homeserver.promised.add(one_of(keys, which))
        else:
            one_of(away, which).comes()

    def _unsent_keys(self) -> list[SessionId]:
        sent = self.world.homeserver.promised
        sealed = [one.session for one in self.world.homeserver.timeline if one.session and COMES in one.session]
        return [one for one in dict.fromkeys(sealed) if one not in sent]

    def _media_away(self) -> list[Media]:
        return [one for one in self.world.homeserver.media.values() if one.fate is Fate.AWAY]

    @rule(number=st.integers(1, 12), after_commit=st.booleans())
    def it_will_die_at_a_write(self, number: int, after_commit: bool) -> None:
        self.world.bot.store.die_at(number, after_commit=after_commit)

    @rule(what=st.sampled_from(["sync", "desk", "die"]))
    def something_will_come_between(self, what: str) -> None:
        self.world.meanwhile(what)

    @rule(anybody=st.booleans())
    def listeners_come_or_go(self, anybody: bool) -> None:
        """Under nobody's ears a track may change what it was."""
        self.world.bot.listened = anybody

    @rule(keeps_house=st.booleans())
    def it_is_started_anew(self, keeps_house: bool) -> None:
        self.world.rise()
        if keeps_house:
            self.world.run(self.world.keep_house())

    @precondition(lambda self: self._episodes())
    @rule(which=ANY)
    def an_episode_is_to_be_made_again(self, which: int) -> None:
        self.world.run(self.world.make_again(one_of(self._episodes(), which)))

    def _episodes(self) -> list[RecordingId]:
        return [one.recording.id for one in self._kept() if one.episode]

    def _kept(self) -> tuple[Kept, ...]:
        """Read anew when something was written."""
        written = self.world.bot.store.database.changes.number
        if written != self._read[0]:
            self._read = written, self.world.loop.run_until_complete(verdict.kept(self.world))
        return self._read[1]

    @rule(seconds=st.sampled_from([1, 30, 61, 61, 600, 1801, 4000, 15_000, -60, -600]))
    def the_clock_moves(self, seconds: int) -> None:
        """Backwards only the bot's."""
        if seconds > 0:
            self.world.pass_by(seconds)
        else:
            self.world.jump(seconds)

    # ---- what holds at each moment

    @rule()
    def somebody_listens(self) -> None:
        self.world.loop.run_until_complete(self.listener.listen())

    @invariant()
    def what_is_listed_can_be_played(self) -> None:
        """Assert that the file of each episode, of all frames and of each stored chunk is there."""
        store = self.world.bot.store
        for one in self._kept():
            assert one.episode is None or folder_of(store).exists(one.episode.blob)
            for extent in one.extents:
                path = store.directory / store.blobs.relative(extent.blob)
                assert path.stat().st_size >= extent.offset + extent.frames * RAW_FRAME
            for chunk in one.chunks:
                assert chunk.blob is not None or chunk.state is not ChunkState.STORED
                assert chunk.blob is None or chunk.state in WITH_BYTES
                assert chunk.blob is None or folder_of(store).exists(chunk.blob)

    @rule(really=st.integers(0, 3))
    def sometimes_everything_comes_to_rest(self, really: int) -> None:
        """Then life goes on."""
        if not really:
            self.everything_comes_to_rest()

    def everything_comes_to_rest(self) -> None:
        """All that will ever come has come, and nothing is left to do: the archive is the truth."""
        world = self.world
        world.spare()
        for media in world.homeserver.media.values():
            media.comes()
        world.homeserver.promised |= {session_of(one, COMES) for one in self.broadcasts}
        world.loop.run_until_complete(self._rest())
        self._all_is_true()

    def made_again_nothing_changes(self) -> None:
        """Each episode of its chunks once more: the same bytes, though some of it was made live, in parts, or later."""
        world = self.world
        before = self._kept()
        for recording_id in self._episodes():
            world.loop.run_until_complete(world.make_again(recording_id))
        world.loop.run_until_complete(self._rest())
        after = self._kept()
        assert list(map(verdict.without_its_date, after)) == list(map(verdict.without_its_date, before))
        self._all_is_true()

    def told_again_nothing_changes(self) -> None:
        """Start the bot, and deliver all of the timeline once more."""
        world = self.world
        before = self._kept()
        world.rise()
        world.loop.run_until_complete(world.sync(again=len(world.homeserver.timeline)))
        world.loop.run_until_complete(self._rest())
        assert self._kept() == before
        self._all_is_true()

    def _all_is_true(self) -> None:
        loop = self.world.loop
        loop.run_until_complete(verdict.judge(self.world))
        loop.run_until_complete(verdict.is_heard_as_it_is(self.world, loop.run_until_complete(self.listener.listen())))

    async def _rest(self) -> None:
        await self.world.rest()
        if not self.world.deaths:
            await verdict.no_file_is_lost(self.world)
        await self.world.keep_house()
        await self.world.all_due()
