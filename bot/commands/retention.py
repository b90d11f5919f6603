"""`retention [N days|N episodes|forever]`, `keep RECORDING`, `unkeep RECORDING`

A new rule deletes nothing by itself: it orders a look at the podcast (`bot.worker.expiring`), which tells the room
first. What an earlier rule had told and the new one spares is told anew if its time comes.
"""

from dataclasses import replace
from functools import partial

from bot import orders, words
from bot.commands.context import Action, Context, Verb, always
from bot.commands.one_recording import changeable, read_name
from bot.commands.parse import RecordingName, Words
from bot.commands.replies import general
from bot.commands.replies import retention as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.feeds.shown import title_of
from bot.intake import expiry
from bot.language import N_, spoken_moment
from bot.recording.retention import Plan
from bot.settings import MOST_DAYS
from storage import archive, heirs, jobs, rooms
from storage.records import Retention

MOST_EPISODES = 100_000
DIGITS = 18
"""The longest number that is read; a longer one is out of bounds."""
UNITS = {
    "day": ("days", MOST_DAYS),
    "days": ("days", MOST_DAYS),
    "episode": ("episodes", MOST_EPISODES),
    "episodes": ("episodes", MOST_EPISODES),
}
"""The units of a rule as people write them, each with its name and the highest number."""


async def _tell(context: Context) -> str:
    plan = await _plan(context)
    kept = await archive.count_kept(context.db, await heirs.line(context.db, context.room.room_id))
    parts = [words.stays(context.room.retention, context.settings.retention.max_days)]
    parts += [replies.kept_count(kept)] if kept else []
    parts += [_coming(context, plan)] if plan.go or plan.tell or plan.told else []
    return "\n".join(parts)


async def _set(context: Context, *, retention: Retention) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    before, limits = context.room.retention, context.settings.retention
    told = words.stays(retention, limits.max_days)
    if retention == before:
        answer = replies.unchanged(told)
    else:
        await rooms.save_room(context.db, replace(context.room, retention=retention, changed_at=context.now))
        await context.note("retention", str(before), str(retention))
        answer = replies.changed(context.asker.name, told, warn_days=limits.warn_days)
    plan = await _plan(context)
    await expiry.spare(context.db, plan.spared)
    await jobs.add(context.db, orders.Expire(context.room.room_id).job(), context.now)
    return "\n".join([answer, _coming(context, plan)])


async def _plan(context: Context) -> Plan:
    look = await expiry.look(context.db, context.room.room_id, context.settings.retention, context.now)
    return look.plan if look else Plan()


def _coming(context: Context, plan: Plan) -> str:
    zone, coming = context.settings.feeds.zone, plan.coming
    lines = [
        words.expiring(
            each.recording.code,
            title_of(each.recording, zone),
            spoken_moment(max(each.goes_at, context.now), zone),
            each.rule,
        )
        for each in coming[: words.MOST_LISTED]
    ]
    at_once = not context.settings.retention.warn_days
    return replies.coming(lines, context.prefix, unlisted=len(coming) - len(lines), at_once=at_once)


async def _refuse(context: Context, *, what: str, most: int) -> str:
    return replies.out_of_bounds(what, most, context.prefix)


async def _keep(context: Context, *, name: RecordingName, kept: bool) -> str:
    recording = await changeable(context, name)
    if isinstance(recording, str):
        return recording
    if recording.kept == kept:
        return replies.kept_already(recording.code) if kept else replies.not_kept(recording.code)
    await archive.save_recording(context.db, replace(recording, kept=kept, expiry_told_at=None, expiry_tried_at=None))
    await context.note("keep" if kept else "unkeep", None, None, subject=recording.code)
    if kept:
        return replies.kept(recording.code, context.asker.name)
    await jobs.add(context.db, orders.Expire(context.room.room_id).job(), context.now)
    stays = words.stays(context.room.retention, context.settings.retention.max_days)
    return replies.no_longer_kept(recording.code, context.asker.name, stays)


def _read(given: Words) -> Action | None:
    match [word.lower() for word in given]:
        case []:
            return _tell
        case ["forever"]:
            return partial(_set, retention=Retention())
        case [number, unit] if unit in UNITS and number.lstrip("-").isascii() and number.lstrip("-").isdigit():
            what, most = UNITS[unit]
            if len(number) > DIGITS or not 1 <= int(number) <= most:
                return partial(_refuse, what=what, most=most)
            return partial(_set, retention=Retention(**{what: int(number)}))
        case _:
            return None


VERBS = (
    Verb(
        "retention",
        (
            Form(
                "retention N days|N episodes|forever",
                Who.MODERATORS,
                N_("decides how long recordings stay; the room is told before one goes"),
                "retention 30 days",
                Group.RECORDING,
            ),
            Form(
                "retention",
                Who.EVERYBODY,
                N_("tells how long recordings stay, and what goes next"),
                "retention",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=bool,
    ),
    Verb(
        "keep",
        (
            Form(
                "keep RECORDING",
                Who.BROADCASTER_OR_MODERATORS,
                N_("keeps a recording for good, whatever retention says"),
                "keep last",
                Group.ONE_RECORDING,
            ),
        ),
        partial(read_name, partial(_keep, kept=True)),
        changes=always,
    ),
    Verb(
        "unkeep",
        (
            Form(
                "unkeep RECORDING",
                Who.BROADCASTER_OR_MODERATORS,
                N_("lets retention end a recording again"),
                "unkeep last",
                Group.ONE_RECORDING,
            ),
        ),
        partial(read_name, partial(_keep, kept=False)),
        changes=always,
    ),
)
