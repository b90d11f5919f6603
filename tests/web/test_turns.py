"""Turns at work that takes much CPU: few at once, shared by clients, refused where too many wait."""

import asyncio

import pytest

from bot.web import turns
from bot.web.turns import TooManyWait, Turns


class Work:
    """Pieces of work that run until they are let go; `begun` names them in their order."""

    def __init__(self, at_once: int = 1) -> None:
        self.turns = Turns(at_once)
        self.begun: list[str] = []
        self.let_go: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, client: str | None, name: str) -> None:
        self.let_go[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(client, name))
        await settled()

    async def _run(self, client: str | None, name: str) -> None:
        async with self.turns.turn(client):
            self.begun.append(name)
            await self.let_go[name].wait()

    async def finish(self, name: str) -> None:
        self.let_go[name].set()
        await self.tasks[name]
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_clients_take_turns() -> None:
    """A client's long queue delays another by one piece of work only."""
    work = Work()
    for name in ("a1", "a2", "a3", "b1", "c1"):
        await work.ask(name[0], name)
    for name in ("a1", "a2", "b1", "c1", "a3"):
        assert work.begun[-1] == name
        await work.finish(name)


async def test_few_run_at_once() -> None:
    """No more run at once than are allowed, and a place that is free is taken at once."""
    work = Work(at_once=2)
    for name in ("1", "2", "3"):
        await work.ask(None, name)
    assert work.begun == ["1", "2"]
    await work.finish("2")
    assert work.begun == ["1", "2", "3"]
    await work.finish("1")
    await work.finish("3")
    await work.ask(None, "4")
    assert work.begun[-1] == "4"
    await work.finish("4")


async def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose part of the queue is full is refused at once, and so is everybody where it is full."""
    monkeypatch.setattr(turns, "MOST_WAITING", 4)
    monkeypatch.setattr(turns, "MOST_WAITING_OF_ONE", 2)
    work = Work()
    for name in ("a1", "a2", "a3"):
        await work.ask("a", name)
    with pytest.raises(TooManyWait):
        async with work.turns.turn("a"):
            pass
    await work.ask("b", "b1")
    await work.ask(None, "x")
    with pytest.raises(TooManyWait):
        async with work.turns.turn("c"):
            pass
    for name in ("a1", "a2", "b1", "x", "a3"):
        await work.finish(name)
    assert not work.turns.waiting


async def test_cancelled_work_passes_its_turn_on() -> None:
    """Work that is cancelled, waiting or running, leaves its turn to the next."""
    work = Work()
    for name in ("1", "2", "3", "4"):
        await work.ask(name, name)
    work.tasks["2"].cancel()
    await settled()
    work.tasks["1"].cancel()
    await settled()
    assert work.begun == ["1", "3"]
    work.let_go["3"].set()
    work.tasks["4"].cancel()  # just as it is given the turn, or before
    await settled()
    await work.ask(None, "5")
    assert work.begun[-1] == "5"
    await work.finish("5")
