"""The session machine: who calls whom, how legs end, and when the bot leaves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.calls.model import (
    MOST_LEGS,
    Answered,
    AnswerMade,
    AnswerSelected,
    Candidate,
    Candidates,
    Device,
    HungUp,
    LegConnected,
    LegEnded,
    LegFailed,
    LegId,
    Message,
    Muted,
    OfferMade,
    Over,
    Renegotiated,
    Seen,
    Send,
    SessionEvent,
    SoundHeard,
    TimePassed,
)
from bot.calls.session import rules
from storage.records import CallEvent, CallEventKind, Samples, UserId
from tests.calls.session.stories import (
    ANN,
    BOT,
    MXVC,
    NOW,
    SETUP,
    ZOE,
    Story,
    calls,
    listed,
    member,
    says,
)

ANN_AGAIN = replace(ANN, session_id="a2")
ZOE_AGAIN = replace(ZOE, session_id="z2")
PHONE = replace(ZOE, device_id="ZZ")
S1, S2, L = LegId("S.1"), LegId("S.2"), LegId("L")
TIME = TimePassed()
CANDIDATE = Candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host", "0", 0)
Line = tuple[float, SessionEvent, list[str]]

CALLED: tuple[Line, ...] = (
    (0, listed(ANN), []),
    (1, calls(ANN, "L"), ["answer L"]),
    (2, AnswerMade(L, "v=0"), ["send answered L 0"]),
    (3, LegConnected(L), ["open L", "A joined"]),
)
CALLING: tuple[Line, ...] = (
    (0, listed(ZOE), ["offer S.1 to Z"]),
    (1, OfferMade(S1, "v=0"), ["send offered S.1 0"]),
    (2, says(ZOE, "S.1", Answered("v=0")), ["take answer S.1", "select Z S.1 1"]),
    (3, LegConnected(S1), ["open S.1", "Z joined"]),
)
OPTED_OUT = listed(ZOE, declined=[ZOE])

STORIES: dict[str, tuple[Line, ...]] = {
    "the higher user is called": CALLING,
    "the lower user calls": CALLED,
    "a hang-up": (*CALLED, (4, says(ANN, "L", HungUp()), ["close L left", "A left"])),
    "the end of the connection comes first": (
        *CALLED,
        (4, LegEnded(L), []),
        (4.04, says(ANN, "L", HungUp()), ["close L left", "A left"]),
    ),
    "the end of the connection, then the state": (
        *CALLED,
        (4, LegEnded(L), []),
        (5.9, listed(), ["close L left", "A left"]),
    ),
    "a connection that is lost": (
        *CALLED,
        (4, LegEnded(L), []),
        (5.9, TIME, []),
        (6, TIME, ["hang up L 1 ice_failed", "close L lost", "A lost"]),
    ),
    "a hang-up because of a lost connection": (
        *CALLED,
        (4, says(ANN, "L", HungUp("ice_failed")), ["close L lost", "A lost"]),
    ),
    "a device is gone from the state": (*CALLED, (4, listed(), ["close L left", "A left"])),
    "a call again, by the same page": (
        *CALLED,
        (4, says(ANN, "L", HungUp()), ["close L left", "A left"]),
        (4.1, listed(), []),
        (9, listed(ANN), []),
        (9, calls(ANN, "K"), ["answer K"]),
        (9, AnswerMade(LegId("K"), "v=0"), ["send answered K 0"]),
        (10, LegConnected(LegId("K")), ["open K", "A rejoined"]),
    ),
    "a new call without a hang-up": (
        *CALLED,
        (4, calls(ANN, "K"), ["hang up L 1 replaced", "close L left", "A left", "answer K"]),
    ),
    "a new call by a new session": (
        *CALLED,
        (4, calls(ANN_AGAIN, "K"), ["hang up L 1 replaced", "close L lost", "A lost", "answer K"]),
        (4.1, listed(ANN), []),
        (4.2, listed(ANN_AGAIN), []),
    ),
    "a new session of a device that is called": (
        *CALLING,
        (4, listed(ZOE_AGAIN), ["hang up S.1 2 new_session", "close S.1 lost", "Z lost", "offer S.2 to Z"]),
    ),
    "several devices of one user": (
        *CALLING,
        (4, listed(ZOE, PHONE), ["offer S.2 to ZZ"]),
        (5, OfferMade(S2, "v=0"), ["send offered S.2 0"]),
        (6, says(PHONE, "S.2", Answered("v=0")), ["take answer S.2", "select ZZ S.2 1"]),
        (7, LegConnected(S2), ["open S.2", "ZZ joined"]),
        (8, listed(PHONE), ["close S.1 left", "Z left"]),
    ),
    "nobody answers": (
        (0, listed(ANN, ZOE), ["offer S.1 to Z"]),
        (0, calls(ANN, "L"), ["answer L"]),
        (1, AnswerMade(L, "v=0"), ["send answered L 0"]),
        (1, LegConnected(L), ["open L", "A joined"]),
        (2, OfferMade(S1, "v=0"), ["send offered S.1 0"]),
        (62, TIME, ["hang up S.1 1 invite_timeout", "close S.1 lost", "tell silent"]),
        (67, TIME, ["offer S.2 to Z"]),
        (97, TIME, ["close S.2 lost"]),
        (117, TIME, ["offer S.3 to Z"]),
        (147, TIME, ["close S.3 lost"]),
        (207, TIME, ["offer S.4 to Z"]),
        (237, TIME, ["close S.4 lost"]),
        (9999, TIME, []),
        (9999, listed(ANN, ZOE_AGAIN), ["offer S.5 to Z"]),
    ),
    "a device whose turn it is calls late": (
        (0, listed(ANN), []),
        (29, TIME, []),
        (30, TIME, ["offer S.1 to A"]),
    ),
    "two offers cross, and theirs counts": (
        (0, listed(ZOE), ["offer S.1 to Z"]),
        (1, OfferMade(S1, "v=0"), ["send offered S.1 0"]),
        (1, calls(ZOE, "L"), ["hang up S.1 1 replaced", "close S.1 left", "answer L"]),
        (1, says(ZOE, "S.1", HungUp("replaced")), []),
    ),
    "two offers cross, and ours counts": (
        (0, listed(ZOE), ["offer S.1 to Z"]),
        (1, OfferMade(S1, "v=0"), ["send offered S.1 0"]),
        (1, calls(ZOE, "T"), ["reject T 0 replaced", "close T ended"]),
        (1, says(ZOE, "S.1", Answered("v=0")), ["take answer S.1", "select Z S.1 1"]),
    ),
    "another answer was selected": (
        *CALLED[:3],
        (3, says(ANN, "L", AnswerSelected("M")), []),
        (3, says(ANN, "L", AnswerSelected("X")), ["close L left"]),
    ),
    "a new offer on a leg that stands": (
        *CALLED,
        (4, says(ANN, "L", Renegotiated(is_offer=True, sdp="v=0")), ["answer L again"]),
        (5, AnswerMade(L, "v=0", again=True), ["send renegotiated L 1"]),
        (6, says(ANN, "L", Renegotiated(is_offer=False, sdp="v=0")), []),
    ),
    "mutes": (
        (0, listed(ANN), []),
        (1, calls(ANN, "L", muted=True), ["answer L"]),
        (2, AnswerMade(L, "v=0"), ["send answered L 0"]),
        (3, LegConnected(L), ["open L", "A joined", "A muted"]),
        (4, says(ANN, "L", Muted(audio=True)), []),
        (5, says(ANN, "L", Muted(audio=False)), ["A unmuted"]),
        (6, says(ANN, "L", Renegotiated(is_offer=True, sdp="v=0", muted=True)), ["answer L again", "A muted"]),
    ),
    "an offer before the state": (
        (0, calls(ANN, "L"), []),
        (0, says(ANN, "L", Candidates((CANDIDATE,))), []),
        (1, listed(ANN), ["answer L", "take 1 candidates L"]),
    ),
    "an offer long before the state": ((0, calls(ANN, "L"), []), (10, listed(ANN), [])),
    "candidates before the answer": (
        *CALLING[:2],
        (1, says(ZOE, "S.1", Candidates((CANDIDATE, CANDIDATE))), []),
        (2, says(ZOE, "S.1", Answered("v=0")), ["take answer S.1", "take 2 candidates S.1", "select Z S.1 1"]),
        (3, says(ZOE, "S.1", Candidates((CANDIDATE,))), ["take 1 candidates S.1"]),
    ),
    "a hang-up before its offer": (
        (0, listed(ANN), []),
        (1, says(ANN, "L", HungUp()), []),
        (2, calls(ANN, "L"), []),
    ),
    "an offer of a user who opted out": (
        (0, listed(ANN, declined=[ANN]), ["A declined"]),
        (1, calls(ANN, "L"), ["reject L 0", "close L ended"]),
        (1, calls(ANN, "L"), []),
        (2, listed(ANN), ["offer S.1 to A"]),
    ),
    "opting out in the call, and in again": (
        *CALLING,
        (4, OPTED_OUT, ["hang up S.1 2 user_hangup", "close S.1 ended", "Z declined"]),
        (9, TIME, []),
        (9, OPTED_OUT, []),
        (10, listed(ZOE), ["offer S.2 to Z"]),
        (11, OPTED_OUT, ["close S.2 ended", "Z declined"]),
    ),
    "the media refuse an offer": (
        (0, listed(ANN), []),
        (1, calls(ANN, "L"), ["answer L"]),
        (1, LegFailed(L, "no_opus"), ["A refused", "reject L 0 no_opus", "close L lost"]),
        (2, calls(ANN, "K"), ["answer K"]),
        (2, LegFailed(LegId("K"), "no_opus"), ["reject K 0 no_opus", "close K lost"]),
    ),
    "the media refuse a new offer": (
        *CALLED,
        (4, LegFailed(L, "bad_sdp"), ["A refused", "hang up L 1 bad_sdp", "close L lost", "A lost"]),
    ),
    "a message that can't be sent": (
        *CALLED,
        (4, LegFailed(L, "unreachable"), ["hang up L 1 unreachable", "close L lost", "A lost"]),
    ),
    "a connection that never comes": (
        *CALLED[:3],
        (32, TIME, ["hang up L 1 ice_failed", "close L lost"]),
    ),
    "the recording ends": (
        *CALLED,
        (4, Over(), ["hang up L 1 user_hangup", "close L ended"]),
        (5, LegEnded(L), []),
        (6, listed(ZOE), []),
    ),
    "sound is a connection": (*CALLED[:3], (3, SoundHeard(L), ["open L", "A joined"]), (3, LegConnected(L), [])),
    "an id that belongs to another": (
        (0, listed(ANN, ZOE), ["offer S.1 to Z"]),
        (1, calls(ANN, "S.1"), []),
        (1, calls(ANN, "S.9"), []),
        (1, calls(ANN, "L"), ["answer L"]),
        (1, calls(ZOE, "L"), []),
    ),
    "messages for another call or another leg": (
        *CALLED,
        (4, says(ANN, "L", HungUp(), call_id="other"), []),
        (4, says(ANN, "X", Muted(audio=True)), []),
        (4, says(ZOE, "L", HungUp()), []),
        (4, says(BOT, "L", HungUp()), []),
        (4, LegEnded(LegId("X")), []),
    ),
}


@pytest.mark.parametrize("lines", STORIES.values(), ids=STORIES)
def test_stories(lines: tuple[Line, ...]) -> None:
    """The bot does in each case what the table says, and nothing else."""
    story = Story()
    told = [(seconds, story.at(seconds, event)) for seconds, event, _ in lines]
    assert told == [(seconds, says) for seconds, _, says in lines]


@pytest.mark.parametrize(
    ("theirs", "calls_first"),
    [
        (Device(UserId("@z:hs"), "A"), True),
        (Device(UserId("@a:hs"), "Z"), False),
        (Device(UserId("@m:hs"), "Z"), True),
        (Device(UserId("@m:hs"), "A"), False),
        (Device(UserId("@\U0001f600:hs"), "A"), True),
    ],
)
def test_the_lower_calls_the_higher(theirs: Device, *, calls_first: bool) -> None:
    """The lower user id calls the higher, of one user's devices the lower device id."""
    assert bool(Story().at(0, listed(theirs))) is calls_first


