"""Retention: which recordings of a podcast have to go, by which rule, and which their room must be told first. Pure.

- A room decides on days or on a number of episodes, `retention.max_days` on the longest age anywhere. What a moderator
  or a speaker keeps outlives both, and counts among the episodes. Live and unfinished recordings neither go nor count.
- A recording goes `warn_days` after its room was told, at the earliest; that is also how long the shortest rule lasts.
  With 0 days nobody is told first.
- A room that can't be told (the bot may not speak there) loses nothing by its own rule. The administrator's limit, and
  both rules in a room that the bot has left, hold all the same: the first try counts as the telling.
- A recording that no rule ends any more is spared: if one does later, the room is told anew. So is everything that was
  told at a time that still lies ahead: the clock was wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.records import Recording, RecordingId, RecordingState, Retention, RetentionRule, RuleKind


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that hold for a podcast. `reachable`: the bot is in its room."""

    retention: Retention
    max_days: int | None
    warn_days: int
    reachable: bool = True

    @property
    def notice(self) -> timedelta:
        return timedelta(days=self.warn_days)


@dataclass(frozen=True, slots=True)
class Expiry:
    """A recording that a rule ends. `goes_at`: the earliest time, for one that is not told yet if it is told now."""

    recording: Recording
    rule: RetentionRule
    goes_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The findings of a look at a podcast's recordings."""

    go: tuple[Expiry, ...] = ()  # now
    tell: tuple[Expiry, ...] = ()  # the room must be told, or asked again to hear it
    told: tuple[Expiry, ...] = ()  # told, and not due yet
    spared: tuple[Recording, ...] = ()  # told, and no rule ends them any more

    @property
    def coming(self) -> tuple[Expiry, ...]:
        """All that a rule ends, the newest recording first."""
        return tuple(sorted((*self.go, *self.told, *self.tell), key=lambda each: _age(each.recording), reverse=True))


def _age(recording: Recording) -> tuple[datetime, RecordingId]:
    return recording.started_at, recording.id


def plan(recordings: Sequence[Recording], policy: Policy, now: datetime) -> Plan:
    """Decide on the recordings of a podcast, given in any order."""
    go, tell, told, spared = list[Expiry](), list[Expiry](), list[Expiry](), list[Recording]()
    newer = 0  # episodes
    for recording in sorted(recordings, key=_age, reverse=True):
        if recording.state.is_open or recording.state is RecordingState.DELETED:
            continue
        ends = () if recording.kept else _ends(recording, newer, policy, now)
        newer += recording.state.may_have_episode
        if not ends:
            if recording.expiry_told_at or recording.expiry_tried_at:
                spared.append(recording)
            continue
        expiries = (_expiry(recording, rule, at, policy, now) for rule, at in ends)
        expiry = min(expiries, key=lambda each: max(each.goes_at, now))
        if expiry.goes_at <= now:
            go.append(expiry)
        else:
            (tell if _since(recording, policy, now, owner=False) is None else told).append(expiry)
    return Plan(tuple(go), tuple(tell), tuple(told), tuple(spared))


def _ends(
    recording: Recording, newer: int, policy: Policy, now: datetime
) -> tuple[tuple[RetentionRule, datetime], ...]:
    """Return the rules that end a recording within the time of notice, the room's first, and when each does. `newer`:
    the number of newer episodes."""
    days, episodes, max_days = policy.retention.days, policy.retention.episodes, policy.max_days
    over = min(max(recording.ended_at or recording.started_at, recording.started_at), now)
    ends = []
    if days is not None:
        ends.append((RetentionRule(RuleKind.DAYS, days), over + timedelta(days=days)))
    if episodes is not None and newer >= episodes:
        ends.append((RetentionRule(RuleKind.EPISODES, episodes), now))
    if max_days is not None:
        ends.append((RetentionRule(RuleKind.MAX_DAYS, max_days), over + timedelta(days=max_days)))
    return tuple((rule, at) for rule, at in ends if at <= now + policy.notice)


def _expiry(recording: Recording, rule: RetentionRule, ends_at: datetime, policy: Policy, now: datetime) -> Expiry:
    if not policy.warn_days:
        return Expiry(recording, rule, ends_at)
    since = _since(recording, policy, now, owner=rule.kind is RuleKind.MAX_DAYS)
    return Expiry(recording, rule, max(ends_at, (since or now) + policy.notice))


def _since(recording: Recording, policy: Policy, now: datetime, *, owner: bool) -> datetime | None:
    """Return since when the time of notice runs; None: it does not yet. `owner`: for the administrator's limit."""
    told = recording.expiry_tried_at if owner or not policy.reachable else recording.expiry_told_at
    return told if told is not None and told <= now else None
