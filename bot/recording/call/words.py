"""The words for calls. Pure."""

from collections.abc import Iterator, Mapping

from bot.event_types import CALL_MEMBER, RTC_MEMBER, SHOWN_IN_CALL
from bot.language import N_, _, plural
from bot.recording.kind_words import Words
from storage.records import CallEventKind, CallProtocol, EndedBy, Recording

_NAMES = {
    CallProtocol.MSC3401: N_("Group call"),
    CallProtocol.MATRIXRTC: N_("Element Call"),
    CallProtocol.MXVC: N_("Voice channel"),
}


def _trouble(code: str, what: str, count: int) -> str:
    return plural("1 part of {code} {what}.", "{count} parts of {code} {what}.", count, code=code, what=what)


def _live(recording: Recording) -> str:
    speakers = {stem.user_id for stem in recording.stems if stem.left is None}
    return plural(
        "Live: recording a call with {count} speaker since {time}, for {length}. Code: {code}",
        "Live: recording a call with {count} speakers since {time}, for {length}. Code: {code}",
        len(speakers),
        time="{time}",
        length="{length}",
        code="{code}",
    )


def _name_of(recording: Recording) -> str:
    return CALLS.name if recording.protocol is None else _NAMES[recording.protocol]


CALLS = Words(
    name=N_("Call"),
    begun=N_("I am recording this call, which {who} began."),
    told={
        "empty": N_("There is nothing to hear in this call: no sound arrived."),
        "limit": N_("This call is longer than I may record in one episode, so I have left it."),
        "deleted": N_(
            "The recording of this call was deleted, at the wish of its first speaker or a moderator. Copies in "
            "people's apps can't be called back."
        ),
    },
    no_end={EndedBy.LIMIT: N_("it was longer than may be recorded")},
    trouble=_trouble,
    gone=N_("This call is no longer available here."),
    waiting=N_("Waiting for the sound of the call."),
    part=N_("Speaker"),
    parts=N_("All parts of the call in playback order ({n})"),
    live=_live,
    name_of=_name_of,
)


def kind_of_call(protocol: CallProtocol) -> str:
    """Name the kind of call that a protocol is for."""
    return _(_NAMES[protocol])


def unheard(counts: Mapping[CallEventKind, int]) -> Iterator[str]:
    """Tell why sound of members is not in the recording, a sentence for each reason. `counts`: of the members."""
    if count := counts.get(CallEventKind.UNREACHABLE, 0):
        yield plural(
            "Some sound of {count} member was not received: the media server that they sent it to could not be "
            "reached, or refused the bot.",
            "Some sound of {count} members was not received: the media servers that they sent it to could not be "
            "reached, or refused the bot.",
            count,
        )
    if count := counts.get(CallEventKind.UNREADABLE, 0):
        yield plural(
            "Some sound of {count} member is silence: it was not encrypted, or the key did not come.",
            "Some sound of {count} members is silence: it was not encrypted, or the key did not come.",
            count,
        )


def begun(who: str | None, prefix: str, *, public: bool) -> str:
    """Tell a room that the bot records the call that runs now, who switched that on, for whom, and how to object."""
    told = [_("I am recording this call."), *([_("{who} switched that on.").format(who=who)] if who else [])]
    if public:
        told.append(_("The recording goes into this room's public podcast, which anybody can hear."))
    else:
        told.append(_("The recording is for the members of this room only."))
    objection = _("If you do not want to be recorded, say `{prefix} optout`: then I receive no sound of yours.")
    stop = _("A moderator can stop it with `{prefix} record calls off`.")
    return " ".join([*told, objection.format(prefix=prefix), stop.format(prefix=prefix)])


def joined_late(who: str, prefix: str) -> str:
    """Tell a member who has joined a call that it is recorded, and how to object."""
    return _(
        "{who}, this call is recorded. If you do not want to be recorded, say `{prefix} optout`: then I receive no "
        "sound of yours."
    ).format(who=who, prefix=prefix)


def nobody_heard(seconds: int) -> str:
    """Tell a room that nothing arrives of a call that is recorded."""
    return plural(
        "I am recording this call, but have heard nobody for {count} second. Is everybody muted?",
        "I am recording this call, but have heard nobody for {count} seconds. Is everybody muted?",
        seconds,
    )


def not_heard(who: str, why: CallEventKind, *, unseen: bool = False) -> str:
    """Tell a room that the sound of a member is missing from the recording of a call, and why. `unseen`: since their
    client may not see the bot."""
    if unseen:
        return _(
            "The recording of this call does not have {who}: their app may not see me in the call, since this room "
            "does not let me send `{type}`. A moderator can give me the power for it, or lower the level of that event "
            "in the room's power levels."
        ).format(who=who, type=CALL_MEMBER)
    if why is CallEventKind.UNREACHABLE:
        form = _(
            "The recording of this call does not have {who}: I can't reach the media server that they send their sound "
            "to, or it refuses me. I keep trying while they are in the call."
        )
    else:
        form = _(
            "The recording of this call has silence in place of {who}: I can't decrypt their sound, since its key did "
            "not reach me, or it is not encrypted."
        )
    return form.format(who=who)


def lacks(protocol: CallProtocol, *, sticky: bool = False) -> str:
    """Tell what the bot lacks to show itself in a call (`sticky`: of sticky events), and what a moderator can do."""
    return _(
        "I can't record the call here: I join no call in which nobody can see me, and this room does not let me send "
        "`{type}`. A moderator can give me the power for it, or lower the level of that event in the room's power "
        "levels."
    ).format(type=RTC_MEMBER if sticky else SHOWN_IN_CALL[protocol])


UNFIT = N_(
    "I can't record the call here: what I receive its sound with is installed, but does not work. My administrator "
    "finds the cause in my log."
)

UNENCRYPTED = N_(
    "I can't record the voice channel here: what it sends is not encrypted, and this room is. I record it in rooms "
    "that are not encrypted."
)
