"""Rights to a studio come and go in any order, and its member broadcasts with it, or tries: it can be used exactly
while the rule has held ever since it was made, and a broadcast ends with the rule."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import orders
from bot.commands.handle import Commands
from bot.commands.replies import studio as replies
from bot.dialects import studio as events
from bot.studio import rights
from bot.studio.writing import StudioRefusedError, Writing
from bot.worker.looking_at_studios import LookingAtStudios
from storage import archive, jobs, studios
from storage.place import Place
from storage.records import Json, RecordingState, Studio, StudioId, StudioSource, StudioState, UserId
from tests import world as core
from tests.factories import always
from tests.world import ALICE, BOT, INFO, ROOM, Mortal, World, batch, heard, settings_for, state

BOB = UserId("@bob:hs")  # makes broadcasts; Alice moderates
STORIES = int(os.environ.get("AIRCHECK_STORIES", "8"))
POWER: dict[str, Json] = {
    "none": {"users": {ALICE: 100, BOT: 100}},
    "moderator": {"users": {ALICE: 100, BOT: 100, BOB: 50}},
    "may broadcast": {"users": {ALICE: 100, BOT: 100}, "events": {INFO: 0}},
}


class Bot(World):
    """A bot that carries commands out, and looks at studios."""

    def _begin(self) -> None:
        super()._begin()
        commands = Commands(self.store, self.settings, always(b"s" * 32), self.clock, apply=self.recorder.apply)
        self.handlers[orders.Command.kind] = commands
        self.handlers[orders.LookAtStudios.kind] = LookingAtStudios(self.store, self.clock)

    async def rest(self) -> None:
        """Do what waits of that which studios depend on."""
        await self.settle()
        while await self.work_one([orders.Command.kind, orders.LookAtStudios.kind, orders.End.kind]):
            await self.settle()


class Room:
    """Alice's room as it should be. `made`: Bob's newest studio, which can be used while it `works`; `live`: a
    broadcast was begun with it."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.count = 0
        self.bot_in = self.member = self.record = self.studio = self.chosen = True
        self.out = self.walkie = False
        self.power = "moderator"
        self.made: StudioId | None = None
        self.works = self.live = False
        self.writing = Writing(bot.store, bot.settings, bot.clock)

    @property
    def rule(self) -> bool:
        """Whether Bob may have a studio, in the words of the issue."""
        allowed = self.member and self.power != "none" and self.record and self.studio
        return self.bot_in and allowed and self.chosen and not self.out and not self.walkie

    # ---- what happens

    async def hear(self, sender: UserId, kind: str, content: Json, **more: Any) -> None:
        self.count += 1
        self.bot.clock.pass_by(1)
        at = round(self.bot.clock().timestamp() * 1000)
        event = heard(f"${self.count}", kind, content, sender=sender, origin_server_ts=at, **more)
        await self.bot.intake.take(batch(event, token=str(self.count)))
        await self.bot.rest()

    async def say(self, sender: UserId, command: str) -> str | None:
        """Say a command, and return the answer; None where there is none."""
        await self.hear(sender, "m.room.message", {"msgtype": "m.text", "body": f"!aircheck {command}"})
        async with self.bot.store.read() as db:
            job = await jobs.find(db, orders.Notice.about(f"answer:${self.count}"))
        return None if job is None else str(job.payload["body"])

    async def membership(self, joined: bool) -> None:
        self.member = joined
        if self.bot_in:
            content = {"membership": "join" if joined else "leave"}
            await self.hear(BOB, "m.room.member", content, state_key=BOB)

    async def set_power(self, power: str) -> None:
        self.power = power
        if self.bot_in:
            await self.hear(ALICE, "m.room.power_levels", POWER[power], state_key="")

    async def opts(self, out: bool) -> None:
        if self.bot_in and self.member:
            self.out = out
            await self.say(BOB, "optout" if out else "optin")

    async def switch(self, what: str, on: bool) -> None:
        if self.bot_in:
            setattr(self, what, on)
            await self.say(ALICE, f"{what} {'on' if on else 'off'}")

    async def choose(self, chosen: bool) -> None:
        if self.bot_in:
            self.chosen = chosen
            await self.say(ALICE, "speakers all" if chosen else f"speakers {ALICE}")

    async def bot_comes(self, there: bool) -> None:
        """The bot is put out of the room, or is back, where nobody has asked it to record."""
        if there == self.bot_in:
            return
        self.bot_in, self.record = there, False
        members = [state("m.room.member", {"membership": "join"}, user, user) for user in (ALICE, BOT)]
        bobs = state("m.room.member", {"membership": "join" if self.member else "leave"}, BOB, BOB)
        create = state("m.room.create", {"room_version": "11"})
        block = (create, state("m.room.power_levels", POWER[self.power]), *members, bobs) if there else ()
        self.count += 1
        await self.bot.intake.take(batch(before=block, joined=there, token=str(self.count)))
        await self.bot.rest()

    async def ask(self) -> None:
        """Bob asks for a studio: the same one while it works."""
        if not self.bot_in:
            return
        answer, before = await self.say(BOB, "studio"), self.made
        found = await self.find()
        if not self.rule:
            assert answer not in {replies.is_coming(StudioSource.PAGE, live=live) for live in (True, False)}
            assert (answer is None) == (not self.member)
            assert found is None or found.id == before
            return
        assert answer == replies.is_coming(StudioSource.PAGE, live=self.works and self.live)
        assert found is not None
        assert (found.id == before) == self.works
        if not self.works:
            self.made, self.works, self.live = found.id, True, False

    async def go_live(self) -> None:
        """Bob presses the button on the page of the newest studio."""
        if self.made is None:
            return
        begun = True
        try:
            await self.writing.start(self.made, "page")
        except StudioRefusedError:
            begun = False
        await self.bot.rest()
        assert begun == self.works
        self.live |= begun

    # ---- what must hold

    async def find(self) -> Studio | None:
        """Return Bob's newest studio."""
        async with self.bot.store.read() as db:
            made = [each for number in range(1, self.count + 2) if (each := await studios.get(db, StudioId(number)))]
        return made[-1] if made else None

    async def judge(self) -> None:
        """Compare the studio with the rule, when the jobs that the last change ordered are done."""
        self.works = self.works and self.rule
        async with self.bot.store.read() as db:
            refusal = await rights.refusal(db, ROOM, BOB)
            assert (refusal is None) == self.rule, refusal
            studio = await studios.get(db, self.made) if self.made is not None else None
            if studio is None:
                return
            assert (studio.state is not StudioState.OVER) == self.works
            assert len(await studios.open_in(db)) == int(self.works)
            recording = await archive.recording_by_event(db, events.started_id(studio))
        assert (recording is not None) == self.live
        assert (recording is not None and recording.state is RecordingState.LIVE) == (self.works and self.live)


