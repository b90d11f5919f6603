"""Rights, read from the room's current state."""

from typing import Any

import pytest

from bot.commands.replies import general
from bot.commands.replies import overview as overview_replies
from bot.settings import FeedsSettings
from storage.records import ChunkState, RecordingKind, RecordingState, UserId, Visibility
from tests.commands.world import ADMIN, BANNED, CREATOR, MEMBER, MOD, SPEAKER, STRANGER, World

EVERYBODY = (ADMIN, CREATOR, MOD, SPEAKER, MEMBER)
MODS = (ADMIN, CREATOR, MOD)
REFUSALS = {
    general.ONLY_MODS,
    general.ONLY_ITS_BROADCASTER,
    general.ONLY_ITS_BROADCASTER_OR_MODS,
    general.ONLY_ITS_SPEAKERS_OR_MODS,
    general.ONLY_ADMINS_PUBLISH,
    general.NOBODY_PUBLISHES,
}
MAY = {
    "help": EVERYBODY,
    "help record": EVERYBODY,
    "status": EVERYBODY,
    "list": EVERYBODY,
    "feed": EVERYBODY,
    "in Kitchen radio list": EVERYBODY,
    "feed renew": EVERYBODY,
    "record": EVERYBODY,
    "settings": EVERYBODY,
    "log": MODS,
    "log 20 2": MODS,
    "record on": MODS,
    "record off": MODS,
    "record messages on": MODS,
    "record messages off": MODS,
    "record calls on": MODS,
    "record calls off": MODS,
    "record call": MODS,
    "episode": EVERYBODY,  # whose message it is a job finds out
    "backfill": MODS,
    "backfill messages": MODS,
    "studio": EVERYBODY,  # who may broadcast, tests/commands/test_studio.py tells
    "studio source": EVERYBODY,
    "studio on": MODS,
    "studio off": MODS,
    "studio events on": MODS,
    "studio events off": MODS,
    "replay": EVERYBODY,
    "replay on": MODS,
    "replay off": MODS,
    "walkie": EVERYBODY,
    "walkie on": MODS,
    "walkie off": MODS,
    "walkie end": MODS,
    "walkie join": EVERYBODY,
    "walkie leave": EVERYBODY,
    "walkie create Shift @ann:hs": EVERYBODY,
    "talk": EVERYBODY,
    "over": EVERYBODY,
    "announce": EVERYBODY,
    "announce on": MODS,
    "optout": EVERYBODY,
    "optin": EVERYBODY,
    "speakers": EVERYBODY,
    "speakers @member:hs": MODS,
    "speakers all": MODS,
    "publish public": MODS,
    "publish private": MODS,
    "publish last": (ADMIN, SPEAKER),
    "review": EVERYBODY,
    "review on": MODS,
    "review off": MODS,
    "podcast": EVERYBODY,
    "podcast title Soup": MODS,
    "podcast reset": MODS,
    "approve last": (ADMIN, CREATOR, MOD, SPEAKER),
    "unpublish last": (ADMIN, CREATOR, MOD, SPEAKER),
    "retention": EVERYBODY,
    "retention 30 days": MODS,
    "retention forever": MODS,
    "keep last": (ADMIN, CREATOR, MOD, SPEAKER),
    "unkeep last": (ADMIN, CREATOR, MOD, SPEAKER),
    "title last Soup": (ADMIN, CREATOR, MOD, SPEAKER),
    "delete last": (ADMIN, CREATOR, MOD, SPEAKER),
    "yes": EVERYBODY,
    "forget me": EVERYBODY,
    "leave": MODS,
    "language": EVERYBODY,
    "language en": MODS,
    "describe last All about soup": (ADMIN, CREATOR, MOD, SPEAKER),
}


@pytest.mark.parametrize("command", MAY)
async def test_each_command_is_for_those_who_may(world: World, command: str) -> None:
    """Everybody else gets one plain sentence that names who may, and changes nothing."""
    await world.recording()
    for user in EVERYBODY:
        before = await world.room()
        answer = await world.say(user, f"!aircheck {command}")
        assert answer is not None
        assert (answer not in REFUSALS) == (user in MAY[command]), (user, answer)
        if user not in MAY[command]:
            assert await world.room() == before
            assert "\n" not in answer


@pytest.mark.parametrize("command", MAY)
@pytest.mark.parametrize("user", [BANNED, STRANGER])
async def test_who_is_not_joined_hears_nothing(world: World, command: str, user: UserId) -> None:
    """Whoever is not joined gets no answer and changes nothing, whatever the power levels say."""
    await world.recording()
    before = await world.room()
    assert await world.say(user, f"!aircheck {command}") is None
    assert await world.say(user, f"!aircheck {command}", history=True) is None
    assert await world.room() == before


