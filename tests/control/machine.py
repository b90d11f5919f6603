"""The machine: people say what is recorded, who hears it and what is deleted, and the bot dies now and then."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot import orders
from bot.commands.handle import Commands
from bot.feeds.addresses import token_for
from bot.matrix.sending import Sending
from bot.web.access import Access, Family, Verdict
from bot.web.claims import AddressClaims
from bot.web.library import Library
from bot.worker.expiring import Expiring, Forewarning
from storage import archive, rooms
from storage.records import DeviceId, EventId, RecordingState, UserId
from tests.control.truth import Spoken, Truth
from tests.interleaving import world as whole
from tests.interleaving.homeserver import Fate
from tests.interleaving.world import BOB
from tests.world import ALICE, ROOM

CAROL = UserId("@carol:hs")
PEOPLE = (ALICE, BOB, CAROL)
WHO = st.sampled_from(PEOPLE)
WHICH = st.integers(0, 5)
DAY_S = 86_400.0
EVERY_DAY_S = 90_000.0
LAST_S = 60.0  # a question is open for so long


class World(whole.World):
    """A world in which commands are carried out and retention is kept."""

    def _complete(self) -> None:
        super()._complete()
        bot, said, clock = self.bot, cast("Sending", self.said), self.clock
        apply, handlers = bot.recorder.apply, bot.handlers
        commands = Commands(bot.store, bot.settings, lambda db: bot.store.secret.within(db), clock, apply=apply)
        for kind in orders.KINDS:
            handlers.setdefault(kind, self._nothing)
        handlers[orders.Command.kind] = commands
        handlers[orders.Confirm.kind] = commands.confirm
        handlers[orders.Expire.kind] = Expiring(bot.store, bot.settings, apply=apply, clock=clock)
        handlers[orders.Forewarn.kind] = Forewarning(bot.store, bot.settings, said, clock)

    async def _catch_up(self) -> None:
        await self.sync()
        await self.all_due()

    def catch_up(self) -> None:
        """Hear and do all that is due now, however often the bot dies of it."""
        deaths = None
        while deaths != self.deaths:
            deaths = self.deaths
            self.run(self._catch_up())


class Control(RuleBasedStateMachine):
    """`begun` is a store whose bot is in the room already, with Alice, its creator."""

    def __init__(self, begun: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="control-"))
        self._patch = pytest.MonkeyPatch()
        self.loop = loop
        self.world = World(shutil.copytree(begun, self._folder / "data"), loop, self._patch)
        self.truth = Truth({ALICE}, {ALICE: 0})
        self.counted = 0
        for who in (BOB, CAROL):
            self._member(who, "join")
            self.truth.joined[who] = self._at
        for who in PEOPLE:
            self._say(who, "feed")
        self._opens()

    def _opens(self) -> None:
        """Build the web anew, as a new process does."""
        store = self.world.bot.store
        self.claims, self.library = AddressClaims(store, lambda: True, ()), Library(store, ZoneInfo("UTC"))

    def teardown(self) -> None:
        self.world.close()
        self._patch.undo()
        shutil.rmtree(self._folder)

    @property
    def _at(self) -> int:
        return len(self.world.homeserver.timeline)

    def _say(self, who: UserId, words: str, *, after_s: float = 30.0) -> None:
        self.world.pass_by(after_s)
        self.world.homeserver.tell(who, "m.room.message", {"msgtype": "m.text", "body": f"!aircheck {words}"})
        self.world.catch_up()

    def _member(self, who: UserId, membership: str, by: UserId | None = None) -> None:
        self.world.homeserver.tell(by or who, "m.room.member", {"membership": membership}, state_key=who)
        self.world.catch_up()

    def _spoken(self, which: int) -> tuple[Spoken, str]:
        """Pick a broadcast, also one that is deleted, and its code."""
        spoken = list(self.truth.spoken.values())[-1 - which % len(self.truth.spoken)]
        recording = self.loop.run_until_complete(self._recording(spoken.started))
        return spoken, recording

    async def _recording(self, started: EventId) -> str:
        async with self.world.bot.store.read() as db:
            recording = await archive.recording_by_event(db, started)
        assert recording is not None, "what is to be recorded is"
        return recording.code

    # ---- what is said

    @rule(who=WHO, stops=st.booleans())
    def somebody_speaks(self, who: UserId, stops: bool) -> None:
        if who not in self.truth.joined:
            return
        world = self.world
        world.pass_by(60)
        started = world.start(who, DeviceId("D"), web=False, pages=1)
        broadcast = started.broadcast
        assert broadcast is not None
        self.truth.begins(started.event_id, who, self._at)
        world.send(broadcast, broadcast.cut(200, last=True, announced=True), Fate.HERE, None)
        if stops:
            world.change(broadcast, "stopped", broadcast.number)
        world.catch_up()

    # ---- what is decided

    @rule(who=WHO, on=st.booleans())
    def recording_is_switched(self, who: UserId, on: bool) -> None:
        self._say(who, f"record {'on' if on else 'off'}")
        if self.truth.moderates(who):
            self.truth.recording = on
            self.truth.messages = self.truth.messages and on
            self.truth.calls = self.truth.calls and on

    @rule(who=WHO, on=st.booleans())
    def the_recording_of_messages_is_switched(self, who: UserId, on: bool) -> None:
        self._say(who, f"record messages {'on' if on else 'off'}")
        if self.truth.moderates(who):
            self.truth.messages = on

    @rule(who=WHO, on=st.booleans())
    def the_recording_of_calls_is_switched(self, who: UserId, on: bool) -> None:
        self._say(who, f"record calls {'on' if on else 'off'}")
        if self.truth.moderates(who):
            self.truth.calls = on

    @rule(who=WHO, public=st.booleans())
    def the_podcast_is_opened_or_closed(self, who: UserId, public: bool) -> None:
        self._say(who, f"publish {'public' if public else 'private'}")
        if self.truth.moderates(who) and public is not self.truth.public:
            self.truth.public = public
            for spoken in self.truth.spoken.values():
                spoken.public = False

    @precondition(lambda self: self.truth.spoken)
    @rule(who=WHO, which=WHICH, public=st.booleans())
    def one_recording_is_opened_or_closed(self, who: UserId, which: int, public: bool) -> None:
        spoken, code = self._spoken(which)
        self._say(who, f"{'publish' if public else 'unpublish'} {code}")
        if public and who == spoken.who and self.truth.may_change(who, spoken):
            spoken.public = spoken.public or (self.truth.public and not spoken.waits)
        if not public and self.truth.may_change(who, spoken):
            spoken.public = False

    @rule(who=WHO, on=st.booleans())
    def review_is_switched(self, who: UserId, on: bool) -> None:
        live = self.loop.run_until_complete(self._live()) if on else set()
        self._say(who, f"review {'on' if on else 'off'}")
        if self.truth.moderates(who):
            self.truth.review = on
            for started in live:
                self.truth.spoken[started].waits = True

    async def _live(self) -> set[EventId]:
        """Return what runs, or has ended and has no episode yet."""
        async with self.world.bot.store.read() as db:
            still_open = await archive.open_recordings(db, ROOM)
            return {each.event_id for each in still_open if await archive.episode(db, each.id) is None}

    @precondition(lambda self: self.truth.spoken)
    @rule(who=WHO, which=WHICH)
    def one_recording_is_approved(self, who: UserId, which: int) -> None:
        spoken, code = self._spoken(which)
        self._say(who, f"approve {code}")
        if self.truth.may_change(who, spoken):
            spoken.waits = False

    @precondition(lambda self: self.truth.spoken)
    @rule(who=WHO, which=WHICH, yes=WHO, after_s=st.sampled_from([1.0, 50.0, 70.0]))
    def one_recording_is_deleted(self, who: UserId, which: int, yes: UserId, after_s: float) -> None:
        spoken, code = self._spoken(which)
        self._say(who, f"delete {code}")
        asked = self.truth.may_change(who, spoken)
        self._say(yes, "yes", after_s=after_s)
        spoken.deleted = spoken.deleted or (asked and yes == who and after_s < LAST_S)

    @rule(who=WHO, yes=WHO)
    def somebody_is_forgotten(self, who: UserId, yes: UserId) -> None:
        self._say(who, "forget me")
        self._say(yes, "yes")
        if who in self.truth.joined and yes == who:
            for spoken in self.truth.spoken.values():
                spoken.deleted = spoken.deleted or spoken.who == who

    @rule(who=WHO, out=st.booleans())
    def somebody_opts_out_or_in(self, who: UserId, out: bool) -> None:
        self._say(who, "optout" if out else "optin")
        if who in self.truth.joined:
            (self.truth.opted_out.add if out else self.truth.opted_out.discard)(who)

    @precondition(lambda self: self.truth.spoken)
    @rule(which=WHICH)
    def a_start_is_redacted(self, which: int) -> None:
        spoken, _ = self._spoken(which)
        told = next(each for each in self.world.homeserver.timeline if each.event_id == spoken.started)
        if not told.redacted:
            self.world.redact(told)
            self.world.catch_up()
            spoken.deleted = True

    @rule(days=st.sampled_from([1, 100]), which=WHICH, keeps=st.booleans())
    def retention_is_set(self, days: int, which: int, keeps: bool) -> None:
        if ALICE not in self.truth.joined:
            return
        self._say(ALICE, "retention forever" if days == 100 else f"retention {days} days")
        self.truth.retention = days == 1
        if keeps and self.truth.spoken:
            spoken, code = self._spoken(which)
            self._say(ALICE, f"keep {code}")
            spoken.kept = spoken.kept or not spoken.deleted

    @rule(days=st.sampled_from([1, 9]))
    def days_pass(self, days: int) -> None:
        """Retention deletes what is not kept, and nothing else does."""
        for _ in range(days):
            self.world.pass_by(EVERY_DAY_S)
            self.world.run(self.world.bot.keeper.expire())
            self.world.catch_up()
        gone = self.loop.run_until_complete(self._deleted())
        for started, spoken in self.truth.spoken.items():
            if started in gone and not spoken.deleted:
                assert self.truth.retention
                assert not spoken.kept
                spoken.deleted = True

    async def _deleted(self) -> set[EventId]:
        async with self.world.bot.store.read() as db:
            every = await archive.recordings(db, ROOM)
        return {recording.event_id for recording in every if recording.state is RecordingState.DELETED}

    # ---- who is there

    @rule(who=st.sampled_from((BOB, CAROL)), how=st.sampled_from(["join", "leave", "kick", "ban"]))
    def somebody_comes_or_goes(self, who: UserId, how: str) -> None:
        here = who in self.truth.joined
        if (how == "join") is here:
            return
        by = who if how in ("join", "leave") else ALICE
        self._member(who, {"kick": "leave"}.get(how, how), by)
        if how == "join":
            self.truth.joined[who] = self._at
        else:
            del self.truth.joined[who]

    @rule(raised=st.booleans())
    def bob_gets_or_loses_power(self, raised: bool) -> None:
        levels = {"users": {ALICE: 100, **({BOB: 50} if raised else {})}}
        self.world.homeserver.tell(ALICE, "m.room.power_levels", levels, state_key="")
        self.world.catch_up()
        (self.truth.moderators.add if raised else self.truth.moderators.discard)(BOB)

    @rule(shared=st.booleans())
    def the_history_is_opened_or_closed(self, shared: bool) -> None:
        content = {"history_visibility": "shared" if shared else "joined"}
        self.world.homeserver.tell(ALICE, "m.room.history_visibility", content, state_key="")
        self.world.catch_up()
        self.truth.shared = shared

    # ---- life and death

    @rule()
    def the_bot_starts_anew(self) -> None:
        self.world.rise()
        self._opens()

    @rule(number=st.integers(1, 12), after_commit=st.booleans())
    def the_bot_will_die(self, number: int, after_commit: bool) -> None:
        self.world.bot.store.die_at(number, after_commit=after_commit)

    # ---- what holds

    @invariant()
    def everybody_hears_what_they_may(self) -> None:
        """Everything that has an episode is heard by those who may, and by nobody else."""
        self.loop.run_until_complete(self._judge())

    async def _judge(self) -> None:
        if not hasattr(self, "library"):
            return
        store = self.world.bot.store
        async with store.read() as db:
            every = await archive.recordings(db, ROOM)
            episodes = {each.event_id: await archive.episode(db, each.id) for each in every}
            deleted = {each.event_id for each in every if each.state is RecordingState.DELETED}
            room = await rooms.room(db, ROOM)
            generations = {who: await rooms.listener(db, ROOM, who) for who in PEOPLE}
            for each in every:
                if each.state is RecordingState.DELETED:
                    assert await archive.chunks(db, each.id) == ()
        assert room is not None
        truth = self.truth
        assert room.recorded == truth.records()
        assert {each.event_id for each in every} == set(truth.spoken)
        assert deleted == {spoken.started for spoken in truth.spoken.values() if spoken.deleted}
        ready = {event for event, episode in episodes.items() if episode}
        listed = {event for event, episode in episodes.items() if episode and episode.published_at}
        assert not ready & deleted
        codes = {each.event_id: each.code for each in every}
        for who, listener in generations.items():
            assert listener is not None
            token = token_for(store.secret(), ROOM, who, listener.generation)
            access = await self.claims.personal(token)
            assert (access.verdict is Verdict.OPEN) is (who in truth.joined), who
            assert await self._opened(access, codes) == truth.hears(who) & ready, who
            assert await self._listed(access) == truth.lists(who) & listed, who
            live = {each.event_id for each in await self.library.live(access)} if _open(access) else set()
            assert live <= truth.hears(who), who
        access = await self.claims.public(room.key)
        assert access.claim.family is Family.PUBLIC
        assert (access.verdict is Verdict.OPEN) is truth.public
        assert await self._opened(access, codes) == truth.publishes() & ready
        assert await self._listed(access) == truth.publishes() & listed
        live = {each.event_id for each in await self.library.live(access)} if _open(access) else set()
        assert live <= truth.publishes()

    async def _opened(self, access: Access, codes: dict[EventId, str]) -> set[EventId]:
        if not _open(access):
            return set()
        return {event for event, code in codes.items() if await self.library.published(access, code) is not None}

    async def _listed(self, access: Access) -> set[EventId]:
        if not _open(access):
            return set()
        rows = await self.library.feed_rows(access, (await self.library.outline(access)).blocks)
        return {recording.event_id for recording, _ in rows.published}


def _open(access: Access) -> bool:
    return access.verdict is Verdict.OPEN
