"""The JSON of the consent log, as `aircheck export consent` writes it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from storage.records import EVERYWHERE, Change, ConsentNotice, OptOut, RoomId, ToldCall


def consent_json(
    notices: Sequence[ConsentNotice],
    changes: Sequence[Change],
    opt_outs: Sequence[OptOut],
    calls: Sequence[ToldCall],
) -> dict[str, Any]:
    """Return the JSON of a consent log, whose lists begin with the oldest.

    `notices`: each stood until the next one in its room. `changes`: who switched and published what (`what` is the
    command, `by` null for a rule of the bot's). `opt_outs`: every `optout` and `optin`, `room_id` null for everywhere.
    `calls`: the notice of each call that was recorded, and the members who were told so.
    """
    later: dict[RoomId, datetime] = {}
    told = []
    for notice in reversed(notices):
        told.append(_notice(notice, later.get(notice.room_id)))
        later[notice.room_id] = notice.said_at
    return {
        "notices": told[::-1],
        "changes": [_change(change) for change in changes],
        "opt_outs": [_opt_out(word) for word in opt_outs],
        "calls": [_call(call) for call in calls],
    }


def _notice(notice: ConsentNotice, until: datetime | None) -> dict[str, Any]:
    return {
        "event_id": notice.event_id,
        "room_id": notice.room_id,
        "said_at": _moment(notice.said_at),
        "stood_until": _moment(until),
        "body": notice.body,
        "pinned": notice.pinned,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "at": _moment(change.at),
        "room_id": change.room_id,
        "by": change.by,
        "what": change.what,
        "subject": change.subject,
        "before": change.before,
        "after": change.after,
        "event_id": change.event_id,
    }


def _opt_out(word: OptOut) -> dict[str, Any]:
    return {
        "user_id": word.user_id,
        "room_id": None if word.room_id == EVERYWHERE else word.room_id,
        "said": "optout" if word.out else "optin",
        "at": _moment(word.at),
        "event_id": word.event_id,
    }


def _call(call: ToldCall) -> dict[str, Any]:
    return {
        "recording": call.code,
        "room_id": call.room_id,
        "call": call.event_id,
        "began_at": _moment(call.started_at),
        "notice": call.notice,
        "told": list(call.told),
    }


def _moment(at: datetime | None) -> str | None:
    """Return a time by RFC 3339, with its zone."""
    return at.isoformat(timespec="milliseconds") if at else None
