"""Questions and answers of `bot.commands.forget`. Pure."""

from bot.language import _, plural


def nothing(*, everywhere: bool) -> str:
    if everywhere:
        return _("I have no recording of you.")
    return _("I have no recording of you in this room. Say it in our direct chat to ask about all rooms.")


def question(alone: int, shared: int, *, everywhere: bool) -> str:
    """Ask whether to delete the recordings of the asker `alone`, and the asker's part of those that are `shared`."""
    what = _("Delete what I recorded of you in all rooms?") if everywhere else _("Delete what I recorded of you here?")
    parts = []
    if alone:
        parts.append(
            plural(
                "{count} recording in which you alone speak will be gone for good: audio, episode and page.",
                "{count} recordings in which you alone speak will be gone for good: audio, episodes and pages.",
                alone,
            )
        )
    if shared:
        parts.append(
            plural(
                "Your part of {count} recording with other speakers will be taken out.",
                "Your part of {count} recordings with other speakers will be taken out.",
                shared,
            )
        )
    return "\n".join([what, *parts])


def under_way(count: int) -> str:
    """Answer where there is much to delete; `forgotten` follows."""
    return plural(
        "I am deleting {count} recording, and report when it is gone.",
        "I am deleting {count} recordings, and report when they are gone.",
        count,
    )


def forgotten(prefix: str, alone: int, shared: int, *, everywhere: bool) -> str:
    """Report what is gone, and how to object to what comes."""
    parts = [plural("{count} recording of you is deleted.", "{count} recordings of you are deleted.", alone)]
    if shared:
        parts.append(
            plural(
                "Your part of {count} recording with other speakers is taken out.",
                "Your part of {count} recordings with other speakers is taken out.",
                shared,
            )
        )
    parts.append(_("Copies in people's apps can't be called back."))
    if everywhere:
        on = _("You are recorded as before from now on: `{prefix} optout` ends that in all rooms.")
    else:
        on = _("You are recorded as before from now on: `{prefix} optout` ends that in this room.")
    parts.append(on.format(prefix=prefix))
    return " ".join(parts)


def told(count: int) -> str:
    """Tell a room of recordings that were deleted or changed by a wish said elsewhere, without a name."""
    return plural(
        "A member asked me to forget them: {count} recording of this room is deleted, or lacks their part now. Copies "
        "in people's apps can't be called back.",
        "A member asked me to forget them: {count} recordings of this room are deleted, or lack their part now. Copies "
        "in people's apps can't be called back.",
        count,
    )
