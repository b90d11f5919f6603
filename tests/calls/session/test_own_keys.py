"""The keys of the bot's own sound."""

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import Device, Member
from bot.calls.session.own_keys import GRACE, KEY_BYTES, USE_AFTER, KeyEffect, OwnKeys, ShareKey, UseKey
from storage.records import UserId

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def member(name: str, since: datetime = NOW) -> Member:
    return Member(Device(UserId(f"@{name}:hs"), "PHONE", f"@{name}:hs:PHONE"), None, since=since)


def own_keys() -> OwnKeys:
    numbers = count(1)
    return OwnKeys(lambda: next(numbers).to_bytes(KEY_BYTES))


def key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES)


def share(index: int, *names: str) -> ShareKey:
    return ShareKey(index, key(index + 1), tuple(member(name).device for name in names))


ANN, BOB, CLEO = member("ann"), member("bob"), member("cleo")


def test_the_first_key_is_used_at_once_and_given_to_all() -> None:
    """On entering, the bot uses a key and gives it to every device in the call."""
    keys = own_keys()
    assert keys.see([ANN, BOB], NOW) == [UseKey(0, key(1)), share(0, "ann", "bob")]
    assert keys.shared(NOW) == []
    assert keys.due is None
    assert keys.see([ANN, BOB], NOW + timedelta(hours=1)) == []


def test_a_device_that_comes_soon_gets_the_present_key() -> None:
    """Within the grace the key is given to those who come, and stays."""
    keys = own_keys()
    keys.see([ANN], NOW)
    keys.shared(NOW)
    soon = NOW + GRACE - timedelta(milliseconds=1)
    assert keys.see([ANN, BOB], soon) == [share(0, "bob")]


def test_a_device_that_comes_later_gets_a_new_key_with_all_others() -> None:
    """After the grace all get a new key, which is used a second after it was sent."""
    keys = own_keys()
    keys.see([ANN], NOW)
    keys.shared(NOW)
    later = NOW + GRACE
    assert keys.see([ANN, BOB], later) == [share(1, "ann", "bob")]
    sent = later + timedelta(seconds=5)
    assert keys.pass_time(sent) == []
    assert keys.shared(sent) == []
    assert keys.due == sent + USE_AFTER
    assert keys.pass_time(sent + USE_AFTER - timedelta(milliseconds=1)) == []
    assert keys.pass_time(sent + USE_AFTER) == [UseKey(1, key(2))]
    assert keys.due is None


def test_a_device_that_leaves_does_not_get_the_next_key() -> None:
    """When a device leaves, the others get a new key at once."""
    keys = own_keys()
    keys.see([ANN, BOB], NOW)
    keys.shared(NOW)
    assert keys.see([ANN], NOW) == [share(1, "ann")]


def test_changes_during_a_round_are_looked_at_after_it() -> None:
    """Rounds follow each other: each lasts until its key is used."""
    keys = own_keys()
    keys.see([ANN, BOB], NOW)
    assert keys.see([ANN, BOB, CLEO], NOW) == []
    assert keys.shared(NOW) == [share(0, "cleo")]
    keys.shared(NOW)
    assert keys.see([ANN, CLEO], NOW) == [share(1, "ann", "cleo")]
    keys.shared(NOW)
    assert keys.see([CLEO], NOW) == []
    assert keys.pass_time(NOW + USE_AFTER) == [UseKey(1, key(2)), share(2, "cleo")]


def test_a_device_that_left_and_came_back_gets_the_key_again() -> None:
    """A device whose membership is another is given the key anew, also if its leaving was not seen."""
    keys = own_keys()
    keys.see([ANN, BOB], NOW)
    keys.shared(NOW)
    assert keys.see([ANN, member("bob", NOW + timedelta(seconds=3))], NOW) == [share(0, "bob")]


def test_an_empty_call_needs_no_round() -> None:
    """A bot that is alone gives its key to nobody, and makes a new one when somebody comes."""
    keys = own_keys()
    assert keys.see([], NOW) == [UseKey(0, key(1))]
    assert keys.see([ANN], NOW + GRACE) == [share(1, "ann")]


def test_indices_begin_again_after_the_last() -> None:
    """Key 255 is followed by key 0."""
    keys, now = own_keys(), NOW
    effects: list[KeyEffect] = keys.see([ANN], now)
    for _ in range(256):
        keys.shared(now)
        now += GRACE
        keys.pass_time(now)
        effects = keys.see([ANN] if len(keys_of(effects)) > 1 else [ANN, BOB], now)
    assert {effect.index for effect in effects} == {0}


def keys_of(effects: list[KeyEffect]) -> tuple[Device, ...]:
    return next(effect.devices for effect in effects if isinstance(effect, ShareKey))


@given(st.lists(st.tuples(st.sets(st.sampled_from([ANN, BOB, CLEO])), st.integers(0, 15), st.booleans()), max_size=30))
def test_all_devices_end_up_with_the_key_in_use(steps: list[tuple[set[Member], int, bool]]) -> None:
    """Whoever comes and goes, and however slow sending is: in the end exactly the devices in the call have the key in
    use, and no device has one that was made after it left."""
    keys, now = own_keys(), NOW
    has: dict[int, set[UserId]] = {}
    used = -1
    listed: set[UserId] = set()

    def done(effects: list[KeyEffect]) -> None:
        nonlocal used
        for effect in effects:
            if isinstance(effect, UseKey):
                used = effect.index
                has.setdefault(used, set())
            else:
                users = {device.user_id for device in effect.devices}
                assert users <= listed
                has.setdefault(effect.index, set()).update(users)

    for members, pause, is_sent in steps:
        now += timedelta(seconds=pause)
        listed = {one.device.user_id for one in members}
        done(keys.see(members, now))
        if is_sent:
            done(keys.shared(now))
        done(keys.pass_time(now))
    for _ in range(4):
        done(keys.shared(now))
        now += USE_AFTER
        done(keys.pass_time(now))
    assert not steps or has[used] == listed
