"""Slots for child processes."""

import asyncio

import pytest

from bot.audio.slots import Slots
from bot.errors import TryLater


async def test_another_try_waits_for_everybody_else() -> None:
    """A second try begins when no first try runs or waits; later ones use the other slot, and another second try is
    refused meanwhile."""
    slots, order, begun = Slots(), list[str](), asyncio.Event()

    async def usual(gate: asyncio.Event) -> None:
        async with slots.first():
            order.append("usual")
            await gate.wait()

    async def another(gate: asyncio.Event) -> None:
        async with slots.retry():
            order.append("again")
            begun.set()
            await gate.wait()

    gates = [asyncio.Event() for _ in range(5)]
    tasks = [asyncio.create_task(usual(gate)) for gate in gates[:3]]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(another(gates[3])))
    await asyncio.sleep(0)
    with pytest.raises(TryLater):
        await another(gates[4])
    for number in range(3):
        assert "again" not in order
        gates[number].set()
        await tasks[number]
    await begun.wait()
    gates[4].set()
    await usual(gates[4])
    gates[3].set()
    await tasks[3]
    assert order == ["usual", "usual", "usual", "again", "usual"]
