"""Permits: only who is willing to receive may send, in time, from the devices that they name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.walkie import permits
from storage.records import Permit, PermitSource, Position, RoomId, UserId

ROOM, ANN = RoomId("!r:hs"), UserId("@ann:hs")
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def read(content: Any) -> Permit:
    return permits.read(ROOM, ANN, content, Position(7))


@pytest.mark.parametrize(
    ("content", "may"),
    [
        ({"receive": True, "send": True, "expires_ts": None}, True),
        ({"receive": True, "send": True}, True),
        ({"receive": True, "send": True, "expires_ts": NOW_MS + 1}, True),
        ({"receive": True, "send": True, "expires_ts": NOW_MS}, False),
        ({"receive": False, "send": True}, False),
        ({"receive": True}, False),
        ({"receive": 1, "send": "true"}, False),
        ({"receive": True, "send": True, "expires_ts": "soon"}, False),
        ({"receive": True, "send": True, "expires_ts": True}, False),
        ({"receive": True, "send": True, "expires_ts": 10**30}, False),
        ({"receive": True, "send": True, "devices": "ALL"}, False),
        ({"receive": True, "send": True, "devices": [1]}, False),
        ({"receive": True, "send": True, "devices": ["A"] * 101}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
def test_a_permit_is_what_can_be_read(content: Any, may: bool) -> None:
    """Both rights, and a time that is not over, let a member speak; junk permits nothing."""
    assert permits.may_send(read(content), NOW) is may


def test_a_permit_is_for_the_devices_that_it_names() -> None:
    """A device that is known has to be named, if any is; one that is not known is the member's."""
    permit = read({"receive": True, "send": True, "devices": ["PHONE"]})
    assert permits.may_send(permit, NOW, "PHONE")
    assert permits.may_send(permit, NOW)
    assert not permits.may_send(permit, NOW, "DESK")
    assert permits.may_send(replace(permit, devices=None), NOW, "DESK")


def test_the_newer_permit_counts() -> None:
    """A member's own event and the bot's stand side by side; the later one in the timeline counts, also as junk."""
    own, bots = read("junk"), Permit(ROOM, ANN, PermitSource.BOT, Position(8), receive=True, send=True)
    assert permits.counting([own, bots]) == bots
    assert permits.counting([replace(own, position=Position(9)), bots]) == replace(own, position=Position(9))
    assert permits.counting([]) is None
    assert not permits.may_send(None, NOW)


def test_a_written_permit_is_read_back() -> None:
    """The content of the bot's event says what its row says."""
    permit = Permit(
        ROOM, ANN, PermitSource.MEMBER, Position(7), True, True, expires_at=NOW + timedelta(hours=8), devices=("A",)
    )
    assert read(permits.content(permit)) == permit
    assert permits.content(replace(permit, expires_at=None, devices=None)) == {
        "receive": True,
        "send": True,
        "expires_ts": None,
    }
