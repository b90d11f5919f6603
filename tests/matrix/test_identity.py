"""Cross-signing, seen by others."""

from pathlib import Path
from typing import Any

import pytest

from bot.demo.people import Person
from bot.errors import ConfigError, StartError
from bot.matrix.identity import NEW_SEEDS_FILE, SEEDS_FILE, IdentityState, Seeds, public_key, verify
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from tests.lab import PASSWORD, People
from tests.matrix.conftest import Bots
from tests.matrix.running import MemorySink, Running, make_settings

QUERY = "/_matrix/client/v3/keys/query"


async def chain_holds(person: Person, bot: Running) -> bool:
    """Verify the bot's chain of master, self-signing and device key as this person sees it."""
    user, device = bot.session.user_id, bot.session.creds.device_id
    every_device: list[str] = []
    answer: dict[str, Any] = await person.api.call("POST", QUERY, {"device_keys": {user: every_device}})
    master, self_signing = answer["master_keys"][user], answer["self_signing_keys"][user]
    keys = answer["device_keys"][user][device]
    (master_key,), (signing_key,) = master["keys"].values(), self_signing["keys"].values()
    signed_by_device = f"ed25519:{device}" in master["signatures"][user]
    return signed_by_device and verify(self_signing, user, master_key) and verify(keys, user, signing_key)


async def sign_elsewhere(bots: Bots, person: People, tmp_path: Path) -> str:
    """An account whose cross-signing keys were made by another client."""
    user_id = await bots.account()
    settings = make_settings(person.homeserver.address, user_id)
    other = Session(settings, tmp_path / "elsewhere", MemorySink(), Keys(_never), _never)
    await other.connect()
    await other.close()
    return user_id


def _never() -> Any:
    raise AssertionError("nothing is heard here")


async def test_signed_after_the_start(bots: Bots, person: People) -> None:
    """After the first start another user can verify the chain from the master key to the bot's device."""
    bot, alice = await bots(), await person("alice")
    assert bot.session.identity.state is IdentityState.OK
    assert await chain_holds(alice, bot)
    seeds = bot.directory / "matrix" / SEEDS_FILE
    assert seeds.stat().st_mode & 0o777 == 0o600
    before = seeds.read_bytes()
    await bot.stop()
    again = await bots(again=bot)
    assert again.session.identity.state is IdentityState.OK
    assert seeds.read_bytes() == before


async def test_a_foreign_identity_is_warned_of(
    bots: Bots, person: People, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys made in another client are left alone: the bot runs unsigned and says so."""
    user_id = await sign_elsewhere(bots, person, tmp_path)
    bot = await bots(user_id=user_id)
    assert bot.session.identity.state is IdentityState.UNSIGNED_FOREIGN
    assert [one for one in caplog.messages if "made in another client" in one]
    assert not (bot.directory / "matrix" / SEEDS_FILE).exists()


async def test_a_reset_replaces_foreign_keys(bots: Bots, person: People, tmp_path: Path) -> None:
    """With the password the account's keys are replaced by the bot's; a wrong one changes nothing."""
    user_id, alice = await sign_elsewhere(bots, person, tmp_path), await person("alice")
    bot = await bots(user_id=user_id)
    with pytest.raises(ConfigError):
        await bot.session.identity.reset("wrong")
    assert not (bot.directory / "matrix" / SEEDS_FILE).exists()
    await bot.session.identity.reset(PASSWORD)
    assert bot.session.identity.state is IdentityState.OK
    assert await chain_holds(alice, bot)


async def test_signed_by_another_client(bots: Bots, person: People, tmp_path: Path) -> None:
    """A device that the account's other client has signed counts as signed."""
    user_id = await sign_elsewhere(bots, person, tmp_path)
    bot = await bots(user_id=user_id)
    seeds = Seeds.read(tmp_path / "elsewhere" / "matrix" / SEEDS_FILE)
    assert seeds is not None
    await bot.session.identity._sign_device(seeds)
    assert await bot.session.identity.ensure(None) is IdentityState.OK


async def test_seeds_outlive_a_break_off(bots: Bots, person: People) -> None:
    """Keys whose upload was interrupted are uploaded at the next start."""
    bot, alice = await bots(), await person("alice")
    await bot.stop()
    seeds = Seeds.read(bot.directory / "matrix" / SEEDS_FILE)
    fresh = await bots.account()
    assert seeds is not None
    directory = bot.directory.parent / fresh.partition(":")[0].lstrip("@")
    (directory / "matrix").mkdir(parents=True)
    seeds.write(directory / "matrix" / SEEDS_FILE)
    other = await bots(user_id=fresh)
    assert other.session.identity.state is IdentityState.OK
    assert await chain_holds(alice, other)


async def test_a_reset_that_broke_off(bots: Bots, person: People) -> None:
    """When the answer to a reset is lost, the keys that the homeserver has stay in use."""
    bot = await bots()
    file, new_file = (bot.directory / "matrix" / name for name in (SEEDS_FILE, NEW_SEEDS_FILE))
    fresh = Seeds.generate()
    fresh.write(new_file)
    await bot.session.identity._publish(fresh, PASSWORD)
    assert await bot.session.identity.ensure(None) is IdentityState.OK
    kept = Seeds.read(file)
    assert kept is not None
    assert public_key(kept.master) == public_key(fresh.master)
    assert not new_file.exists()


def test_seeds_that_cant_be_read(tmp_path: Path) -> None:
    """A broken file of seeds is an error; it is not replaced."""
    file = tmp_path / SEEDS_FILE
    file.write_text("{}")
    with pytest.raises(StartError):
        Seeds.read(file)
    assert file.read_text() == "{}"