def test_ids_are_ordered_as_in_javascript() -> None:
    """An emoji stands before U+FF5E in UTF-16, behind it by code points."""
    ours = replace(SETUP, ours=Device(UserId("@\U0001f600:hs"), "M", "S"))
    assert Story(ours).at(0, listed(Device(UserId("@\uff5e:hs"), "A"))) == ["offer S.1 to A"]


def test_a_join_beeps() -> None:
    """With the setting, a tone is heard when the first joins, and each time that somebody does."""
    story = Story(replace(SETUP, beep=True))
    story.at(0, listed(ANN, replace(ANN, device_id="AA")))
    assert story.connect(1, ANN, "L") == ["open L", "A joined", "beep"]
    assert story.connect(2, replace(ANN, device_id="AA"), "K") == ["open K", "AA joined", "beep"]


def test_push_to_talk_begins_muted() -> None:
    """In a push-to-talk call a device is muted until it says otherwise."""
    story = Story(replace(SETUP, push_to_talk=True))
    story.at(0, listed(ANN))
    assert story.connect(1, ANN, "L") == ["open L", "A joined", "A muted"]
    assert story.at(5, says(ANN, "L", Muted(audio=False))) == ["A unmuted"]


def test_an_encrypted_room_refuses_plain_messages() -> None:
    """In an encrypted room what comes in clear is left, which is noted once; what is encrypted is answered so."""
    story = Story(replace(SETUP, encrypted=True))
    story.at(0, listed(ANN))
    assert story.at(1, calls(ANN, "L")) == ["A refused"]
    assert story.at(1, calls(ANN, "K")) == []
    assert story.at(2, calls(ANN, "L", encrypted=True)) == ["answer L"]
    assert story.at(2, says(ANN, "L", HungUp())) == []
    story.at(3, AnswerMade(L, "v=0"))
    story.at(3, listed(ANN, ZOE))
    story.at(3, OfferMade(S1, "v=0"))
    assert [effect.encrypted for effect in story.effects if isinstance(effect, Send)] == [True, True]


