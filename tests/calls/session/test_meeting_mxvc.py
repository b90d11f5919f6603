"""The session machine and a model of MXVC's page find together, whoever joins first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.session.mxvc_page import Channel

lag = st.sampled_from([0.02, 0.1, 0.6, 1.2])


@given(to_bot_s=lag, to_page_s=lag, opens_s=st.floats(0, 20), joins_s=st.floats(0, 20))
def test_they_connect(to_bot_s: float, to_page_s: float, opens_s: float, joins_s: float) -> None:
    """Whenever a page is opened and joins, before the bot, after it or at the same time, they are connected soon: the
    page need know nothing of the bot when it joins."""
    channel = Channel(to_bot_s, to_page_s)
    channel.later(10, channel.bot.enter)
    channel.later(opens_s, channel.page.open)
    channel.later(opens_s + joins_s, channel.page.join)
    channel.run(opens_s + joins_s + 45)
    assert channel.bot.is_connected()


@pytest.mark.parametrize("apart_s", [-0.3, -0.05, 0.0, 0.05, 0.3])
@pytest.mark.parametrize("to_page_s", [0.05, 0.5])
def test_offers_that_cross(apart_s: float, to_page_s: float) -> None:
    """Both join within a moment, so that both offer: they are connected, and offer anew if they have to."""
    channel = Channel(0.1, to_page_s)
    channel.page.open()
    channel.later(1, channel.bot.enter)
    channel.page.knows_bot = channel.bot.page_is_in = True
    channel.later(2.5 + apart_s, channel.page.join)
    channel.run(30)
    assert channel.bot.is_connected()
