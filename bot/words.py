"""Notices that the bot sends unasked; answers to commands are in `bot.commands.replies`. Pure; plain, short English."""

import re

# Push rule .m.rule.roomnotif looks for `@room` in the plain body; a notice of the bot must not notify a whole room.
_ROOM_PING = re.compile(r"[@＠]+(?=room)", re.IGNORECASE)


def without_ping(body: str) -> str:
    """Return the text without a mark that would notify everybody in the room."""
    return _ROOM_PING.sub("", body)


CONTINUES_ELSEWHERE = (
    "This room was upgraded, and its podcast continues in the room that replaced it: I record nothing new here, and "
    "take commands there."
)
SHOWN_CHARACTERS = 100
"""The longest part of a room's name that a notice shows."""

PODCAST_IS_BACK = (
    "This room's podcast continued in another room, which this room never named as its replacement. It is back here, "
    "under its old addresses. A moderator can say `record on` to record here again."
)


ASKED_TOO_MUCH = (
    "You have used up your share of my answers: I will not answer you until you have sent no commands for a while."
)


def continues_podcast(*, public: bool) -> str:
    """Tell a room that replaces an upgraded one whose podcast it continues, and who can hear it."""
    who = "it is public: anybody can hear what begins here" if public else "it is for the members of this room only"
    return f"This room continues the podcast of the room that it replaces, under the same addresses; {who}."


def welcome(*, records: bool, direct: bool, public: bool, continues: bool, prefix: str) -> str:
    """Tell a room that the bot joined what is recorded, for whom, and how to stop it."""
    if direct:
        return f"Hello. I record nothing here. Say `{prefix} help` to see what I can do."
    if continues:
        what = "From now on I record its voice broadcasts" if records else "I record nothing here yet"
        switch = f"`{prefix} record off`" if records else f"`{prefix} record on`"
        other = f"`{prefix} publish private`" if public else f"`{prefix} publish public`"
        return (
            f"Hello, I am Aircheck. {continues_podcast(public=public)} {what}. A moderator can change this with "
            f"{switch} and {other}. Say `{prefix} feed` to get the podcast's address."
        )
    if records and public:
        return (
            "Hello, I am Aircheck. From now on I record the voice broadcasts of this room for its public podcast, "
            f"which anybody can hear. A moderator can stop this with `{prefix} record off` and make the podcast "
            f"private with `{prefix} publish private`. Say `{prefix} feed` to get its address."
        )
    if records:
        return (
            "Hello, I am Aircheck. From now on I record the voice broadcasts of this room and publish them as a "
            f"podcast for its members only. A moderator can stop this with `{prefix} record off` and make the "
            f"podcast public with `{prefix} publish public`. Say `{prefix} feed` to get your own address. "
            f"`{prefix} backfill` finds broadcasts from before I joined."
        )
    return (
        f"Hello, I am Aircheck. I record nothing here yet: a moderator can say `{prefix} record on`, and I will keep "
        "this room's voice broadcasts and publish them as a podcast for its members."
    )


TOLD = {
    "empty": "There is nothing to hear in this broadcast: no sound arrived, or none that can be played. If some still "
    "arrives, it is published as usual.",
    "limit": "This broadcast is longer than I may record. The rest of it is not kept.",
    "room_full": "This room's recordings take all the space they may have. Nothing new is kept until some are deleted.",
}
"""Notices about one recording."""


def published(*, title: str, length: str, whole: str, address: str | None, prefix: str) -> str:
    """Announce a recording: title, length, complete or what is missing, and where to hear it."""
    where = f": {address}" if address else f". Say `{prefix} feed` to get your own address."
    return f"{title} ({length}, {whole}) is ready{where}"


def direct_address(*, room_name: str, feed: str, page: str, prefix: str) -> str:
    """Tell a listener their personal address, in the direct chat only."""
    return (
        f"Your own podcast address for {' '.join(room_name.split())[:SHOWN_CHARACTERS]}:\n{feed}\n\n"
        f"Put it into your podcast app; the same recordings are on {page}\n"
        "It is yours alone and works while you are a member of the room. Please don't pass it on; "
        f"`{prefix} feed renew` in the room gives you a new one and ends this one."
    )


NO_SPACES = "I record rooms, and a space has nothing to record. Please invite me to the rooms in it."
NOT_TOLD = (
    "I can't search yet: my notice of what I record is not in this room. A moderator can say `record on`, then "
    "`backfill` again."
)
HISTORY_REFUSED = "The homeserver does not let me read this room's history."


def backfilled(*, found: int, complete: int, incomplete: int, empty: int, known: int) -> str:
    """Report what a search of a room's history found."""
    if not found:
        return "I found no past broadcasts in this room's history."
    parts = [f"{complete} recorded whole"] if complete else []
    parts += [f"{incomplete} incomplete (`status` and their pages say what is missing)"] if incomplete else []
    parts += [f"{empty} without sound"] if empty else []
    parts += [f"{known} already there"] if known else []
    return f"I found {found} past broadcast{'s' if found > 1 else ''}: {', '.join(parts)}."