def test_a_room_that_becomes_encrypted() -> None:
    """When a room becomes encrypted in a call, a leg that was made in clear is closed, and is made anew."""
    story = Story()
    story.at(0, listed(ANN, replace(ANN, device_id="AA")))
    story.connect(1, ANN, "L")
    story.connect(1, replace(ANN, device_id="AA"), "K", encrypted=True)
    story.session = replace(story.session, setup=replace(SETUP, encrypted=True))
    assert story.at(2, TIME) == ["hang up L 1 replaced", "close L ended", "A refused"]
    assert [effect.encrypted for effect in story.effects if isinstance(effect, Send)] == [False, True, True]
    assert story.at(3, calls(ANN, "N", encrypted=True)) == ["answer N"]


def test_answers_as_it_was_called() -> None:
    """A leg that began encrypted stays so in a plain room too; one that began in clear is answered in clear."""
    story = Story()
    story.at(0, listed(ANN, replace(ANN, device_id="AA"), ZOE))
    story.connect(1, ANN, "L", encrypted=True)
    story.connect(1, replace(ANN, device_id="AA"), "K")
    story.at(1, OfferMade(S1, "v=0"))
    assert story.at(2, says(ANN, "L", Muted(audio=True))) == []
    assert story.at(2, says(ANN, "L", Muted(audio=True), encrypted=True)) == ["A muted"]
    assert [(e.leg, e.encrypted) for e in story.effects if isinstance(e, Send)] == [
        ("L", True), ("K", False), ("S.1", None),
    ]  # fmt: skip


