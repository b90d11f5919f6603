"""Answers to the commands of `bot.commands.podcast`. Pure."""

from collections.abc import Sequence

from bot.feeds.shown import shown
from bot.language import N_, _
from bot.logged import written
from bot.settings import FeedsSettings
from storage.records import Room

AUTHOR_TOO_LONG = N_("An author has at most {most} characters; yours has {characters}. Nothing was changed.")
YES_OR_NO = N_("Please say `yes` or `no`.")
ON_OR_OFF = N_("Please say `on` or `off`.")
FETCHING_COVER = N_("I am fetching that picture, and will tell you when it is the podcast's cover.")
SHOWN_CHARACTERS = 200


def told(prefix: str, room: Room, settings: FeedsSettings) -> str:
    """Tell what holds for each field: the room's own text, or where the default comes from."""
    given = room.podcast
    defaults = {
        "title": _("the room's name"),
        "description": _("the room's topic"),
        "author": settings.author or _("the same as the title"),
        "language": settings.language,
        "category": settings.category,
        "explicit": written("explicit", settings.explicit),
        "stems": written("stems", value=False),
    }
    lines = [_("This room's podcast:")]
    for field, default in defaults.items():
        value = getattr(given, field)
        if value is None:
            lines.append(_("• {field}: {default} (default)").format(field=field, default=shown(default)))
        else:
            lines.append(f"• {field}: {shown(written(field, value), SHOWN_CHARACTERS)}")
    cover = _("the administrator's picture") if settings.image else _("the room's picture, or one with its name")
    if room.own_cover is not None:
        lines.append(_("• cover: a picture that a moderator chose"))
    else:
        lines.append(_("• {field}: {default} (default)").format(field="cover", default=cover))
    how = _(
        "A moderator changes one with `{prefix} podcast FIELD TEXT`, and takes it back with `{prefix} podcast reset`."
    )
    return "\n".join([*lines, how.format(prefix=prefix)])


def reply_to_a_picture(prefix: str) -> str:
    return _("Please post a picture here, and say `{prefix} podcast cover` as a reply to it.").format(prefix=prefix)


def changed(field: str, who: str, value: str | bool) -> str:
    """Answer `podcast FIELD TEXT`."""
    if field == "stems":
        return _stems(who, on=bool(value))
    if field == "description":
        return _("The podcast has a new description: {who} wrote it.").format(who=who)
    told = _("The podcast's `{field}` is now “{value}”: {who} set it.")
    return told.format(field=field, value=shown(written(field, value)), who=who)


def _stems(who: str, *, on: bool) -> str:
    if on:
        return _(
            "From now on the feed offers the sound of each speaker of a call beside the episode, to apps that show "
            "such files: {who} set it."
        ).format(who=who)
    return _("The feed offers the episodes alone, without the sound of each speaker: {who} set it.").format(who=who)


def reset(who: str, field: str | None) -> str:
    """Answer `podcast reset`; `field` None: all of them."""
    if field is None:
        return _("All that was set for the podcast is the default again: {who} reset it.").format(who=who)
    return _("The podcast's `{field}` is the default again: {who} reset it.").format(field=field, who=who)


def no_language(nearest: str | None) -> str:
    """Refuse what is no language tag."""
    told = _("That is no language tag, such as `en`, `de` or `pt-BR`.")
    return f"{told} {_did_you_mean(nearest)}".rstrip()


def no_category(nearest: str | None, known: Sequence[str]) -> str:
    """Refuse what is none of Apple's categories. `known`: their names."""
    told = _("Podcast directories know no such category.")
    if nearest is not None:
        return f"{told} {_did_you_mean(nearest)}"
    listed = ", ".join(f"`{name}`" for name in known)
    return f"{told} {_('They know these, and parts of them: {names}.').format(names=listed)}"


def _did_you_mean(nearest: str | None) -> str:
    return "" if nearest is None else _("Did you mean `{text}`?").format(text=nearest)
