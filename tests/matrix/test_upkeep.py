"""One-time keys and other devices, on a homeserver that passes on made-up keys."""

import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.errors import TryLater
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.matrix.wire import path
from storage.records import UserId
from tests.clock import Clock
from tests.matrix.running import MemorySink, make_settings
from tests.matrix.stub import Stub

QUERY, CLAIM, UPLOAD = (path("keys", name) for name in ("query", "claim", "upload"))
ALICE, MALLORY = "@alice:hs", "@mallory:hs"


async def offline(address: str, user_id: str, directory: Path) -> Session:
    """Open a session with keys and a token that was never synced."""
    session = Session(make_settings(address, user_id), directory, MemorySink(), Keys(Clock()), Clock())
    await session._open()
    session.wire.token = "secret"
    return session


@pytest.fixture
async def bot(stub: Stub, tmp_path: Path) -> AsyncIterator[Session]:
    made = await offline(stub.address, "@bot:hs", tmp_path / "bot")
    yield made
    await made.close()


@pytest.fixture
async def alice(stub: Stub, tmp_path: Path) -> AsyncIterator[Session]:
    made = await offline(stub.address, ALICE, tmp_path / "alice")
    yield made
    await made.close()


def answers(stub: Stub, where: str, answer: Any) -> list[dict[str, Any]]:
    """Let the stub give this answer; give the list of the bodies that it was sent."""
    sent: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return web.json_response(answer)

    stub.answers[where] = handle
    return sent


def spoiled(device: dict[str, Any], user: str) -> dict[str, Any]:
    """Make devices of this user, each malformed in another way."""
    good = json.loads(json.dumps(device).replace(ALICE, user))
    name = good["device_id"]
    broken: dict[str, Any] = {f"B{number}": copy.deepcopy(good) for number in range(6)}
    for key, entry in broken.items():
        entry["device_id"] = key
        entry["keys"] = {f"{kind}:{key}": good["keys"][f"{kind}:{name}"] for kind in ("curve25519", "ed25519")}
        entry["signatures"] = {user: {f"ed25519:{key}": good["signatures"][user][f"ed25519:{name}"]}}
    broken["B0"]["keys"]["ed25519:B0"] = "not a key"
    broken["B1"]["signatures"][user]["ed25519:B1"] = "not a signature"
    broken["B2"]["keys"] = []
    broken["B3"]["unsigned"] = "words"
    broken["B4"] = None
    return broken  # B5 is well-formed, and its signature is somebody else's


async def test_a_malformed_device_spoils_nobody_elses(stub: Stub, bot: Session, alice: Session) -> None:
    """Malformed devices of one user are refused; the devices of others are stored."""
    device = alice.keys.olm.share_keys()["device_keys"]
    devices = {MALLORY: spoiled(device, MALLORY), ALICE: {device["device_id"]: device}, "@odd:hs": []}
    answers(stub, QUERY, {"device_keys": devices})
    await bot.upkeep.query([MALLORY, ALICE, "@odd:hs"])
    store = bot.keys.olm.device_store
    assert [one.id for one in store.active_user_devices(ALICE)] == [device["device_id"]]
    assert list(store.active_user_devices(MALLORY)) == []


async def test_who_is_silent_is_left_alone(stub: Stub, bot: Session) -> None:
    """A user without an answer is not queried again at once, unless a sync says that their devices changed."""
    sent = answers(stub, QUERY, {"device_keys": {}, "failures": {"hs": {}}})
    await bot.upkeep.query([ALICE])
    await bot.upkeep.query([ALICE])
    assert len(sent) == 1
    bot.upkeep.note({"device_lists": {"changed": [ALICE, 7]}})
    await bot.upkeep.query([ALICE])
    assert len(sent) == 2


async def test_a_device_that_comes_back(stub: Stub, bot: Session, alice: Session) -> None:
    """A deleted device that comes back with its old keys gets room keys again."""
    device = alice.keys.olm.share_keys()["device_keys"]
    for devices in ({device["device_id"]: device}, {}, {device["device_id"]: device}):
        answers(stub, QUERY, {"device_keys": {ALICE: devices}})
        await bot.upkeep.query([ALICE])
        assert len(list(bot.keys.olm.device_store.active_user_devices(ALICE))) == len(devices)


@pytest.mark.parametrize("key", [{}, 7, {"signed_curve25519:A": {"key": "x"}}, {"signed_curve25519:A": "x"}, "words"])
async def test_a_malformed_one_time_key(stub: Stub, bot: Session, alice: Session, key: Any) -> None:
    """A malformed one-time key makes no session, raises no error and is not claimed again at once."""
    device = alice.keys.olm.share_keys()["device_keys"]
    answers(stub, QUERY, {"device_keys": {ALICE: {device["device_id"]: device}}})
    await bot.upkeep.query([ALICE])
    answers(stub, CLAIM, {"one_time_keys": {ALICE: {device["device_id"]: key}}})
    await bot.upkeep.claim({ALICE: [device["device_id"]]})
    assert bot.keys.olm.get_missing_sessions([UserId(ALICE)]) == {ALICE: [device["device_id"]]}


async def test_a_lost_answer_to_an_upload(stub: Stub, bot: Session, tmp_path: Path) -> None:
    """Keys whose upload got no answer are uploaded again, also after a restart."""
    sent: list[dict[str, Any]] = []

    async def lose(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return web.Response(status=502)

    stub.answers[UPLOAD] = lose
    with pytest.raises(TryLater):
        await bot.upkeep.upload_keys()
    await bot.close()
    again = await offline(stub.address, "@bot:hs", tmp_path / "bot")
    later = answers(stub, UPLOAD, {"one_time_key_counts": {"signed_curve25519": 50}})
    await again.upkeep.upload_keys()
    await again.close()
    assert len(sent[0]["one_time_keys"]) == 50
    assert sent[0]["one_time_keys"].items() <= later[0]["one_time_keys"].items()
    assert sent[0]["fallback_keys"] == later[0]["fallback_keys"]
    assert sent[0]["device_keys"] == later[0]["device_keys"]


async def test_counts_of_a_sync(stub: Stub, bot: Session) -> None:
    """Claimed one-time keys are refilled and a used fallback key is replaced, once."""
    sent = answers(stub, UPLOAD, {"one_time_key_counts": {"signed_curve25519": 50}})
    await bot.upkeep.upload_keys()
    bot.upkeep.note({"device_one_time_keys_count": {"signed_curve25519": 50}, "device_unused_fallback_key_types": []})
    await bot.upkeep.after_sync()
    await bot.upkeep.after_sync()
    assert [sorted(body) for body in sent[1:]] == [["fallback_keys"]]
    bot.upkeep.note({"device_one_time_keys_count": {}})
    await bot.upkeep.after_sync()
    assert len(sent[2]["one_time_keys"]) == 50
