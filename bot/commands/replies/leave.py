"""Questions and answers of `bot.commands.leave`. Pure."""

from bot.feeds.shown import shown
from bot.language import _, plural


def question(prefix: str, room: str | None, recordings: int, public: int, live: int) -> str:
    """Ask whether to leave. `room`: its name, where it is another than the one where it is said. `recordings` stay in
    the archive, `public` of them open to everybody, `live` run now."""
    leave = _("Leave {room}?").format(room=shown(room)) if room else _("Leave this room?")
    if not recordings:
        return "\n".join([leave, _("I have no recording of it.")])
    parts = [
        leave,
        plural(
            "{count} recording stays in the archive of this Aircheck.",
            "{count} recordings stay in the archive of this Aircheck.",
            recordings,
        ),
    ]
    if public:
        parts.append(
            plural(
                "{count} of them is public, and stays so: anybody can hear it.",
                "{count} of them are public, and stay so: anybody can hear them.",
                public,
            )
        )
    parts.append(_("Members' own addresses stop working when I am gone."))
    if live:
        parts.append(
            plural(
                "{count} recording that is running is closed where it is now.",
                "{count} recordings that are running are closed where they are now.",
                live,
            )
        )
    how = _(
        "To delete recordings, do it before I leave: `{prefix} delete RECORDING` for each, `{prefix} list` shows their "
        "codes. Later you would have to invite me again."
    )
    parts.append(how.format(prefix=prefix))
    return "\n".join(parts)


def leaving(who: str) -> str:
    return _("I am leaving: {who} asked me to. Invite me again whenever you like.").format(who=who)


def reason(who: str) -> str:
    return _("{who} asked me to leave.").format(who=who)
