"""When a command is carried out, and how often."""

import json
import logging

import pytest

from bot import orders
from bot.commands.registry import VERBS
from bot.commands.replies import general
from bot.commands.replies.manual import Group, Who
from storage import jobs, rooms
from storage.errors import StoreError
from storage.records import RecordingState, RoomId
from tests.commands.world import BASE, BOT, MEMBER, MOD, ROOM, SPEAKER, World

CHANGING = [
    *("record off", "publish public", "feed", "feed renew", "publish last", "unpublish last", "publish private"),
    *("studio", "studio source", "studio off", "studio events on"),
]
READING = ["help", "status", "list"]
ASKING = ["announce", "language", "podcast", "record", "replay", "retention", "review", "speakers"]


@pytest.mark.parametrize("command", CHANGING + READING)
async def test_old_commands_are_not_carried_out(world: World, command: str) -> None:
    """A command is refused that is over ten minutes old, was met in history, or has no credible time."""
    await world.recording(broadcaster=MOD)
    before = await world.room()
    said = world.clock()
    world.clock.pass_by(601)
    assert await world.say(MOD, f"!aircheck {command}", sent_at=said) == "I was away, please repeat."
    assert await world.say(MOD, f"!aircheck {command}", history=True) == "I was away, please repeat."
    assert await world.say(MOD, f"!aircheck {command}", sent_at=None) == "I was away, please repeat."
    assert await world.room() == before
    assert await world.take(orders.Direct.kind) == ()


async def test_ten_minutes_is_young_enough(world: World) -> None:
    """A command that is exactly ten minutes old, or from the future, is carried out."""
    said = world.clock()
    world.clock.pass_by(600)
    assert await world.say(MOD, "!aircheck record off", sent_at=said) != general.AWAY
    world.clock.pass_by(-900)
    assert await world.say(MOD, "!aircheck record on", sent_at=said) != general.AWAY
    assert (await world.room()).recording_on


@pytest.mark.parametrize("command", CHANGING)
async def test_unencrypted_words_change_nothing_in_an_encrypted_room(bare: World, command: str) -> None:
    """In an encrypted room an unencrypted command, which anybody can forge, changes nothing and gives no address."""
    await bare.open(encrypted=True)
    await bare.recording(broadcaster=MOD)
    before = await bare.room()
    assert await bare.say(MOD, f"!aircheck {command}") == general.NOT_ENCRYPTED
    assert await bare.room() == before
    assert await bare.take(orders.Direct.kind) == ()
    assert await bare.say(MOD, f"!aircheck {command}", encrypted=True) != general.NOT_ENCRYPTED


@pytest.mark.parametrize("command", READING + ASKING)
async def test_unencrypted_words_may_ask(bare: World, command: str) -> None:
    """A command that only reads is answered unencrypted too."""
    await bare.open(encrypted=True)
    assert await bare.say(MEMBER, f"!aircheck {command}") not in (None, general.NOT_ENCRYPTED)


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("\\!aircheck record off", []),
        (" !Aircheck: record off", []),
        (f"{BOT}: record off", []),
        ("@bot, record off", []),
        ("Air Check: record off", [BOT]),
    ],
)
async def test_a_command_is_addressed_in_any_way_that_clients_know(
    world: World, body: str, mentions: list[str]
) -> None:
    """The prefix, the bot's id and its mentioned name address a command."""
    await world.member(BOT, name="Air Check")
    assert "Recording is off" in (await world.say(MOD, body, mentions=tuple(mentions)) or "")
    assert not (await world.room()).recording_on


async def test_a_command_that_comes_twice_is_one_change_and_one_answer(world: World) -> None:
    """A command whose job runs again after a crash is neither carried out nor answered again."""
    renew = world.command(MEMBER, "!aircheck feed renew")
    on = world.command(MOD, "!aircheck record on")
    await world.handle(renew)
    await world.handle(on)
    assert len(await world.take(orders.Notice.kind)) == 2
    assert len(await world.take(orders.Direct.kind)) == 1
    assert await world.say(MOD, "!aircheck record off") is not None
    await world.handle(renew)
    await world.handle(on)
    assert await world.take(orders.Notice.kind) == ()
    assert await world.take(orders.Direct.kind) == ()
    assert not (await world.room()).recording_on
    async with world.store.read() as db:
        listener = await rooms.listener(db, ROOM, MEMBER)
    assert listener is not None
    assert listener.generation == 1


