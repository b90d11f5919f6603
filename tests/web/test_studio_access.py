"""The one check, of studios: whatever happens in a room, a studio takes something only from who may broadcast there."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bot.intake import roomstate
from bot.recording.model import Change
from bot.studio.writing import StudioRefusedError, Writing
from bot.web.access import StudioClaim, Verdict, decide_studio
from bot.web.claims import AddressClaims
from storage import optouts, rooms, studios
from storage.place import Place
from storage.records import (
    Behind,
    EventId,
    OptOut,
    Position,
    Studio,
    StudioId,
    StudioSource,
    StudioState,
)
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_room
from tests.interleaving.begun import new_loop
from tests.web.studio import INFO, PAGE, studio_in
from tests.web.world import ALICE, MOD, NOW, settings_with

ROOM = a_room(told_at=Position(0))
DAY = timedelta(hours=24)


# ---- the decision alone


def a_studio(state: StudioState, **changes: Any) -> Studio:
    studio = Studio(StudioId(1), "k", ROOM.room_id, ALICE, StudioSource.PAGE, state, NOW, NOW + DAY)
    return replace(studio, **changes)


STUDIOS = st.builds(
    a_studio,
    st.sampled_from(StudioState),
    last=st.none() | st.integers(0, 3),
    source=st.sampled_from(StudioSource),
    ended_at=st.none() | st.just(NOW + timedelta(hours=1)),
)
ROOMS = st.none() | st.just(ROOM) | st.just(replace(ROOM, behind=Behind.WALKED))


@given(st.none() | STUDIOS, ROOMS, st.booleans(), st.booleans(), st.integers(-1, 60).map(lambda hours: hours * 3600))
def test_verdicts(studio: Studio | None, room: Any, allowed: bool, fresh: bool, seconds: float) -> None:
    """An address is open only for a known studio, in time, by a right that is known to hold now."""
    now = NOW + timedelta(seconds=seconds)
    verdict = decide_studio(StudioClaim(studio, room, allowed), now, fresh=fresh).verdict
    if studio is None or studio.source is not StudioSource.PAGE:
        assert verdict is Verdict.CLOSED
        return
    in_time = {
        StudioState.WAITING: now < NOW + DAY,
        StudioState.OVER: studio.last is not None and now < (studio.ended_at or NOW) + DAY,
    }.get(studio.state, True)
    known = fresh and (room is None or room.behind is None)
    if not in_time:
        assert verdict is Verdict.ENDED
    elif not known:
        assert verdict is Verdict.LATER
    else:
        assert verdict is (Verdict.OPEN if allowed and room is not None else Verdict.ENDED)


# ---- the decision in a room that lives


class Rights(RuleBasedStateMachine):
    """A room in which rights come and go, and a studio in it. `begun`: a store with such a room."""

    def __init__(self, begun: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="studio-"))
        self._loop = loop
        self._clock = Clock(NOW)
        self._fresh = True
        self._facts = {"joined": True, "records": True, "studio": True, "told": True, "behind": False}
        self._member, self._power, self._out, self._listed, self._events = "join", 0, False, True, 0
        self._ended: datetime | None = None
        self._last: int | None = None
        self._state = StudioState.WAITING
        self._store = loop.run_until_complete(Store.own(Place(shutil.copytree(begun, self._folder / "data"))))
        self._claims = AddressClaims(self._store, lambda: self._fresh, (), self._clock)
        self._writing = Writing(self._store, settings_with(), self._clock)
        self._studio, self._token = self._run(studio_in(self._store, ROOM.room_id))

    def teardown(self) -> None:
        self._run(self._store.close())
        shutil.rmtree(self._folder)

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    @rule(what=st.sampled_from(["joined", "records", "studio", "told", "behind"]), on=st.booleans())
    def the_room_changes(self, what: str, on: bool) -> None:
        self._facts[what] = on
        facts = self._facts
        changed = replace(
            ROOM,
            joined=facts["joined"],
            recording_on=facts["records"],
            studio=facts["studio"],
            told_at=Position(0) if facts["told"] else None,
            behind=Behind.WALKED if facts["behind"] else None,
            speakers=None if self._listed else (MOD,),
        )
        self._run(self._save(changed))

    @rule(on=st.booleans())
    def moderators_choose_who_is_recorded(self, on: bool) -> None:
        self._listed = on
        self.the_room_changes("studio", self._facts["studio"])

    async def _save(self, room: Any) -> None:
        async with self._store.write() as db:
            await rooms.save_room(db, room)

    @rule(membership=st.sampled_from(["join", "leave", "ban", "invite", "knock"]))
    def they_come_and_go(self, membership: str) -> None:
        self._member = membership
        self._run(self._tell("m.room.member", {"membership": membership}, ALICE))

    @rule(power=st.sampled_from([0, 20, 50, 100]), needed=st.sampled_from([0, 20, 60]))
    def powers_change(self, power: int, needed: int) -> None:
        self._power = 1 if power >= needed or power >= 50 else -1
        content = {"users": {MOD: 100, ALICE: power}, "events": {INFO: needed}}
        self._run(self._tell("m.room.power_levels", content, ""))

    async def _tell(self, kind: str, content: dict[str, Any], key: str) -> None:
        self._events += 1
        event = {"type": kind, "state_key": key, "sender": MOD, "content": content, "event_id": f"$s{self._events}"}
        async with self._store.write() as db:
            await roomstate.apply_state(db, ROOM.room_id, event, Position(self._events), self._clock())

    @rule(out=st.booleans())
    def they_opt_out_or_in(self, out: bool) -> None:
        self._out = out
        self._events += 1
        word = OptOut(ALICE, ROOM.room_id, Position(self._events), out, self._clock(), EventId(f"$w{self._events}"))
        self._run(self._say(word))

    async def _say(self, word: OptOut) -> None:
        async with self._store.write() as db:
            await optouts.add(db, word)

    @rule(fresh=st.booleans())
    def the_process_begins(self, fresh: bool) -> None:
        self._fresh = fresh

    @rule(hours=st.sampled_from([1, 12, 23, 24]))
    def time_passes(self, hours: int) -> None:
        self._clock.pass_by(hours * 3600)

    @rule(step=st.sampled_from(["start", "pause", "resume", "stop", "end"]), last=st.none() | st.integers(0, 3))
    def they_broadcast(self, step: str, last: int | None) -> None:
        try:
            self._run(self._step(step, last))
        except StudioRefusedError:
            return
        assert self._holds or step == "end", "a step is taken from who has no right to it"

    async def _step(self, step: str, last: int | None) -> None:
        now = self._clock()
        if step == "start":
            await self._writing.start(self._studio.id, PAGE)
            self._state = StudioState.LIVE if self._state is StudioState.WAITING else self._state
        elif step == "end":
            async with self._store.write() as db:
                studio = await studios.get(db, self._studio.id)
                assert studio is not None
                await self._writing.end(db, studio)
            if self._state is not StudioState.OVER:
                self._state, self._ended, self._last = StudioState.OVER, now, None
        else:
            change = {"pause": Change.PAUSED, "resume": Change.RESUMED, "stop": Change.STOPPED}[step]
            await self._writing.change(self._studio.id, PAGE, change, last if step == "stop" else None)
            if step != "stop":
                self._state = StudioState.PAUSED if step == "pause" else StudioState.LIVE
            elif self._state is not StudioState.OVER:
                self._state, self._ended, self._last = StudioState.OVER, now, last

    @property
    def _holds(self) -> bool:
        """Whether the member may broadcast there, as the room's rules say."""
        facts = self._facts
        of_room = facts["joined"] and facts["records"] and facts["told"] and facts["studio"]
        return of_room and self._member == "join" and self._power >= 0 and not self._out and self._listed

    @property
    def _in_time(self) -> bool:
        if self._state is StudioState.WAITING:
            return self._clock() < NOW + DAY
        if self._state is not StudioState.OVER:
            return True
        return self._last is not None and self._ended is not None and self._clock() < self._ended + DAY

    @invariant()
    def the_address_is_open_to_the_right_alone(self) -> None:
        access = self._run(self._claims.studio(self._token))
        if not self._in_time:
            assert access.verdict is Verdict.ENDED
        elif not self._fresh or self._facts["behind"]:
            assert access.verdict is Verdict.LATER
        else:
            assert access.verdict is (Verdict.OPEN if self._holds else Verdict.ENDED)

    @invariant()
    def no_other_address_is(self) -> None:
        for access in (self._run(self._claims.studio("a" * 52)), self._run(self._claims.personal(self._token))):
            assert access.verdict is Verdict.CLOSED


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from new_loop()


async def begin(directory: Path) -> None:
    store = await Store.own(Place(directory))
    async with store.write() as db:
        await rooms.save_room(db, ROOM)
        for kind, key, content in (
            ("m.room.create", "", {"room_version": "10"}),
            ("m.room.power_levels", "", {"users": {MOD: 100}, "events": {INFO: 0}}),
            ("m.room.member", ALICE, {"membership": "join"}),
        ):
            event = {"type": kind, "state_key": key, "sender": MOD, "content": content, "event_id": f"$b{kind}"}
            await roomstate.apply_state(db, ROOM.room_id, event, Position(0), NOW)
    await store.close()


def test_a_studio_is_open_to_who_may_broadcast(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """However rights come and go, and whenever, the address is open to the member who has them, and nothing is taken
    from anybody else."""
    begun = tmp_path / "begun"
    loop.run_until_complete(begin(begun))

    class Here(Rights):
        def __init__(self) -> None:
            super().__init__(begun, loop)

    run_state_machine_as_test(Here, settings=settings(max_examples=10, stateful_step_count=25))
