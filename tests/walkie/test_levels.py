"""Power levels of a walkie-talkie: set, put back, and one member raised, whatever others change meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.walkie import levels
from storage.records import Json, Position, RoomId, RoomPower, StateEvent, UserId

ROOM = RoomId("!r:hs")
BOT, ANN, BOB, CAT = (UserId(f"@{name}:hs") for name in ("bot", "ann", "bob", "cat"))
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
PERMIT, REQUEST = "org.aircheck.walkie.permit", "org.aircheck.walkie.request"


def state(kind: str, content: Json, key: str = "", sender: UserId = ANN) -> StateEvent:
    return StateEvent(ROOM, kind, key, sender, content, Position(1))


def room(content: Json | None, version: str = "10", creator: UserId = ANN) -> RoomPower:
    create = state("m.room.create", {"room_version": version, "creator": creator}, sender=creator)
    return RoomPower(create, None if content is None else state("m.room.power_levels", content))


def test_a_room_is_locked_for_all_but_speakers() -> None:
    """Transmissions need 10; permits, requests and reactions 0 where they would need more; all else stays."""
    before = {"users": {BOT: 100}, "state_default": 50, "events": {"m.room.name": 50, "m.reaction": 25}}
    content, saved = levels.locked(before)
    assert content == {
        **before,
        "events": {"m.room.name": 50, "m.room.message": 10, "m.room.encrypted": 10, PERMIT: 0, "m.reaction": 0},
    }
    assert {level.event_type for level in saved} == {"m.room.message", "m.room.encrypted", PERMIT, "m.reaction"}
    assert levels.unlocked(content, saved) == before


def test_what_is_open_to_all_stays_as_it_is() -> None:
    """A level of 0 or less, by an entry or by default, is not written."""
    content, _ = levels.locked({"state_default": 0, "events": {REQUEST: -5}})
    assert content["events"] == {"m.room.message": 10, "m.room.encrypted": 10, REQUEST: -5}
    content, _ = levels.locked({"events_default": 10})
    assert (content["events"][REQUEST], content["events"]["m.reaction"], content["events"][PERMIT]) == (0, 0, 0)


values = st.one_of(st.integers(-5, 100), st.sampled_from(["50", "junk", None]))
kinds = st.sampled_from(["m.room.message", "m.room.encrypted", "m.reaction", PERMIT, REQUEST, "m.room.name"])
contents = st.fixed_dictionaries(
    {},
    optional={
        "events": st.dictionaries(kinds, values, max_size=6),
        "users": st.dictionaries(st.sampled_from([BOT, ANN, BOB, CAT]), values, max_size=4),
        "events_default": st.integers(-5, 100),
        "state_default": st.integers(-5, 100),
        "ban": st.integers(0, 100),
    },
)
changes = st.dictionaries(kinds, st.one_of(values, st.just("gone")), max_size=4)


def changed(content: Json, change: dict[str, Any]) -> Json:
    events = dict(content.get("events", {}))
    for kind, value in change.items():
        if value == "gone":
            events.pop(kind, None)
        else:
            events[kind] = value
    return {**content, "events": events}


@given(contents, changes, st.booleans())
def test_levels_are_put_back_but_for_what_others_changed(before: Json, change: dict[str, Any], repeated: bool) -> None:
    """Each entry that still has our value is as it was before, each other one as somebody made it meanwhile; a try
    that was made twice, its write done or not, loses nothing of it."""
    content, saved = levels.locked(before)
    assert levels.unlocked(content, saved) == before
    if repeated:
        content, saved = levels.locked(content, saved)
        content, saved = levels.locked(before, saved)
    theirs = changed(content, change)
    after = levels.unlocked(theirs, saved)
    ours = {level.event_type: level.ours for level in saved}
    was = before.get("events", {})
    expected = {
        kind: was.get(kind, "gone") if kind in ours and value == ours[kind] else value
        for kind, value in theirs["events"].items()
    }
    assert after.get("events", {}) == {kind: value for kind, value in expected.items() if value != "gone"}
    assert {key: after[key] for key in after if key != "events"} == {k: before[k] for k in before if k != "events"}


@given(contents, st.sampled_from([ANN, BOB, CAT]), st.booleans())
def test_a_holder_gets_back_the_level_that_they_had(before: Json, holder: UserId, repeated: bool) -> None:
    """Raised and lowered, a room's levels are as before, also where the raise was tried twice."""
    raised = levels.raising(before, holder, ())
    content = levels.raised(before, holder)
    if repeated:
        raised = levels.raising(content, holder, raised)
    assert content["users"][holder] == 10
    assert levels.lowered(content, raised, None) == before
    assert levels.lowered(content, raised, holder) == content


def test_a_level_that_somebody_gave_a_former_holder_stays() -> None:
    """A moderator made of them what they are now; only the level of a speaker is the bot's to take back."""
    raised = levels.raising({}, BOB, ())
    theirs = {"users": {BOB: 50}}
    assert levels.lowered(theirs, raised, None) == theirs


def test_a_level_that_comes_back_is_taken_for_a_minute() -> None:
    """A client that read the levels while somebody had the floor writes them again; later ones are a moderator's."""
    raised = levels.remembered(levels.raising({}, BOB, ()), None, NOW)
    echo = {"users": {BOB: 10, CAT: 10}}
    assert levels.lowered(echo, raised, CAT) == {"users": {CAT: 10}}
    assert levels.remembered(raised, CAT, NOW + timedelta(seconds=59)) == raised
    assert levels.remembered(raised, CAT, NOW + timedelta(seconds=60)) == ()


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        ({"users": {BOT: 100}}, None),
        ({"users": {BOT: 99}}, 100),
        ({"users": {BOT: 100}, "events": {"m.room.power_levels": 101}}, 101),
        ({"users": {BOT: 100}, "events": {"m.reaction": 150}}, 150),
        (None, 100),
    ],
)
def test_the_bot_needs_the_power_to_change_the_levels(content: Json | None, needed: int | None) -> None:
    """At least 100, and as much as the entries need that it changes."""
    assert levels.missing(BOT, room(content)) == needed


def test_a_creator_of_room_version_12_needs_no_level() -> None:
    """A creator is above all levels: as the bot it lacks nothing, as a member it can't be limited."""
    assert levels.missing(BOT, room({"users": {}}, "12", creator=BOT)) is None
    members = [state("m.room.member", {"membership": "join"}, user) for user in (ANN, BOB, BOT)]
    assert levels.unlimited(BOT, members, room({"users": {BOT: 100}}, "12")) == (ANN,)


def test_who_has_the_level_of_a_speaker_can_not_be_limited() -> None:
    """Joined members of level 10 or more are named, and nobody who left."""
    members = [
        state("m.room.member", {"membership": "join"}, ANN),
        state("m.room.member", {"membership": "join"}, BOB),
        state("m.room.member", {"membership": "leave"}, CAT),
    ]
    assert levels.unlimited(BOT, members, room({"users": {BOT: 100, ANN: 10, BOB: 9, CAT: 50}})) == (ANN,)
    assert levels.unlimited(BOT, members, room({"users": {BOT: 100}, "users_default": 10})) == (ANN, BOB)
