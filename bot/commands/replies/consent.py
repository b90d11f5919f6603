"""Answers to the commands of `bot.commands.consent`. Pure."""

from collections.abc import Sequence

from bot.commands.members import MOST_PARTS, Unclear
from bot.feeds.shown import shown
from bot.language import N_, _, plural
from storage.records import RoomId, UserId


def out(prefix: str, *, everywhere: bool, closed: int, left: int) -> str:
    """Confirm an `optout`. `closed`, `left`: recordings that were running, and end or go on without the member; their
    codes are told in the direct chat only."""
    told = [_(NOT_EVERYWHERE if everywhere else NOT_HERE), _("What was recorded before stays until you delete it.")]
    if closed:
        told.append(
            plural(
                "Your recording that was running is closed: our direct chat tells you how to delete it.",
                "Your {count} recordings that were running are closed: our direct chat tells you how to delete them.",
                closed,
            )
        )
    if left:
        told.append(
            plural(
                "A recording that others speak in goes on without you: our direct chat tells you how to take your part "
                "out.",
                "{count} recordings that others speak in go on without you: our direct chat tells you how to take your "
                "part out.",
                left,
            )
        )
    return " ".join([*told, _("`{prefix} optin` undoes this.").format(prefix=prefix)])


NOT_HERE = N_("From your message on I record nothing of you in this room, nor in one that replaces it.")
NOT_EVERYWHERE = N_("From your message on I record nothing of you, in no room.")


def out_already(prefix: str, *, everywhere: bool) -> str:
    already = _("I record nothing of you anyway.") if everywhere else _("I record nothing of you here anyway.")
    return f"{already} {_('`{prefix} optin` changes this.').format(prefix=prefix)}"


def back_in(prefix: str, *, everywhere: bool) -> str:
    where = _("in all rooms that I record") if everywhere else _("in this room, where it is recorded")
    return _(
        "I record you again, {where}: what you begin to say from now on. What you said while you were opted "
        "out stays unrecorded. `{prefix} optout` undoes this."
    ).format(where=where, prefix=prefix)


def in_already(prefix: str, *, everywhere: bool) -> str:
    where = _("You have opted out nowhere.") if everywhere else _("You have not opted out here.")
    return f"{where} {_('`{prefix} optout` does that.').format(prefix=prefix)}"


def way_to_delete(prefix: str, code: str, room_id: RoomId, room_name: str | None) -> str:
    """Tell how to delete a recording, in the direct chat."""
    return _("{code}, in {room}: `{prefix} in {room_id} delete {code}`").format(
        code=code, room=shown(room_name or "") or _("a room"), prefix=prefix, room_id=room_id
    )


def way_to_be_forgotten(prefix: str, code: str, room_id: RoomId, room_name: str | None) -> str:
    """Tell how to take one's part out of a recording of several speakers, in the direct chat."""
    return _(
        "{code}, in {room}: `{prefix} in {room_id} forget me`, which deletes all that I recorded of you there"
    ).format(code=code, room=shown(room_name or "") or _("a room"), prefix=prefix, room_id=room_id)


def told_after_opt_out(closed: Sequence[str], left: Sequence[str]) -> str:
    """Tell a member, in the direct chat, which recordings an `optout` has closed, which go on without them (`left`),
    and how to delete what there is of them in each."""
    told = []
    if closed:
        form = plural(
            "You asked not to be recorded, so I closed your recording that was running. What I recorded of it before "
            "your message stays until you delete it. Say here:",
            "You asked not to be recorded, so I closed your {count} recordings that were running. What I recorded of "
            "them before your message stays until you delete it. Say here:",
            len(closed),
        )
        told += [form, *closed]
    if left:
        form = plural(
            "You asked not to be recorded, so a recording that others speak in goes on without you. What you said in "
            "it before your message stays until you delete it: delete your voice messages in the room, if it is one of "
            "voice messages, or say here:",
            "You asked not to be recorded, so {count} recordings that others speak in go on without you. What you said "
            "in them before your message stays until you delete it: delete your voice messages in the room, if they "
            "are of voice messages, or say here:",
            len(left),
        )
        told += [form, *left]
    return "\n".join([*told, _("I ask once more before anything is deleted.")])


def everybody_is_recorded(prefix: str) -> str:
    return _(
        "Everybody here is recorded, but for those who opted out. A moderator can choose: `{prefix} speakers USER…`."
    ).format(prefix=prefix)


def only_these_are_recorded(names: Sequence[str], prefix: str) -> str:
    return _(
        "Only these members are recorded here, unless they opt out: {names}. A moderator can change this with "
        "`{prefix} speakers all`."
    ).format(names=", ".join(names), prefix=prefix)


def speakers_already(names: Sequence[str] | None) -> str:
    if names is None:
        return _("Everybody is recorded here already, but for those who opted out.")
    return _("Only these members are recorded here already: {names}.").format(names=", ".join(names))


def speakers_changed(who: str, names: Sequence[str] | None, prefix: str, *, closed: int, left: int) -> str:
    """Tell the room who is recorded from now on. `closed`: recordings of others that were running; `left`: those that
    go on without somebody."""
    if names is None:
        return _("From now on everybody here is recorded, but for those who opted out: {who} decided so.").format(
            who=who
        )
    told = [
        _("From now on only these members are recorded here, unless they opt out: {names}. {who} decided so.").format(
            names=", ".join(names), who=who
        )
    ]
    if closed:
        told.append(
            plural(
                "The recording of somebody else that was running is closed.",
                "The {count} recordings of others that were running are closed.",
                closed,
            )
        )
    if left:
        told.append(
            plural(
                "A recording that is running goes on without some who spoke in it.",
                "{count} recordings that are running go on without some who spoke in them.",
                left,
            )
        )
    told += [_("What was recorded before stays."), _("`{prefix} speakers all` undoes this.").format(prefix=prefix)]
    return " ".join(told)


_UNCLEAR = {
    Unclear.NOBODY: N_("I don't know a member whom you named."),
    Unclear.SEVERAL: N_("Several members have a name that you wrote."),
    Unclear.TOO_LONG: N_("That is more than I read at once."),
}


def unclear(why: Unclear, prefix: str, example: UserId) -> str:
    """Answer names by which no members can be told, with an example that is right."""
    say = _("Please write the Matrix id of each, for example `{prefix} speakers {user}`.")
    if why is Unclear.TOO_LONG:
        say = _("Please name at most {most} members, by the Matrix id of each: `{prefix} speakers {user}`.")
    return f"{_(_UNCLEAR[why])} {say.format(prefix=prefix, user=example, most=MOST_PARTS)}"
