"""The rule of retention."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.recording.retention import Plan, Policy, plan
from storage.records import Recording, RecordingId, RecordingState, Retention, RuleKind
from tests.factories import NOW, a_recording

DAY = timedelta(days=1)
LIVE, FINISHING, COMPLETE = RecordingState.LIVE, RecordingState.FINISHING, RecordingState.COMPLETE
EMPTY, DELETED = RecordingState.EMPTY, RecordingState.DELETED


def aged(days: float, **fields: Any) -> Recording:
    """Return a recording that began so many days ago; the older, the lower its id."""
    began = NOW - days * DAY
    return a_recording(at=began, id=RecordingId(1000 - int(days * 2)), ended_at=began, **fields)


def policy(
    days: int | None = None,
    *,
    episodes: int | None = None,
    max_days: int | None = None,
    warn_days: int = 7,
    reachable: bool = True,
) -> Policy:
    return Policy(Retention(days, episodes), max_days, warn_days, reachable)


def ids(of: Any) -> list[int]:
    return [getattr(each, "recording", each).id for each in of]


def test_a_room_is_told_before_a_recording_is_too_old() -> None:
    """A recording is named as soon as it has no more than the time of notice left, with the time at which it goes."""
    young, due, old = aged(22), aged(23), aged(90)
    found = plan([old, young, due], policy(30), NOW)
    assert ids(found.tell) == ids([due, old])
    assert {each.goes_at for each in found.tell} == {NOW + 7 * DAY}
    assert {(each.rule.kind, each.rule.most) for each in found.tell} == {(RuleKind.DAYS, 30)}
    assert (found.go, found.told, found.spared) == ((), (), ())


@pytest.mark.parametrize(("told", "goes"), [(6.9, False), (7, True), (300, True), (-0.1, False)])
def test_what_was_told_goes_after_the_time_of_notice(told: float, goes: bool) -> None:
    """A recording goes when its room has known for `warn_days`. A telling that lies ahead counts for nothing."""
    told_at = NOW - told * DAY
    found = plan([aged(90, expiry_told_at=told_at, expiry_tried_at=told_at)], policy(30), NOW)
    assert bool(found.go) == goes
    assert bool(found.tell) == (told < 0)


def test_without_a_time_of_notice_it_goes_at_once() -> None:
    """With `warn_days: 0` nothing is told first, and nothing goes before its time."""
    found = plan([aged(30), aged(29.9)], policy(30, warn_days=0), NOW)
    assert (len(found.go), found.tell) == (1, ())
    assert ids(plan([aged(1), aged(2)], policy(episodes=1, warn_days=0), NOW).go) == ids([aged(2)])


def test_kept_recordings_count_and_stay() -> None:
    """A kept recording takes the place of an episode; one that is older stays beside them."""
    kept_new, new, older, kept_old = aged(1, kept=True), aged(2), aged(3), aged(4, kept=True)
    found = plan([kept_new, new, older, kept_old], policy(episodes=2, max_days=1, warn_days=0), NOW)
    assert ids(found.go) == ids([new, older])
    assert [each.rule.kind for each in found.go] == [RuleKind.MAX_DAYS, RuleKind.EPISODES]  # the room's own first


def test_only_episodes_are_counted() -> None:
    """Neither live nor unfinished nor empty recordings take the place of an episode; an empty one goes with its age."""
    live, finishing, empty = aged(1, state=LIVE), aged(2, state=FINISHING), aged(3, state=EMPTY)
    last, old_empty, gone = aged(4), aged(5, state=EMPTY), aged(6, state=DELETED)
    found = plan([live, finishing, empty, last, old_empty, gone], policy(episodes=1, warn_days=0), NOW)
    assert ids(found.go) == ids([old_empty])


def test_the_age_counts_from_the_end_and_never_from_the_future() -> None:
    """A recording that ended later than it began is as old as its end; one that ends tomorrow is new."""
    long, ahead = aged(40), aged(-1)
    long = replace(long, ended_at=NOW - 20 * DAY)
    assert plan([long, ahead], policy(30, warn_days=0), NOW) == Plan()


def test_a_longer_rule_spares_what_was_told() -> None:
    """A recording that no rule ends any more, or that is kept, is to be told anew."""
    told = {"expiry_told_at": NOW - DAY, "expiry_tried_at": NOW - DAY}
    found = plan([aged(30, **told), aged(90, kept=True, **told)], policy(60), NOW)
    assert ids(found.spared) == ids([aged(30), aged(90)])
    assert (found.go, found.told, found.tell) == ((), (), ())


def test_a_shorter_rule_tells_what_it_ends_besides() -> None:
    """A recording that was told keeps its day, and those that a shorter rule ends too are told."""
    told = aged(26, expiry_told_at=NOW - 3 * DAY, expiry_tried_at=NOW - 3 * DAY)
    found = plan([told, aged(10)], policy(5), NOW)
    assert [each.goes_at for each in found.told] == [NOW + 4 * DAY]
    assert ids(found.tell) == ids([aged(10)])


def test_a_muted_bot_deletes_by_the_limit_alone() -> None:
    """A room that could not be told for the time of notice loses what is over `max_days`, and nothing else."""
    tried = {"expiry_tried_at": NOW - 7 * DAY}
    found = plan([aged(40, **tried), aged(90, **tried)], policy(30, max_days=60), NOW)
    assert ids(found.go) == ids([aged(90)])
    assert found.go[0].rule.kind is RuleKind.MAX_DAYS
    assert ids(found.tell) == ids([aged(40)])


def test_a_room_that_the_bot_has_left_keeps_its_promise() -> None:
    """Nobody there can be told, so both rules hold once the time of notice has passed."""
    fresh, tried = aged(40), aged(41, expiry_tried_at=NOW - 7 * DAY)
    waits = aged(42, expiry_tried_at=NOW - DAY)
    found = plan([fresh, tried, waits], policy(30, reachable=False), NOW)
    assert (ids(found.go), ids(found.told), ids(found.tell)) == (ids([tried]), ids([waits]), ids([fresh]))


# ---- any order of looks, rules, clocks, keeps and mutes


@dataclass
class Archive:
    """A podcast under retention, and what was done to it."""

    now: datetime = NOW
    rule: Policy = field(default_factory=policy)
    recordings: list[Recording] = field(default_factory=list)
    muted: bool = False
    told: dict[int, datetime] = field(default_factory=dict)  # by id: the latest telling, by the clock of then
    tried: dict[int, datetime] = field(default_factory=dict)

    def look(self) -> None:
        found = plan(self.recordings, self.rule, self.now)
        for each in found.go:
            self.check(each.recording, each.rule.kind)
        for each in (*found.tell, *found.told):
            assert not each.recording.kept
            assert each.goes_at > self.now
        gone = set(ids(found.go))
        marks = {each.recording.id for each in found.tell}
        spared = set(ids(found.spared))
        after = []
        for recording in self.recordings:
            number = recording.id
            if number in gone:
                continue
            if number in spared:
                self.told.pop(number, None)
                self.tried.pop(number, None)
                recording = replace(recording, expiry_told_at=None, expiry_tried_at=None)
            if number in marks:
                if recording.expiry_tried_at is None or recording.expiry_tried_at > self.now:
                    self.tried[number] = self.now
                    recording = replace(recording, expiry_tried_at=self.now, expiry_told_at=None)
                if self.rule.reachable and not self.muted:
                    self.told[number] = self.now
                    recording = replace(recording, expiry_told_at=self.now)
            after.append(recording)
        self.recordings = after

    def check(self, recording: Recording, kind: RuleKind) -> None:
        assert not recording.kept
        assert recording.state not in (LIVE, FINISHING, DELETED)
        notice = self.rule.notice
        if notice:
            by_limit = kind is RuleKind.MAX_DAYS or not self.rule.reachable
            since = (self.tried if by_limit else self.told)[recording.id]
            assert since + notice <= self.now, "not told in time"
        if kind is RuleKind.EPISODES:
            most = self.rule.retention.episodes
            newer = [each for each in self.recordings if each.started_at > recording.started_at]
            assert most is not None
            assert len([each for each in newer if each.state.may_have_episode]) >= most


STEPS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1, 3, 7, 30, 366, -2, -40])),
    st.tuples(st.just("days"), st.sampled_from([1, 5, 30, 400])),
    st.tuples(st.just("episodes"), st.integers(1, 3)),
    st.tuples(st.just("forever"), st.none()),
    st.tuples(st.just("limit"), st.sampled_from([None, 10, 60])),
    st.tuples(st.just("warn"), st.sampled_from([0, 1, 7])),
    st.tuples(st.just("reach"), st.booleans()),
    st.tuples(st.just("mute"), st.booleans()),
    st.tuples(st.just("keep"), st.integers(0, 5)),
    st.tuples(st.just("record"), st.sampled_from([COMPLETE, COMPLETE, EMPTY, LIVE, FINISHING])),
)


RULES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "days": lambda value: {"retention": Retention(days=value)},
    "episodes": lambda value: {"retention": Retention(episodes=value)},
    "forever": lambda _: {"retention": Retention()},
    "limit": lambda value: {"max_days": value},
    "warn": lambda value: {"warn_days": value},
    "reach": lambda value: {"reachable": value},
}


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_nothing_goes_untold_kept_or_unfinished(steps: list[tuple[str, Any]]) -> None:
    """Whatever rules, clocks and people do, a recording goes only after its room knew, or could not be told, for the
    time of notice; kept and unfinished ones never do, and the newest N stay."""
    archive = Archive()
    for number, (what, value) in enumerate(steps, start=1):
        if what in RULES:
            archive.rule = replace(archive.rule, **RULES[what](value))
        elif what == "pass":
            archive.now += value * DAY
        elif what == "mute":
            archive.muted = value
        elif what == "keep":
            archive.recordings[value : value + 1] = [
                replace(chosen, kept=not chosen.kept, expiry_told_at=None, expiry_tried_at=None)
                for chosen in archive.recordings[value : value + 1]
            ]
        else:
            began = archive.now + number * timedelta(seconds=1)
            archive.recordings.append(a_recording(at=began, id=RecordingId(number), state=value))
        archive.look()
