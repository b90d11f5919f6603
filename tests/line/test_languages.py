"""A room whose moderator chose German."""

from aiohttp import ClientSession

from bot.settings import validate
from bot.web.server import WebServer
from storage import rooms
from tests.line.replay import BOT, Capture, Replay


async def test_a_room_speaks_its_language(replay: Replay, room: Capture) -> None:
    """After `language de` the answers, the announcement of an episode, its page and its feed are German, and the
    episode's default title is what it was."""
    assert "Von jetzt an spreche ich hier" in await replay.ask(room.room, "!aircheck language de")
    assert "Der Podcast ist privat" in await replay.ask(room.room, "!aircheck status")
    await replay.tell(room.room, room.broadcast)
    (announced,) = [said for said in replay.said if "ist fertig" in said]
    assert ", 20 November 2026, " in announced
    assert "vollständig" in announced
    assert "ist jetzt öffentlich" in await replay.ask(room.room, "!aircheck publish public")
    assert "ist jetzt öffentlich" in await replay.ask(room.room, "!aircheck publish last")
    async with replay.store.read() as db:
        known = await rooms.room(db, room.room)
    assert known is not None
    assert known.language == "de"
    matrix = {"homeserver": "https://hs", "user_id": BOT}
    server = WebServer(replay.store, validate({"matrix": matrix, "web": {"port": 0}}), lambda: True)
    await server.start()
    async with ClientSession(f"http://127.0.0.1:{server.port}") as client:
        code = (await replay.recording(room.started)).code
        async with client.get(f"/r/{known.key}/{code}") as answer:
            page = await answer.text()
        async with client.get(f"/r/{known.key}/feed.xml") as answer:
            feed = await answer.text()
        async with client.get("/") as answer:
            welcome = await answer.text()
    await server.stop()
    assert '<html lang="de"' in page
    assert "Vollständig: Die Folge hat allen Ton" in page
    assert "Vollständig." in feed
    assert ", 20. November 2026, " in feed
    assert '<html lang="en"' in welcome
