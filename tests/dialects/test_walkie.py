"""Requests for the floor of a walkie-talkie."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.dialects import read
from bot.dialects.events import FloorRequested
from bot.recording.model import Rejected
from storage.records import UserId
from tests.dialects.test_others import heard

ANN = UserId("@a:hs")


def asked(content: Any, **more: Any) -> Any:
    return read(heard({"type": "org.aircheck.walkie.request", "content": content, "origin_server_ts": 1000, **more}))


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
