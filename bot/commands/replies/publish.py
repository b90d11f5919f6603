"""Answers to the commands of `bot.commands.publish`. Pure."""


def now_public(who: str, feed: str, page: str, prefix: str, begun: int) -> str:
    """Tell that the podcast is public. `begun`: recordings that began after the command, before it was carried out."""
    meanwhile = f", and {_recordings(begun)} that began meanwhile" if begun else ""
    return (
        f"This room's podcast is public now: {who} made it so. Anybody can hear the broadcasts that begin here from "
        f"now on{meanwhile}. Earlier ones stay private, even if they were public before: `{prefix} publish "
        f"RECORDING` opens one.\nFeed: {feed}\nPage: {page}"
    )


def public_already(feed: str, count: int) -> str:
    return (
        f"This room's podcast is already public: {_recordings(count)}, and what begins here from now on. "
        f"Its address: {feed}"
    )


def now_private(who: str, prefix: str, closed: int) -> str:
    """Tell that the podcast is private. `closed`: recordings that were public."""
    return (
        f"This room's podcast is private now: {who} made it so. Nothing of it is public: {_recordings(closed)} "
        "closed. The public addresses have ended; personal ones still work. A later "
        f"`{prefix} publish public` opens only what begins after it. Copies in people's apps can't be called back."
    )


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"


PRIVATE_ALREADY = "This room's podcast is already private."


def room_is_private(prefix: str) -> str:
    return f"This room's podcast is private. Make it public first with `{prefix} publish public`."


def recording_published(code: str, who: str, page: str) -> str:
    return f"{code} is public now: {who} published it. {page}"


def recording_public_already(code: str, page: str) -> str:
    return f"{code} is already public: {page}"


def recording_unpublished(code: str, who: str) -> str:
    return f"{code} is no longer public: {who} took it out. Copies in people's apps can't be called back."


def recording_private_already(code: str) -> str:
    return f"{code} is not public."