async def test_a_command_that_fails_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the answer can't be written the change is undone, and the job may run again."""

    async def broken(*_: object) -> bool:
        raise StoreError("the disk is full")

    monkeypatch.setattr(jobs, "add", broken)
    with pytest.raises(StoreError):
        await world.handle(world.command(MOD, "!aircheck record off"))
    assert (await world.room()).recording_on


async def test_answers_stay_in_their_thread(world: World) -> None:
    """The answer to a command in a thread carries the thread's root."""
    await world.handle(world.command(MEMBER, "!aircheck help", thread="$root"))
    (notice,) = await world.take(orders.Notice.kind)
    assert notice.payload["thread"] == "$root"


@pytest.mark.parametrize("words", ["dance", "@room", "sttaus", "рecord on"])
async def test_what_is_no_command_does_not_exist(world: World, words: str) -> None:
    """A word that is no command, or a misspelt one, is answered as unknown, in `help` too, and missing in `help`."""
    before = await world.room()
    answer = await world.say(MOD, f"!aircheck {words}") or ""
    assert answer.startswith("There is no such command")
    assert answer.endswith("`!aircheck help` lists all commands.")
    assert await world.say(MOD, f"!aircheck help {words}") == answer
    assert f"`!aircheck {words}" not in (await world.say(MOD, "!aircheck help") or "")
    assert await world.room() == before


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("record maybe", "`!aircheck record on|off`"),
        ("record on please", "`!aircheck record on|off`"),
        ("list 0", "`!aircheck list [n]`"),
        ("list 51", "`!aircheck list [n]`"),
        ("list many", "`!aircheck list [n]`"),
        ("status now", "`!aircheck status`"),
        ("feed me", "`!aircheck feed renew`"),
        ("publish", "`!aircheck publish public|private`"),
        ("publish everything", "`!aircheck publish RECORDING`"),
        ("publish public now", "`!aircheck publish RECORDING`"),
        ("unpublish", "`!aircheck unpublish RECORDING`"),
        ("unpublish kfmtra kfmtrb", "`!aircheck unpublish RECORDING`"),
    ],
)
async def test_wrong_words_are_answered_with_the_right_ones(world: World, words: str, hint: str) -> None:
    """Words that don't fit are answered with the right form in one line, and change nothing."""
    before = await world.room()
    answer = await world.say(MOD, f"!aircheck {words}")
    assert answer is not None
    assert hint in answer
    assert "\n" not in answer
    assert await world.room() == before


async def test_help_names_every_command_with_the_prefix_that_is_set(world: World) -> None:
    """`help` has one line for each form, by group, and tells who may use it unless everybody may."""
    lines = (await world.say(MEMBER, "!aircheck") or "").split("\n")
    for verb in VERBS.values():
        for form in verb.forms:
            who = "" if form.who is Who.EVERYBODY else f" ({form.who})"
            assert lines.count(f"`!aircheck {form.usage}`{who}: {form.about}") == 1
    assert [line for line in lines if line in set(Group)] == list(Group)
    assert (
        "`!aircheck record messages on|off` (moderators): starts or stops recording this room's voice messages" in lines
    )
    assert len("\n".join(lines)) < 12_000  # an event holds 65,536 bytes, with a formatted body


async def test_help_explains_a_command_with_an_example(world: World) -> None:
    """`help COMMAND` tells who may use each of its forms, with an example."""
    assert await world.say(MEMBER, "!aircheck help TITLE") == (
        "`!aircheck title RECORDING TEXT` (whoever began it, moderators, administrators): sets the title of a "
        "recording (its code, or `last`). For example: `!aircheck title last Soup for beginners`"
    )


async def test_a_room_that_the_bot_left_gets_no_answer(bare: World) -> None:
    """A room that the bot left, or never knew, gets no answer."""
    await bare.open(joined=False)
    assert await bare.say(MOD, "!aircheck help") is None
    assert await bare.say(MOD, "!aircheck help", room_id=RoomId("!other:hs")) is None


async def test_the_log_holds_no_words_and_no_secrets(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The log names verb, room and event of a command, and no words and no address."""
    caplog.set_level(logging.DEBUG, logger="bot")
    await world.recording(state=RecordingState.LIVE)
    bodies = [
        await world.say(user, f"!aircheck {words}")
        for user in (SPEAKER, MOD)
        for words in ("feed", "feed renew", "sesame opens", "record sesame", "status", "publish last", "list")
    ]
    written = caplog.text + json.dumps(bodies) + repr(await world.take(orders.Direct.kind))
    assert "command=feed" in caplog.text
    assert f"{BASE}/p/" not in written
    assert "sesame" not in written