def test_expired_members_are_out() -> None:
    """A device whose member event has expired is lost, at that time."""
    story = Story()
    expires = Seen((member(ANN, expires_at=NOW + timedelta(seconds=40)),))
    story.at(0, expires)
    story.connect(1, ANN, "L")
    story.at(30, SoundHeard(L))
    assert story.wake_s == 40
    assert story.at(40, TIME) == ["hang up L 1 user_hangup", "close L lost", "A lost"]
    assert story.at(41, expires) == []
    assert story.at(70, TIME) == ["leave alone"]


# ---- alone, silent, too long


def test_leaves_when_nobody_came() -> None:
    """The bot leaves a call in which it is alone for the time of the settings."""
    story = Story()
    assert story.at(0, listed()) == []
    assert story.wake_s == 30
    assert story.at(29, TIME) == []
    assert story.at(30, TIME) == ["leave alone"]
    assert (story.wake, story.at(31, listed(ZOE))) == (None, [])


def test_a_listed_device_is_somebody_for_a_moment() -> None:
    """A device that was just listed has time to connect; one that never does is nobody."""
    story = Story()
    story.at(0, listed(ANN))
    assert story.wake_s == 20
    story.at(20, TIME)
    assert story.at(49, TIME) == ["offer S.1 to A"]
    assert story.at(50, TIME) == ["close S.1 ended", "leave alone"]


