"""The keys that have come: which are news, and how many are kept."""

from dataclasses import replace

from bot.calls.key_shelf import MOST_DEVICES, MOST_OF_A_DEVICE, MOST_OF_ONE_USER, KeyShelf
from bot.calls.model import Device, KeyTold
from bot.calls.session.state import key_of
from storage.records import UserId

ANN = Device(UserId("@ann:hs"), "A")


def told(index: int, key: bytes = b"key", device: Device = ANN) -> KeyTold:
    return KeyTold(device, index, key)


def test_a_repetition_is_no_news() -> None:
    """The last key of an index is news once; an older one of it may come again."""
    shelf = KeyShelf()
    assert [shelf.put(told(0, key)) for key in (b"a", b"a", b"b", b"b", b"a")] == [True, False, True, False, True]
    assert [each.key for each in shelf.of(ANN)] == [b"a", b"b", b"a"]


def test_a_device_has_so_many_keys() -> None:
    """The oldest keys of a device go."""
    shelf = KeyShelf()
    for index in range(20):
        shelf.put(told(index))
    assert [each.index for each in shelf.of(ANN)] == list(range(20 - MOST_OF_A_DEVICE, 20))


def test_nobody_takes_all_places() -> None:
    """Devices of one user are bounded, and all devices are: each of many users has a place of its own."""
    shelf = KeyShelf()
    of_one = [shelf.put(told(0, device=Device(ANN.user_id, f"D{number}"))) for number in range(40)]
    assert sum(of_one) == MOST_OF_ONE_USER
    many = [shelf.put(told(0, device=Device(UserId(f"@u{number}:hs"), "D"))) for number in range(MOST_DEVICES)]
    assert sum(many) == MOST_DEVICES - 1
    assert [bool(shelf.of(Device(ANN.user_id, f"D{number}"))) for number in range(33)] == [False] * 31 + [True, False]


def test_whoever_fills_the_shelf_makes_room_for_others() -> None:
    """Users with many devices that are not listed leave their places to others, and all such devices do to those that
    are listed, which stay."""
    shelf = KeyShelf()
    crowd = [Device(UserId(f"@u{user}:hs"), f"D{number}") for user in range(20) for number in range(MOST_OF_ONE_USER)]
    listed = crowd[-MOST_OF_ONE_USER:]
    shelf.see({key_of(device) for device in listed})
    assert all(shelf.put(told(0, device=device)) for device in crowd)
    assert shelf.put(told(0))
    assert not shelf.put(told(0, device=replace(crowd[0], device_id="E")))
    assert not shelf.put(told(0, device=replace(listed[0], device_id="E")))
    shelf.see({key_of(device) for device in [*listed, crowd[0]]})
    assert shelf.put(told(0, device=crowd[0]))
    assert all(shelf.of(device) for device in [*listed, ANN, crowd[0]])
