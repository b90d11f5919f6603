"""Each member's share of the bot's answers."""

from datetime import timedelta

from bot.intake.shares import AT_ONCE, ONE_MORE_EACH, Share, Shares
from storage.records import EventId, UserId
from tests.clock import Clock

ALICE, BOB = UserId("@alice:hs"), UserId("@bob:hs")


def ask(shares: Shares, clock: Clock, count: int, user: UserId = ALICE, name: str = "$c") -> list[Share]:
    return [shares.take(user, EventId(f"{name}{number}"), clock()) for number in range(count)]


def test_who_exceeds_their_share_is_told_once_and_takes_nothing_from_others() -> None:
    """A member who exceeds their share is told once, and again only after the share was whole."""
    shares, clock = Shares(), Clock()
    assert ask(shares, clock, 800) == [Share.LEFT] * AT_ONCE + [Share.EXCEEDED] + [Share.USED_UP] * (799 - AT_ONCE)
    assert ask(shares, clock, 1, BOB) == [Share.LEFT]
    clock.now += 2 * ONE_MORE_EACH
    assert ask(shares, clock, 4, name="$d") == [Share.LEFT] * 2 + [Share.USED_UP] * 2
    clock.now += AT_ONCE * ONE_MORE_EACH
    assert ask(shares, clock, AT_ONCE + 2, name="$e")[-2:] == [Share.EXCEEDED, Share.USED_UP]


def test_the_same_command_heard_again_takes_nothing() -> None:
    """The same command counts once, also when its batch comes again."""
    shares, clock = Shares(), Clock()
    first = ask(shares, clock, AT_ONCE)
    assert ask(shares, clock, AT_ONCE) == first
    assert ask(shares, clock, 1, name="$next") == [Share.EXCEEDED]


def test_a_clock_that_is_set_back_gives_and_takes_nothing() -> None:
    """A clock that is set back changes no share."""
    shares, clock = Shares(), Clock()
    ask(shares, clock, AT_ONCE)
    clock.now -= timedelta(hours=1)
    assert ask(shares, clock, 1, name="$next") == [Share.EXCEEDED]