@pytest.mark.parametrize(
    "out",
    [
        [LegEnded(L), TIME],
        [says(ANN, "L", HungUp())],
        [listed()],
        [listed(ANN, declined=[ANN])],
    ],
)
def test_who_is_out_is_nobody(out: list[SessionEvent]) -> None:
    """A device that is lost, left or declined is nobody."""
    story = Story()
    story.at(0, listed(ANN))
    story.connect(1, ANN, "L")
    for event in out:
        story.at(100, event)
    assert story.at(129, TIME)[:1] != ["leave alone"]
    story.at(130, TIME)
    assert story.session.is_over


def test_is_not_alone_while_the_homeserver_is_away() -> None:
    """While the homeserver does not answer the bot stays, and when it does again everybody is called anew."""
    story = Story()
    cut = TimePassed(is_cut=True)
    story.at(0, listed(ZOE))
    story.at(1, OfferMade(S1, "v=0"))
    story.at(1, says(ZOE, "S.1", Answered("v=0")))
    story.at(1, LegConnected(S1))
    story.at(99, SoundHeard(S1))
    story.at(100, LegEnded(S1))
    assert story.at(102, cut) == ["hang up S.1 2 ice_failed", "close S.1 lost", "Z lost"]
    for n, at in enumerate((107, 127, 187, 500), start=2):
        assert story.at(at, cut) == [f"offer S.{n} to Z"] if n < 6 else []
        story.at(at, LegFailed(LegId(f"S.{n}"), "unreachable"))
    assert story.at(600, TIME) == ["offer S.6 to Z"]
    assert story.at(629, LegFailed(LegId("S.6"), "unreachable")) == ["close S.6 lost"]
    assert story.at(659, TIME)[-1:] == ["leave alone"]


def test_tells_silence_once() -> None:
    """When nobody was heard for the time of the settings, the room is told, once."""
    story = Story()
    story.at(0, listed(ANN))
    story.connect(1, ANN, "L")
    story.at(50, SoundHeard(L))
    assert story.wake_s == 110
    assert story.at(109, TIME) == []
    assert story.at(110, TIME) == ["tell silent"]
    story.at(200, SoundHeard(L))
    assert story.at(900, TIME) == []


def test_leaves_at_the_limit() -> None:
    """At the longest time of a recording the bot hangs up and leaves."""
    story = Story()
    story.at(0, listed(ANN))
    story.connect(1, ANN, "L")
    story.at(60, SoundHeard(L))
    assert story.at(6 * 3600, TIME) == ["hang up L 1 user_hangup", "close L ended", "leave limit"]


def test_after_a_crash_who_is_there_rejoins() -> None:
    """After a crash of the bot devices that were in rejoin, and what was told is not told again."""
    past = [CallEvent(Samples(0), who.user_id, what, who.device_id) for who, what in (
        (ANN, CallEventKind.JOINED), (ZOE, CallEventKind.DECLINED),
    )]  # fmt: skip
    story = Story(past=past)
    assert story.at(0, listed(ANN, ZOE, declined=[ZOE])) == []
    assert story.connect(1, ANN, "L") == ["open L", "A rejoined"]


