"""Commands as real clients write them, and what looks like one, in an encrypted room on a real homeserver."""

from functools import partial
from typing import Any

from bot.demo.people import Person
from bot.demo.received import Received
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, move_in

NAME = "Air Check"


def pill(bot: World, plain: str) -> dict[str, Any]:
    """Make a message whose mention of the bot is `plain` in the plain body."""
    link = f'<a href="https://matrix.to/#/{bot.user_id}">{NAME}</a>: status'
    return {"body": plain, "format": "org.matrix.custom.html", "formatted_body": link} | mention(bot)


def mention(bot: World) -> dict[str, Any]:
    return {"m.mentions": {"user_ids": [bot.user_id]}}


def commands(bot: World) -> dict[str, dict[str, Any]]:
    return {
        "Element Web": pill(bot, f"{NAME}: status"),
        "Element X": pill(bot, f"[{NAME}](https://matrix.to/#/{bot.user_id}) status"),
        "Element X's editor": {"body": "\\!aircheck status", "m.mentions": {}},
        "a telephone": {"body": "!Aircheck status "},
        "FluffyChat": pill(bot, f"@[{NAME}] status"),
        "nheko": pill(bot, f"{NAME} status"),
        "Cinny": pill(bot, f"@{NAME} status"),
        "SchildiChat": pill(bot, f"{bot.user_id}: status"),
        "typed": {"body": f"{bot.user_id.partition(':')[0]}, status"},
    }


def others(bot: World, event_id: str) -> dict[str, dict[str, Any]]:
    return {
        "an edit": {
            "body": "* !aircheck status",
            "m.new_content": {"msgtype": "m.text", "body": "!aircheck status"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        },
        "an edit without a mark": {
            "body": "!aircheck status",
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        },
        "a quote": {"body": f"> <{bot.user_id}> !aircheck status\n\nhow nice"},
        "another bot": {"body": "!aircheck status", "msgtype": "m.notice"},
        "talk about it": pill(bot, f"I like {NAME}: status"),
    }


async def test_commands_of_all_clients_are_answered_and_nothing_else(world: Worlds, person: People) -> None:
    """Each command gets its own reply; other messages get none."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        path = f"/_matrix/client/v3/profile/{bot.user_id}/displayname"
        await aircheck.session.wire.call("PUT", path, body={"displayname": NAME})
        room = await move_in(bot, alice, encrypted=True)
        told = {name: await say(alice, room, content) for name, content in commands(bot).items()}
        first = next(iter(told.values()))
        silent = {name: await say(alice, room, content) for name, content in others(bot, first).items()}
        last = await say(alice, room, {"body": "!aircheck help"})
        for event_id in (*told.values(), last):
            await alice.wait_until(partial(lambda event_id: answers(alice, bot, event_id) or None, event_id))
        for name, event_id in told.items():
            (answer,) = answers(alice, bot, event_id)
            assert answer.body.startswith("Recording is on."), name
            assert answer.content["msgtype"] == "m.notice"
        assert [name for name, event_id in silent.items() if answers(alice, bot, event_id)] == []


async def say(person: Person, room: str, content: dict[str, Any]) -> str:
    return await person.send(room, "m.room.message", {"msgtype": "m.text", **content})


def answers(person: Person, bot: World, event_id: str) -> list[Received]:
    """List the bot's replies to an event so far."""
    return [
        event
        for event in person.received
        if event.sender == bot.user_id
        and event.content.get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id") == event_id
    ]
