"""Requests for the floor of a walkie-talkie, and permits."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.dialects import read
from bot.dialects.events import FloorRequested, PermitWritten
from bot.recording.model import Rejected
from storage.records import DeviceId, UserId
from tests.dialects.test_others import heard

ANN = UserId("@a:hs")
NOT_AT_ALL = PermitWritten(ANN, receive=False, send=False, expires_at=None, devices=None)
BOTH = {"receive": True, "send": True}


def asked(content: Any, **more: Any) -> Any:
    return read(heard({"type": "org.aircheck.walkie.request", "content": content, "origin_server_ts": 1000, **more}))


def permit(content: Any, *, key: Any = ANN, **how: Any) -> Any:
    return read(heard({"type": "org.aircheck.walkie.permit", "state_key": key, "content": content}, **how))


@pytest.mark.parametrize(
    ("content", "device"),
    [({}, None), ({"device_id": "DEV", "want_s": 9}, "DEV"), ({"device_id": 7}, None), ([], None)],
)
def test_request(content: Any, device: str | None) -> None:
    """A request names its device, or none; the rest of it does not matter."""
    assert asked(content) == FloorRequested(ANN, device, datetime.fromtimestamp(1, UTC))  # type: ignore[arg-type]


def test_requests_that_are_none() -> None:
    """State, and a request that was redacted, ask for nothing; one out of an encrypted payload is rejected."""
    assert asked({}, state_key="") is None
    assert asked({}, unsigned={"redacted_because": {}}) is None
    sealed = heard({"type": "org.aircheck.walkie.request", "content": {}}, encrypted=True)
    assert read(sealed) == Rejected("encrypted_request", "walkie")


def test_permit() -> None:
    """A permit holds what its member is willing to do, until when, and on which devices."""
    told = permit({**BOTH, "expires_ts": 1000, "devices": ["ONE", 2, "TWO"]})
    devices = (DeviceId("ONE"), DeviceId("TWO"))
    assert told == PermitWritten(ANN, True, True, datetime.fromtimestamp(1, UTC), devices)
    assert permit({**BOTH, "expires_ts": None}) == PermitWritten(ANN, True, True, None, None)
    assert permit({"receive": True}) == PermitWritten(ANN, True, False, None, None)


@pytest.mark.parametrize(
    "content",
    [{}, [], {"receive": 1, "send": "yes"}, {**BOTH, "expires_ts": "tomorrow"}, {**BOTH, "expires_ts": 1e300}],
)
def test_a_permit_that_makes_no_sense_permits_nothing(content: Any) -> None:
    """Junk, and a permit that was redacted, end the permit that they replace."""
    assert permit(content) == NOT_AT_ALL


def test_a_permit_for_devices_that_make_no_sense_is_for_none() -> None:
    """Where `devices` is no list, no device has the permit."""
    assert permit({**BOTH, "devices": "ONE"}) == PermitWritten(ANN, True, True, None, ())


@pytest.mark.parametrize("key", ["@b:hs", "", "a"])
def test_a_permit_under_another_key_counts_for_nothing(key: str) -> None:
    """A member writes the permit under their own id alone."""
    assert permit(BOTH, key=key) == Rejected("state_key", "walkie")


def test_a_permit_under_the_key_of_a_bot_says_nothing() -> None:
    """Anybody could write a permit as a bot does; the bot knows those that it wrote."""
    assert permit(BOTH, key="_@a:hs") is None


def test_a_permit_out_of_an_encrypted_payload_is_a_forgery() -> None:
    """Encrypted state, and an event without a state key, is no permit."""
    assert permit(BOTH, encrypted=True) is None
    assert permit(BOTH, key=None) is None
