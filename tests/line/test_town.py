"""Every command on a real homeserver, in a plain and in an encrypted room, by members of different power."""

from dataclasses import dataclass

import pytest

from bot.commands.registry import VERBS
from bot.commands.replies import general
from bot.demo.people import Person
from bot.demo.slicing import speech
from storage.records import RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import recorded, reply_to, welcome, whole_broadcast

SPEECH = speech(1)[:150]  # 3 s
REFUSALS = {general.ONLY_MODS, general.ONLY_ITS_BROADCASTER_OR_MODS, "Das kann nur die Moderation dieses Raums."}


@dataclass(frozen=True, slots=True)
class Step:
    """A command, whether members without power may say it, and words of the answer to a moderator."""

    words: str
    all_may: bool
    answer: str


STEPS = (
    Step("status", True, "I know of no problems."),
    Step("list", True, "complete"),
    Step("feed", True, "in our direct chat"),
    Step("feed renew", True, "a new address in our direct chat"),
    Step("listeners", False, "have a personal address"),
    Step("record", True, "switched on by "),
    Step("record on", False, "Recording is already on"),
    Step("replay", True, "Replay is off:"),
    Step("replay on", False, "Replay is on:"),
    Step("announce", True, "gets a reaction"),
    Step("announce on", False, "by a notice when they begin"),
    Step("speakers", True, "Everybody here is recorded"),
    Step("speakers all", False, "already"),
    Step("retention", True, "Recordings stay here forever."),
    Step("retention 20 episodes", False, "Nothing has to go so far."),
    Step("keep last", False, "is kept:"),
    Step("unkeep last", False, "is no longer kept:"),
    Step("review", True, "Review is off"),
    Step("review on", False, "Review is on:"),
    Step("review off", False, "Review is off:"),
    Step("podcast", True, "• title: the room's name (default)"),
    Step("podcast title Soup & <b>Bread</b>", False, "“Soup & <b>Bread</b>”"),
    Step("podcast reset", False, "is the default again"),
    Step("title last Monday's soup", False, "is now called “Monday's soup”"),
    Step("describe last What was cooked", False, "has a new description"),
    Step("publish public", False, "/feed.xml"),
    Step("unpublish last", False, "is not public."),
    Step("publish private", False, "is private now"),
    Step("backfill yesterday", False, "searching this room's history"),
    Step("language", True, "`de`"),
    Step("language de", False, "Von jetzt an spreche ich"),
    Step("language en", False, "From now on I speak English"),
    Step("settings", True, "`retention`: 20 episodes · "),
    Step("log", False, "`backfill`: 20"),
    Step("optout", True, "I record nothing of you"),
    Step("optin", True, "You have not opted out"),
    Step("forget me", True, "of you here"),
    Step("delete last", False, "Delete this recording?"),
    Step("yes", True, "1 recording of you is deleted."),
    Step("record off", False, "Recording is off:"),
    Step("leave", False, "Leave this room?"),
)


@pytest.mark.parametrize(
    ("version", "encrypted"),
    [pytest.param("10", False, id="10"), pytest.param("12", True, id="12", marks=pytest.mark.long)],
)
async def test_every_command_is_explained_refused_and_done(
    world: Worlds, person: People, version: str, *, encrypted: bool
) -> None:
    """Help explains each command; a member without power is refused what is a moderator's, and a moderator is not.

    The plain room alone hears the help, and the members' commands that everybody may say: each answer takes its time.
    """
    bot = await world()
    host, mod, member = await person("host"), await person("mod"), await person("member")
    curious, keen, eager = await person("curious"), await person("keen"), await person("eager")
    async with bot.running() as aircheck:
        room = await host.create_room("The Kitchen Table", encrypted=encrypted, invite=[bot.user_id], version=version)
        await host.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        for guest in (mod, member, curious, keen, eager):
            await welcome(guest, host, room)
        creator = {} if version == "12" else {host.user_id: 100}
        await host.set_power(room, {**creator, mod.user_id: 50, bot.user_id: 50})
        speaker = await whole_broadcast(host, room, SPEECH)
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        for number, verb in enumerate(() if encrypted else VERBS):
            assert f"`!aircheck {verb}" in await said((keen, eager)[number % 2], room, f"help {verb}")
        # Two take turns: one alone would use up their share of answers. The speaker's turn is "forget me", then "yes".
        for number, step in enumerate(STEPS, start=1):
            if not (encrypted and step.all_may):
                refused = await said((member, curious)[number % 2], room, step.words)
                assert (refused in REFUSALS) is not step.all_may, step.words
            assert step.answer in await said((mod, host)[number % 2], room, step.words), step.words
        for what, who in (("announce", mod), ("publish", host), ("review", host)):
            assert f"`{what}`" in await said(who, room, "settings")
        assert (await host.state(room, "org.aircheck.room"))["retention"] == "20 episodes"


async def said(who: Person, room: str, words: str) -> str:
    return (await reply_to(who, await who.say(room, f"!aircheck {words}"))).body
