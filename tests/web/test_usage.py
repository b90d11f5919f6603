"""The uses of personal addresses: when and by which app, for the listener's own eyes."""

from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.check.fetching import AGENT
from bot.web.usage import NOTED_EACH, Usage, app_of
from storage import listener_uses
from storage.errors import DiskFullError
from storage.place import Place
from storage.records import Listener, ListenerUse, RoomId, UserId
from storage.store import Store
from tests.clock import Clock
from tests.web.world import ALICE, BOB, world_of

LISTENER = Listener(RoomId("!r:hs"), UserId("@a:hs"), 1, "hash")


@pytest.mark.parametrize(
    ("user_agent", "app"),
    [
        ("AntennaPod/3.4.0", "AntennaPod"),
        ("Pocket Casts", "Pocket Casts"),
        ("Overcast/3.0 (+http://overcast.fm/; iOS podcast app)", "Overcast"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "browser"),
        ("", ""),
        ("<b>@alice:hs</b>", ""),
        ("a" * 5000, "a" * 40),
        ("App\r\nX-Other: 1", "App"),
    ],
)
def test_an_app_is_known_by_the_name_that_it_gives_itself(user_agent: str, app: str) -> None:
    """The first product of the User-Agent is the app; browsers are one, and hostile text is no name."""
    assert app_of(user_agent) == app


async def test_uses_are_written_together_and_seldom(tmp_path: Path) -> None:
    """An address that is used all the time is one row, written anew after an hour; a commit without news is none."""
    store, clock = await Store.own(Place(tmp_path)), Clock()
    usage, commits = Usage(store, clock), store.changes
    for _ in range(50):
        usage.note(LISTENER, "AntennaPod/3")
    await usage.write()
    first = commits.number
    usage.note(LISTENER, "AntennaPod/3")
    await usage.write()
    assert commits.number == first
    clock.pass_by(NOTED_EACH.total_seconds())
    usage.note(LISTENER, "AntennaPod/3")
    await usage.write()
    assert commits.number == first + 1
    await store.close()


async def test_a_use_that_could_not_be_written_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk loses no use and stops no request."""
    store = await Store.own(Place(tmp_path))
    usage = Usage(store, Clock())
    usage.note(LISTENER, "")

    async def full(*_: object) -> None:
        raise DiskFullError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(listener_uses, "save", full)
        with pytest.raises(DiskFullError):
            await usage.write()
    await usage.write()
    async with store.read() as db:
        assert await listener_uses.used(db, LISTENER.room_id, LISTENER.user_id) is not None
    await store.close()


async def test_a_request_with_a_personal_address_is_a_use(tmp_path: Path) -> None:
    """The row of a use names address, time and app; a closed address is not used."""
    async with world_of(tmp_path / "data") as (world, client):
        room = await world.room()
        await world.member(room, ALICE)
        token = await world.listener(room, ALICE)
        stranger = await world.listener(room, BOB)
        world.clock.pass_by(60)
        for each, status in ((token, 200), (stranger, 410)):
            assert await _status(client, f"/p/{each}/feed.xml") == status
        async with client.get(f"/p/{token}/feed.xml", headers={"User-Agent": AGENT}) as answer:
            assert answer.status == 200  # the bot checks its own feed, which is nobody's use
        await world.server.stop()  # writes what waits
        async with world.store.read() as db:
            used = await listener_uses.of_room(db, room.room_id)
    assert used == {ALICE: ListenerUse(room.room_id, ALICE, world.clock(), "TestPod"), BOB: None}
    assert world.clock() - used[ALICE].used_at == timedelta(0)  # type: ignore[union-attr]


async def _status(client: ClientSession, path: str) -> int:
    async with client.get(path, headers={"User-Agent": "TestPod/1.0 (somewhere)"}) as answer:
        return answer.status
