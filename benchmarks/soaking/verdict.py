"""Comparison of what was broadcast with what Aircheck shows by its contract. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.soaking.crowd import Truth
from benchmarks.soaking.ways import FATES, WHOLE

SAID_BEFORE = 3  # in each room: the welcome, the answer to `publish public`, and the notice that it is public now
STORED, REDACTED, MISSING, DUPLICATE = "stored", "redacted", "missing", "duplicate"


@dataclass
class Verdict:
    """Counts of faults, and a sentence for each count that is not 0."""

    chunks: int = 0
    lost: int = 0
    wrong_states: int = 0
    wrong_notices: int = 0
    wrong_episodes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems


def judge(truths: Iterable[Truth], recordings: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge by `aircheck recordings --json` alone."""
    verdict = Verdict()
    truths = list(truths)
    by_id = {recording["id"]: recording for recording in recordings}
    for truth in truths:
        _judge_one(verdict, truth, by_id.get(truth.broadcast_id))
    if strange := set(by_id) - {truth.broadcast_id for truth in truths}:
        verdict.wrong_states += len(strange)
        verdict.problems.append(f"{len(strange)} recordings of what nobody broadcast")
    return verdict


def _judge_one(verdict: Verdict, truth: Truth, recording: Mapping[str, Any] | None) -> None:
    fate = FATES[truth.way]
    name = f"{truth.way} {truth.broadcast_id}"
    kept = set(truth.sent) - truth.taken_back if fate.episode else set()
    verdict.chunks += len(kept)
    if recording is None and not fate.episode:
        return  # redacted before the bot heard of it
    if recording is None:
        verdict.lost += len(kept)
        verdict.wrong_states += 1
        verdict.problems.append(f"{name}: not recorded")
        return
    chunks = recording["chunks"]
    stored = Counter(chunk["sha256"] for chunk in chunks if chunk["state"] == STORED)
    if lost := [truth.sent[one] for one in kept if not stored[one]]:
        verdict.lost += len(lost)
        verdict.problems.append(f"{name}: chunks {sorted(lost)} are not stored")
    found = (recording["state"], recording["ended_by"], recording["episode"] is not None)
    if found != (fate.state, fate.ended_by, fate.episode):
        verdict.wrong_states += 1
        verdict.problems.append(f"{name}: is {found}, should be {(fate.state, fate.ended_by, fate.episode)}")
    others = Counter(chunk["state"] for chunk in chunks if chunk["state"] not in (STORED, DUPLICATE))
    twice = [one for one, times in stored.items() if times > 1 or one not in kept]
    # An event that was redacted before the bot heard it has no number left: that number is missing.
    if twice or set(others) - {REDACTED, MISSING} or others.total() != len(truth.taken_back):
        verdict.wrong_states += 1
        verdict.problems.append(f"{name}: {len(twice)} chunks are heard that should not be, and {dict(others)} listed")
    if len(recording["gaps"]) != len(truth.taken_back):
        verdict.wrong_states += 1
        verdict.problems.append(f"{name}: gaps {recording['gaps']}")


def judge_notices(verdict: Verdict, truth: Truth, notices: Sequence[Mapping[str, Any]]) -> None:
    """Check for exactly one announcement of each episode, and no other notice twice."""
    announcements = sum(_replied_to(notice) == truth.broadcast_id for notice in notices)
    others = len(notices) - announcements
    if (announcements, others) != (int(FATES[truth.way].episode), SAID_BEFORE):
        verdict.wrong_notices += 1
        verdict.problems.append(
            f"{truth.way} {truth.broadcast_id}: {announcements} announcements, {others} other notices in its room"
        )


def told_too_early(truth: Truth, notices: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an episode that became complete was announced with something missing. Readable only in rooms that
    are not encrypted. No fault, as nobody can know what is still to come, but the fewer the better."""
    announced = [notice for notice in notices if _replied_to(notice) == truth.broadcast_id]
    return FATES[truth.way] is WHOLE and any("missing" in notice["content"].get("body", "") for notice in announced)


def _replied_to(notice: Mapping[str, Any]) -> Any:
    relation = notice["content"].get("m.relates_to", {})
    return relation.get("m.in_reply_to", {}).get("event_id")


def finish_seconds(truth: Truth, quiet_from: float, made_at: float) -> float:
    """Return the time from the last word, or the end of the last fault, to the episode as it is now; at least 0."""
    return max(0.0, made_at - max(truth.last_word_at, quiet_from))


def percentile(values: Sequence[float], part: float) -> float:
    """Return a percentile by the nearest rank; 0 of an empty list."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0