STEPS = st.one_of(
    st.tuples(st.just("ask")),
    st.tuples(st.just("ask")),
    st.tuples(st.just("go live")),
    st.tuples(st.just("membership"), st.booleans()),
    st.tuples(st.just("power"), st.sampled_from(sorted(POWER))),
    st.tuples(st.just("opts"), st.booleans()),
    st.tuples(st.just("switch"), st.sampled_from(["record", "studio", "walkie"]), st.booleans()),
    st.tuples(st.just("choose"), st.booleans()),
    st.tuples(st.just("bot"), st.booleans()),
)
LIVE = [("ask",), ("go live",)]
ENDS = [
    ("membership", False),
    ("power", "none"),
    ("opts", True),
    ("switch", "record", False),
    ("switch", "studio", False),
    ("switch", "walkie", True),
    ("choose", False),
    ("bot", False),
]


async def tell(directory: Path, story: list[tuple[Any, ...]]) -> None:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        kept = {"directory": str(directory), "min_free_bytes": 0}
        room = Room(Bot(store, settings_for(directory, storage=kept)))
        steps: dict[str, Callable[..., Awaitable[None]]] = {
            "ask": room.ask,
            "go live": room.go_live,
            "membership": room.membership,
            "power": room.set_power,
            "opts": room.opts,
            "switch": room.switch,
            "choose": room.choose,
            "bot": room.bot_comes,
        }
        for step in story:
            verb, *words = step
            await steps[verb](*words)
            await room.judge()
    finally:
        await store.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store whose bot records in a room in which Bob may broadcast."""
    directory = tmp_path_factory.mktemp("begun") / "data"

    async def begin() -> None:
        async with core.world_of(directory) as world:
            await world.join()
            bob = heard("$bob", "m.room.member", {"membership": "join"}, state_key=BOB, sender=BOB)
            await world.hear(bob, heard("$power", "m.room.power_levels", POWER["moderator"], state_key=""))

    asyncio.run(begin())
    return directory


@settings(max_examples=STORIES)
@given(story=st.lists(STEPS, max_size=14))
@example(story=[*LIVE, ("membership", False), ("membership", True), ("go live",), *LIVE])
@example(story=[("ask",), ("power", "none"), ("power", "may broadcast"), ("go live",), *LIVE])
@example(story=[*LIVE, ("bot", False), ("bot", True), *LIVE, ("switch", "record", True), *LIVE])
def test_a_studio_works_exactly_while_its_member_may_broadcast(
    begun: Path, tmp_path_factory: pytest.TempPathFactory, story: list[tuple[Any, ...]]
) -> None:
    """Whatever ends the right ends the studio, for good; asked for again, there is another."""
    _tell_in_copy(begun, tmp_path_factory, story)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: " ".join(map(str, end)))
def test_each_loss_of_the_right_ends_a_broadcast_that_runs(
    begun: Path, tmp_path_factory: pytest.TempPathFactory, end: tuple[Any, ...]
) -> None:
    """The member's broadcast is stopped by the change itself, without a request of the page; so is one that waits."""
    _tell_in_copy(begun, tmp_path_factory, [*LIVE, end, ("go live",)])
    _tell_in_copy(begun, tmp_path_factory, [("ask",), end, ("go live",)])


def _tell_in_copy(begun: Path, folders: pytest.TempPathFactory, story: list[tuple[Any, ...]]) -> None:
    directory = folders.mktemp("story") / "data"
    shutil.copytree(begun, directory)
    try:
        asyncio.run(tell(directory, story))
    finally:
        shutil.rmtree(directory)
