"""`settings` and `log [n] [page]`: what a room has decided, and who changed what. They change nothing."""

from functools import partial

from bot.commands.context import Action, Context, Verb, never
from bot.commands.paging import Page, page_of
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import policies as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.replies.policies import Policy
from bot.disclosure import SWITCHES, WALKIE
from bot.intake.naming import name_of, names_of
from bot.intake.walkie import is_on as is_walkie
from bot.language import N_, spoken_moment
from storage import archive, changes, heirs
from storage.records import Change, Recorded, Retention, UserId

LOG_COUNT = 10
LOG_MOST = 50


async def _settings(context: Context) -> str:
    line = await heirs.line(context.db, context.room.room_id)
    set_by = await decisions(context)
    lines = [
        replies.policy(policy, await setter(context, set_by.get(policy.what))) for policy in await _policies(context)
    ]
    taken = sum([await archive.bytes_of_room(context.db, room_id) for room_id in line])
    return "\n".join([*lines, replies.space(taken, context.settings.storage.max_bytes_per_room)])


async def _policies(context: Context) -> list[Policy]:
    """Return the policies of the room, each under the command that changes it."""
    room, settings = context.room, context.settings
    walkie = await is_walkie(context.db, room.room_id)
    speakers = None if room.speakers is None else await names_of(context.db, room.room_id, room.speakers)
    return [
        *(
            Policy(
                SWITCHES[kind],
                replies.switch(kind in room.switched_on, waits=kind in room.awaits_notice),
                default=kind not in room.switched_on,
            )
            for kind in Recorded
        ),
        Policy("publish", "public" if context.podcast.publishes else "private", default=not context.podcast.publishes),
        Policy("announce", room.announce, default=room.announce == "quiet"),
        Policy("language", room.language or settings.feeds.language, default=room.language is None),
        Policy(
            "retention",
            replies.retention(room.retention, settings.retention.max_days),
            default=room.retention == Retention(),
        ),
        Policy("review", replies.switch(room.review), default=not room.review),
        Policy("replay", replies.switch(room.replay), default=not room.replay),
        Policy("studio", replies.switch(room.studio), default=room.studio),
        Policy("studio events", replies.switch(room.studio_events), default=not room.studio_events),
        Policy("speakers", replies.speakers(speakers), default=speakers is None),
        Policy(WALKIE, replies.switch(walkie), default=not walkie),
        *replies.podcast(room.podcast, own_cover=room.own_cover is not None),
    ]


async def _log(context: Context, *, page: Page) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    line = await heirs.line(context.db, context.room.room_id)
    newest = await changes.of_rooms(context.db, line, page.lines + 1, page.offset)
    lines = [await _told(context, change) for change in newest[: page.lines]]
    if not lines:
        return replies.NO_CHANGES if page.number == 1 else general.NO_SUCH_PAGE
    more = [general.older(context.prefix, "log", page.next)] if len(newest) > page.lines else []
    return "\n".join([*lines, *more])


async def _told(context: Context, change: Change) -> str:
    subject = change.subject
    if subject is not None and subject.startswith("@"):
        subject = await name_of(context.db, context.room.room_id, UserId(subject))
    return replies.change(change, await setter(context, change), subject)


async def decisions(context: Context) -> dict[str, Change]:
    """Return the change that gave each policy of the podcast its present value: the newest in the present room, else in
    the rooms before it, the later ones first. A policy that a room has taken over was decided where it comes from."""
    found: dict[str, Change] = {}
    *before, present = await heirs.line(context.db, context.room.room_id)
    for room_id in (*before, present):
        newest = await changes.newest_of_each(context.db, room_id)
        by_upgrade = {what for what in SWITCHES.values() if what in newest and newest[what].by is None}
        if room_id != present and by_upgrade:
            people = await changes.newest_of_each(context.db, room_id, by_rules=False)
            newest = {what: change for what, change in newest.items() if what not in by_upgrade}
            newest |= {what: change for what, change in people.items() if what in by_upgrade}
        for what, change in newest.items():
            taken_over = change.by is None and what in found and found[what].after == change.after
            if not taken_over:
                found[what] = change
    return found


async def setter(context: Context, change: Change | None) -> str | None:
    """Return who made a change and when; None where nothing is known of it."""
    if change is None:
        return None
    who = replies.by_rule() if change.by is None else await name_of(context.db, context.room.room_id, change.by)
    return replies.setter(who, spoken_moment(change.at, context.settings.feeds.zone))


def _read_settings(words: Words) -> Action | None:
    return None if words else _settings


def _read_log(words: Words) -> Action | None:
    page = page_of(words, LOG_COUNT, LOG_MOST)
    return partial(_log, page=page) if page else None


VERBS = (
    Verb(
        "settings",
        (
            Form(
                "settings",
                Who.EVERYBODY,
                N_("tells all that is decided for this room, who set it, and when"),
                "settings",
                Group.ROOM,
            ),
        ),
        _read_settings,
        changes=never,
    ),
    Verb(
        "log",
        (
            Form("log [n]", Who.MODERATORS, N_("tells who changed what, the newest first"), "log 20", Group.ROOM),
            Form("log N PAGE", Who.MODERATORS, N_("tells what was changed before that"), "log 20 2", Group.ROOM),
        ),
        _read_log,
        changes=never,
    ),
)
