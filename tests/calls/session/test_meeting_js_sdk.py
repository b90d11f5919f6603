"""The session machine and a model of matrix-js-sdk find together, over a network that loses and reorders messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.calls.model import Device
from tests.calls.session.js_sdk import World, meet
from tests.calls.session.stories import ANN, ZOE

LONG_S = 600
"""Time for all calls that are made again."""
delay = st.sampled_from([0.05, 0.1, 0.5, 2.0, 8.0])
prefixes = st.sampled_from(["A", "Z"])
"""The beginnings of the device's call ids: lower than ours, and higher."""


@settings(max_examples=40)
@pytest.mark.parametrize("device", [ANN, ZOE], ids=["it calls", "the bot calls"])
@given(prefix=prefixes, delays=st.lists(delay, max_size=12), bot_first_s=st.sampled_from([-2.0, 0.0, 2.0]))
def test_they_connect(device: Device, prefix: str, delays: list[float | None], bot_first_s: float) -> None:
    """Whoever calls, and in whatever order messages come, both ends have the same connection within seconds."""
    world = World(device, prefix, delays)
    meet(world, device, bot_first_s=bot_first_s)
    world.run(30)
    assert world.is_connected


@settings(max_examples=60)
@pytest.mark.parametrize("device", [ANN, ZOE], ids=["it calls", "the bot calls"])
@given(prefix=prefixes, delays=st.lists(delay | st.none(), max_size=12), bot_first_s=st.sampled_from([-2.0, 0.0, 2.0]))
def test_they_connect_though_messages_are_lost(
    device: Device, prefix: str, delays: list[float | None], bot_first_s: float
) -> None:
    """A few messages that are lost cost time alone."""
    lost = 0
    for n, drawn in enumerate(delays):
        lost += drawn is None
        if lost > 3:
            delays[n] = 0.1
    world = World(device, prefix, delays)
    meet(world, device, bot_first_s=bot_first_s)
    world.run(LONG_S)
    assert world.is_connected


@settings(max_examples=40)
@given(prefix=prefixes, delays=st.lists(delay, max_size=12), calls_s=st.floats(0, 3))
def test_offers_that_cross(prefix: str, delays: list[float | None], calls_s: float) -> None:
    """A device that calls although it is the bot's turn is connected too: both ends keep the same of two offers."""
    world = World(ZOE, prefix, delays)
    meet(world, ZOE)
    world.later(calls_s, lambda: world.js.place() if world.js.call is None else None)
    world.run(90)
    assert world.is_connected