@pytest.mark.parametrize("membership", ["leave", "invite", "knock", "ban", "", 7])
async def test_an_admin_too_has_to_be_joined(world: World, membership: Any) -> None:
    """An administrator who is not in the room gets no answer."""
    await world.member(ADMIN, membership)
    assert await world.say(ADMIN, "!aircheck record off") is None
    assert (await world.room()).recording_on


async def test_a_moderator_who_was_demoted_is_none(world: World) -> None:
    """The room's current power levels count, not earlier ones."""
    await world.power_levels({"users": {MOD: 49}})
    assert await world.say(MOD, "!aircheck record off") == general.ONLY_MODS
    await world.power_levels({"users": {}})
    assert await world.say(MOD, "!aircheck record off") == general.ONLY_MODS
    assert (await world.room()).recording_on


async def test_a_room_that_asks_more_of_its_moderators_gets_it(world: World) -> None:
    """Power 50 is not enough where state events need 75."""
    await world.power_levels({"users": {MOD: 50, MEMBER: 75}, "state_default": 75})
    assert await world.say(MOD, "!aircheck record off") == general.ONLY_MODS
    assert await world.say(MEMBER, "!aircheck record off") != general.ONLY_MODS


async def test_in_older_rooms_the_creator_has_the_power_that_is_written(bare: World) -> None:
    """Only room version 12 puts its creators above the levels."""
    await bare.open(version="11")
    assert await bare.say(CREATOR, "!aircheck record off") == general.ONLY_MODS
    await bare.power_levels({"users": {CREATOR: 100}})
    assert await bare.say(CREATOR, "!aircheck record off") != general.ONLY_MODS


async def test_where_the_state_is_not_known_nobody_moderates(world: World) -> None:
    """Without known state neither power levels nor creators count; the bot's administrators do."""
    await world.forget_state()
    for user in (MOD, CREATOR, MEMBER):
        assert await world.say(user, "!aircheck record off") == general.ONLY_MODS
    assert overview_replies.STATE_UNKNOWN in (await world.say(MEMBER, "!aircheck status") or "")
    assert "switched it off" in (await world.say(ADMIN, "!aircheck record off") or "")


@pytest.mark.parametrize(
    ("public_by", "may"), [("mods", MODS), ("admins", (ADMIN,)), ("nobody", ())], ids=["mods", "admins", "nobody"]
)
async def test_who_makes_a_podcast_public_is_a_setting(world: World, public_by: Any, may: tuple[UserId, ...]) -> None:
    """`feeds.public_by` decides who publishes; any moderator may make a podcast private."""
    world.feeds = FeedsSettings(public_by=public_by)
    for user in EVERYBODY:
        answer = await world.say(user, "!aircheck publish public")
        assert (answer not in REFUSALS) == (user in may), (user, answer)
        public = (await world.room()).visibility is Visibility.PUBLIC
        assert public == (user in may)
        answer = await world.say(MOD, "!aircheck publish private")
        assert answer not in REFUSALS
        assert (await world.room()).visibility is Visibility.PRIVATE


async def test_where_nobody_publishes_no_recording_is_published(world: World) -> None:
    """With `public_by: nobody` neither speaker nor administrator publishes, not even in a public room."""
    recording = await world.recording()
    await world.say(MOD, "!aircheck publish public")
    world.feeds = FeedsSettings(public_by="nobody")
    for user in (SPEAKER, ADMIN):
        assert await world.say(user, "!aircheck publish last") == general.NOBODY_PUBLISHES
    assert not (await world.look(recording)).public


async def test_a_speaker_who_left_has_no_say_any_more(world: World) -> None:
    """A speaker who left the room can't change their recordings."""
    recording = await world.recording(public=True, state=RecordingState.INCOMPLETE)
    await world.member(SPEAKER, "leave")
    assert await world.say(SPEAKER, "!aircheck unpublish last") is None
    assert (await world.look(recording)).public


async def test_whoever_speaks_in_a_session_without_having_begun_it_may_approve_it_only(world: World) -> None:
    """Its broadcaster is the first speaker: they and moderators decide about what holds others' sound too."""
    recording = await world.recording(kind=RecordingKind.VOICE_MESSAGES, unreviewed=True)
    await world.say(MOD, "!aircheck publish public")
    await world.chunk(recording, ChunkState.STORED, sender=MEMBER)
    for command in ("title last Soup", "describe last Soup", "keep last", "unpublish last", "delete last"):
        assert await world.say(MEMBER, f"!aircheck {command}") == general.ONLY_ITS_BROADCASTER_OR_MODS
    assert await world.say(MEMBER, "!aircheck publish last") == general.ONLY_ITS_BROADCASTER
    await world.say(MEMBER, "!aircheck approve last")
    assert not (await world.look(recording)).unreviewed
    assert not (await world.look(recording)).public
    assert "is public now" in (await world.say(SPEAKER, "!aircheck publish last") or "")
