"""Who may do what, read from the room's current state."""

from typing import Any

import pytest

from bot.commands import replies
from bot.settings import FeedsSettings
from storage.records import RecordingState, UserId, Visibility
from tests.commands.stage import ADMIN, BANNED, CREATOR, MEMBER, MOD, SPEAKER, STRANGER, Stage

EVERYBODY = (ADMIN, CREATOR, MOD, SPEAKER, MEMBER)
MODS = (ADMIN, CREATOR, MOD)
REFUSALS = {
    replies.ONLY_MODS,
    replies.ONLY_ITS_SPEAKER,
    replies.ONLY_ITS_SPEAKER_OR_MODS,
    replies.ONLY_ADMINS_PUBLISH,
    replies.NOBODY_PUBLISHES,
}
MAY = {
    "help": EVERYBODY,
    "help record": EVERYBODY,
    "status": EVERYBODY,
    "list": EVERYBODY,
    "feed": EVERYBODY,
    "feed renew": EVERYBODY,
    "record on": MODS,
    "record off": MODS,
    "publish public": MODS,
    "publish private": MODS,
    "publish last": (ADMIN, SPEAKER),
    "unpublish last": (ADMIN, CREATOR, MOD, SPEAKER),
    "title last Soup": (ADMIN, CREATOR, MOD, SPEAKER),
    "describe last All about soup": (ADMIN, CREATOR, MOD, SPEAKER),
}


@pytest.mark.parametrize("command", MAY)
async def test_each_command_is_for_those_who_may(stage: Stage, command: str) -> None:
    """The others get one plain sentence that names who may, and nothing changes by them."""
    await stage.recording()
    for user in EVERYBODY:
        before = await stage.room()
        answer = await stage.say(user, f"!aircheck {command}")
        assert answer is not None
        assert (answer not in REFUSALS) == (user in MAY[command]), (user, answer)
        if user not in MAY[command]:
            assert await stage.room() == before
            assert "\n" not in answer


@pytest.mark.parametrize("command", MAY)
@pytest.mark.parametrize("user", [BANNED, STRANGER])
async def test_who_is_not_joined_hears_nothing(stage: Stage, command: str, user: UserId) -> None:
    """No answer and no change, whatever the power levels say of a banned moderator."""
    await stage.recording()
    before = await stage.room()
    assert await stage.say(user, f"!aircheck {command}") is None
    assert await stage.say(user, f"!aircheck {command}", history=True) is None
    assert await stage.room() == before


@pytest.mark.parametrize("membership", ["leave", "invite", "knock", "ban", "", 7])
async def test_an_admin_too_has_to_be_joined(stage: Stage, membership: Any) -> None:
    """Membership is asked before every right."""
    await stage.member(ADMIN, membership)
    assert await stage.say(ADMIN, "!aircheck record off") is None
    assert (await stage.room()).recording_on


async def test_a_moderator_who_was_demoted_is_none(stage: Stage) -> None:
    """The room's current power levels count, not those of yesterday."""
    await stage.power_levels({"users": {MOD: 49}})
    assert await stage.say(MOD, "!aircheck record off") == replies.ONLY_MODS
    await stage.power_levels({"users": {}})
    assert await stage.say(MOD, "!aircheck record off") == replies.ONLY_MODS
    assert (await stage.room()).recording_on


async def test_a_room_that_asks_more_of_its_moderators_gets_it(stage: Stage) -> None:
    """Power 50 is not enough where state needs 75."""
    await stage.power_levels({"users": {MOD: 50, MEMBER: 75}, "state_default": 75})
    assert await stage.say(MOD, "!aircheck record off") == replies.ONLY_MODS
    assert await stage.say(MEMBER, "!aircheck record off") != replies.ONLY_MODS


async def test_in_older_rooms_the_creator_has_the_power_that_is_written(bare: Stage) -> None:
    """Only room version 12 puts its creators above the levels."""
    await bare.open(version="11")
    assert await bare.say(CREATOR, "!aircheck record off") == replies.ONLY_MODS
    await bare.power_levels({"users": {CREATOR: 100}})
    assert await bare.say(CREATOR, "!aircheck record off") != replies.ONLY_MODS


async def test_where_the_state_is_not_known_nobody_moderates(stage: Stage) -> None:
    """Neither by power levels nor as the creator; the administrators of the bot may still."""
    await stage.forget_state()
    for user in (MOD, CREATOR, MEMBER):
        assert await stage.say(user, "!aircheck record off") == replies.ONLY_MODS
    assert replies.STATE_UNKNOWN in (await stage.say(MEMBER, "!aircheck status") or "")
    assert "switched it off" in (await stage.say(ADMIN, "!aircheck record off") or "")


@pytest.mark.parametrize(
    ("public_by", "may"), [("mods", MODS), ("admins", (ADMIN,)), ("nobody", ())], ids=["mods", "admins", "nobody"]
)
async def test_who_makes_a_podcast_public_is_a_setting(stage: Stage, public_by: Any, may: tuple[UserId, ...]) -> None:
    """`feeds.public_by` decides; closing it is always a moderator's right."""
    stage.feeds = FeedsSettings(public_by=public_by)
    for user in EVERYBODY:
        answer = await stage.say(user, "!aircheck publish public")
        assert (answer not in REFUSALS) == (user in may), (user, answer)
        public = (await stage.room()).visibility is Visibility.PUBLIC
        assert public == (user in may)
        answer = await stage.say(MOD, "!aircheck publish private")
        assert answer not in REFUSALS
        assert (await stage.room()).visibility is Visibility.PRIVATE


async def test_where_nobody_publishes_no_recording_is_published(stage: Stage) -> None:
    """Neither by its speaker nor by an administrator, also in a room that was made public before."""
    recording = await stage.recording()
    await stage.say(MOD, "!aircheck publish public")
    stage.feeds = FeedsSettings(public_by="nobody")
    for user in (SPEAKER, ADMIN):
        assert await stage.say(user, "!aircheck publish last") == replies.NOBODY_PUBLISHES
    assert not (await stage.look(recording)).public


async def test_a_speaker_who_left_has_no_say_any_more(stage: Stage) -> None:
    """The broadcaster's right is a member's right."""
    recording = await stage.recording(public=True, state=RecordingState.INCOMPLETE)
    await stage.member(SPEAKER, "leave")
    assert await stage.say(SPEAKER, "!aircheck unpublish last") is None
    assert (await stage.look(recording)).public