# ---- bounds


def test_legs_are_bounded() -> None:
    """Beyond so many legs devices are refused; when one becomes free, a device that waits gets it."""
    devices = [replace(ZOE, user_id=UserId(f"@z{n:03}:hs"), device_id=f"Z{n}") for n in range(MOST_LEGS + 2)]
    story = Story()
    told = story.at(0, listed(*devices))
    assert [line.split()[-1] for line in told[MOST_LEGS:]] == ["refused", "refused"]
    assert story.at(1, calls(devices[-1], "L")) == ["reject L 0", "close L ended"]
    assert story.at(2, listed(*devices[1:]))[-1] == f"offer S.{MOST_LEGS + 1} to Z{MOST_LEGS}"


def test_one_user_does_not_take_all_legs() -> None:
    """The devices of one user have a share of all legs."""
    story = Story()
    told = story.at(0, listed(*(replace(ZOE, device_id=f"Z{n:02}") for n in range(MOST_LEGS)), PHONE))
    assert sum(line.startswith("offer") for line in told) == rules.MOST_OF_ONE_USER


@pytest.mark.parametrize(
    ("messages", "heeded"),
    [
        ([calls(ANN, f"K{n}") for n in range(50)], 30),
        ([one for n in range(50) for one in (listed(), listed(ANN), calls(ANN, f"K{n}"))], 30),
        ([calls(replace(ANN, device_id=f"A{n % 3}"), f"K{n}") for n in range(50)], 30),
        ([says(ANN, "L", Renegotiated(is_offer=True, sdp="v=0")) for _ in range(50)], 30),
        ([says(ANN, "L", Candidates((CANDIDATE,) * 10)) for _ in range(50)], 7),
        ([says(ANN, "L", Muted(audio=n % 2 == 0)) for n in range(1000)], 599),
    ],
)
def test_floods_are_bounded(messages: list[SessionEvent], heeded: int) -> None:
    """Only so many messages of one user are heeded in a minute, of however many devices, and whether these leave and
    come again or not."""
    story = Story()
    story.at(0, listed(ANN, *(replace(ANN, device_id=f"A{n}") for n in range(3))))
    story.connect(1, ANN, "L")
    told = [line for message in messages for line in story.at(2, message)]
    assert sum(line.split()[0] in {"answer", "take", "A"} for line in told if line != "A left") in {
        heeded, heeded - 1,
    }  # fmt: skip


def test_early_messages_are_bounded() -> None:
    """Only so many messages of devices that the state does not list are kept, and few of each."""
    story = Story()
    for user in range(50):
        for leg in range(50):
            story.at(0, calls(replace(ANN, user_id=UserId(f"@a{user}:hs")), f"L{leg}"))
    assert len(story.session.waiting) == rules.MOST_WAITING
    story.at(11, TIME)
    assert story.session.waiting == ()


def test_stems_are_bounded() -> None:
    """A client that joins and leaves without end makes no more stems after a while, and leaves some to others."""
    story = Story(stems=[ZOE.user_id] * 20)
    story.at(0, listed(ANN, ZOE))
    for n in range(96):
        assert story.connect(60 * n, ANN, f"L{n}")[:1] == [f"open L{n}"]
        story.at(60 * n, SoundHeard(LegId(f"L{n}")))
    assert "A refused" in story.at(60 * 96, calls(ANN, "K"))
    assert story.connect(60 * 96, ZOE, "Z")[:1] == ["open Z"]


# ---- MXVC

TAB, NEW_TAB = Device(ANN.user_id, "Chrome"), Device(ZOE.user_id, "Firefox")


def tells(device: Device, message: Message) -> SessionEvent:
    return says(device, "", message, setup=MXVC)


