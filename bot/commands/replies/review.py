"""Answers to the commands of `bot.commands.review`. Pure."""

from collections.abc import Sequence

from bot.language import _, plural

SHOWN_CODES = 20


def told(prefix: str, waiting: Sequence[str], *, on: bool) -> str:
    """Tell whether new episodes wait for approval, and the codes of those that do."""
    now = (
        _("Review is on: a new episode is on the pages of its speakers and of moderators only, until it is approved.")
        if on
        else _("Review is off: new episodes are published at once.")
    )
    return f"{now} {_waiting(prefix, waiting)}"


def switched(prefix: str, who: str, waiting: Sequence[str], *, on: bool, changed: bool) -> str:
    """Answer `review on|off`, with the codes of the recordings that wait."""
    if on:
        now = _("Review is on: {who} switched it on.").format(who=who) if changed else _("Review is already on.")
        about = _(
            "A new episode is on the pages of its speakers and of moderators only, and in no feed, until one of them "
            "approves it."
        )
        return f"{now} {about} {_waiting(prefix, waiting)}"
    now = _("Review is off: {who} switched it off.").format(who=who) if changed else _("Review is already off.")
    return f"{now} {_('New episodes are published at once.')} {_waiting(prefix, waiting)}"


def _waiting(prefix: str, codes: Sequence[str]) -> str:
    if not codes:
        return _("Nothing waits for approval.")
    how = _("`{prefix} approve CODE` publishes one.").format(prefix=prefix)
    listed = ", ".join(codes[:SHOWN_CODES]) + (", …" if len(codes) > SHOWN_CODES else "")
    waits = plural("{count} recording waits for approval", "{count} recordings wait for approval", len(codes))
    return f"{waits}: {listed}. {how}"


def approved(code: str, who: str, *, runs: bool) -> str:
    """Tell that a recording was approved. `runs`: it is live, or being finished."""
    if runs:
        return _("{code} is approved: {who} approved it. It is published when it is finished.").format(
            code=code, who=who
        )
    return _("{code} is approved: {who} approved it. I am publishing it.").format(code=code, who=who)


def does_not_wait(code: str) -> str:
    return _("{code} does not wait for approval.").format(code=code)


def waits(code: str, prefix: str) -> str:
    """Refuse what is done with published recordings only."""
    return _("{code} waits for approval: say `{prefix} approve {code}` first.").format(code=code, prefix=prefix)
