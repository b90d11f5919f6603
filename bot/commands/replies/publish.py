"""Answers to the commands of `bot.commands.publish`. Pure."""

from bot.language import N_, _, plural


def now_public(who: str, feed: str, page: str, prefix: str, begun: int) -> str:
    """Tell that the podcast is public. `begun`: recordings that began after the command, before it was carried out."""
    told = _("This room's podcast is public now: {who} made it so.").format(who=who)
    if begun:
        opened = _("Anybody can hear what begins here from now on, and {recordings} that began meanwhile.").format(
            recordings=_recordings(begun)
        )
    else:
        opened = _("Anybody can hear what begins here from now on.")
    earlier = _(
        "Earlier ones stay private, even if they were public before: `{prefix} publish RECORDING` opens one."
    ).format(prefix=prefix)
    where = _("Feed: {feed}\nPage: {page}").format(feed=feed, page=page)
    return f"{told} {opened} {earlier}\n{where}"


def public_again(who: str, feed: str, page: str, begun: int) -> str:
    """Tell that a podcast that had closed itself opens again. `begun`: recordings that are public now."""
    return _(
        "This room's podcast is public again: {who} made it so. Anybody can hear what begins here from now "
        "on, and {recordings} that were public before.\nFeed: {feed}\nPage: {page}"
    ).format(who=who, recordings=_recordings(begun), feed=feed, page=page)


def public_already(feed: str, count: int) -> str:
    return _(
        "This room's podcast is already public: {recordings}, and what begins here from now on. Its address: {feed}"
    ).format(recordings=_recordings(count), feed=feed)


def now_private(who: str, prefix: str, closed: int) -> str:
    """Tell that the podcast is private. `closed`: recordings that were public."""
    return _(
        "This room's podcast is private now: {who} made it so. Nothing of it is public: {recordings} closed. The "
        "public addresses have ended; personal ones still work. A later `{prefix} publish public` opens only what "
        "begins after it. Copies in people's apps can't be called back."
    ).format(who=who, recordings=_recordings(closed), prefix=prefix)


def _recordings(count: int) -> str:
    return plural("{count} recording", "{count} recordings", count)


PRIVATE_ALREADY = N_("This room's podcast is already private.")


def room_is_private(prefix: str) -> str:
    return _("This room's podcast is private. Make it public first with `{prefix} publish public`.").format(
        prefix=prefix
    )


def recording_published(code: str, who: str, page: str) -> str:
    return _("{code} is public now: {who} published it. {page}").format(code=code, who=who, page=page)


def recording_public_already(code: str, page: str) -> str:
    return _("{code} is already public: {page}").format(code=code, page=page)


def recording_unpublished(code: str, who: str) -> str:
    return _("{code} is no longer public: {who} took it out. Copies in people's apps can't be called back.").format(
        code=code, who=who
    )


def recording_private_already(code: str) -> str:
    return _("{code} is not public.").format(code=code)