def test_mxvc_calls_who_is_there() -> None:
    """In a voice channel the bot offers to those who are there, a moment after it has joined, and waits for others."""
    story = Story(MXVC)
    assert story.at(0, listed(TAB)) == []
    assert story.wake_s == 1.5
    assert story.at(1.5, listed(TAB, NEW_TAB)) == ["offer leg.1 to Chrome"]
    assert story.at(2, OfferMade(LegId("leg.1"), "v=0")) == ["send offered leg.1 0"]
    assert story.at(3, tells(TAB, Answered("v=0"))) == ["take answer leg.1"]
    assert story.at(3, tells(TAB, Candidates((CANDIDATE,)))) == ["take 1 candidates leg.1"]
    assert story.at(4, tells(NEW_TAB, says(ANN, "", HungUp()).message)) == []
    assert story.at(4, calls(NEW_TAB, "", setup=MXVC)) == ["answer leg.2"]
    assert story.at(4, LegConnected(LegId("leg.1"))) == ["open leg.1", "Chrome joined"]


def test_mxvc_calls_who_does_not() -> None:
    """A page that did not know the bot when it joined makes no offer: the bot does."""
    story = Story(MXVC)
    story.at(0, listed())
    story.at(10, listed(TAB))
    assert story.at(15, TIME) == ["offer leg.1 to Chrome"]


def test_mxvc_offers_that_cross() -> None:
    """The page answers our offer though it made one; an offer that comes later is a new one."""
    story = Story(MXVC)
    story.at(0, listed(TAB))
    story.at(1.5, TIME)
    story.at(2, OfferMade(LegId("leg.1"), "v=0"))
    assert story.at(3, calls(TAB, "", setup=MXVC)) == []
    assert story.at(6, calls(TAB, "", setup=MXVC)) == ["close leg.1 left", "answer leg.3"]


def test_mxvc_is_dead_without_state_and_sound() -> None:
    """A device whose timestamp is old is lost, unless it is heard."""
    story = Story(MXVC)
    story.at(0, Seen((member(TAB, expires_at=NOW + timedelta(seconds=20)),)))
    story.at(0, calls(TAB, "", setup=MXVC))
    story.at(0, AnswerMade(LegId("leg.1"), "v=0"))
    story.at(1, LegConnected(LegId("leg.1")))
    story.at(15, SoundHeard(LegId("leg.1")))
    assert story.at(20, Seen(())) == []
    assert story.at(34, TIME) == []
    assert story.at(35, TIME) == ["close leg.1 lost", "Chrome lost"]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (Seen((), declined=frozenset({TAB.user_id})), ["close leg.1 ended", "Chrome declined"]),
        (Seen((), gone=frozenset({TAB.user_id})), ["close leg.1 left", "Chrome left"]),
    ],
)
def test_mxvc_is_not_heard_without_its_user(event: Seen, says: list[str]) -> None:
    """A device that is only heard, since its timestamp is old, ends with its user's consent, and with their leaving the
    room."""
    story = Story(MXVC)
    story.at(0, Seen((member(TAB, expires_at=NOW + timedelta(seconds=20)),)))
    story.at(0, calls(TAB, "", setup=MXVC))
    story.at(0, AnswerMade(LegId("leg.1"), "v=0"))
    story.at(1, LegConnected(LegId("leg.1")))
    story.at(15, SoundHeard(LegId("leg.1")))
    story.at(21, Seen(()))
    assert story.at(22, event) == says


def test_mxvc_names_that_collide() -> None:
    """Whoever takes a name over that is in use does not end the connection of the other."""
    other = replace(TAB, user_id=ZOE.user_id)
    story = Story(MXVC)
    story.at(0, listed(TAB))
    story.at(0, calls(TAB, "", setup=MXVC))
    story.at(0, AnswerMade(LegId("leg.1"), "v=0"))
    story.at(1, LegConnected(LegId("leg.1")))
    assert story.at(2, listed(other)) == []
    assert story.at(3, calls(other, "", setup=MXVC)) == ["answer leg.2"]
    assert story.at(4, listed()) == ["close leg.1 left", "Chrome left", "close leg.2 left"]


def test_mxvc_is_refused_in_encrypted_rooms() -> None:
    """The channels of MXVC are not encrypted: in an encrypted room nobody is called."""
    story = Story(replace(MXVC, encrypted=True))
    assert story.at(0, listed(TAB)) == ["Chrome refused"]
    assert story.at(5, calls(TAB, "", setup=MXVC)) == []
