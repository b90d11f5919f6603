"""Answers to the commands of `bot.commands.record`. Pure."""

from collections.abc import Collection

from bot import disclosure
from bot.language import N_, _, plural
from bot.recording.call.words import kind_of_call
from storage.records import CallProtocol, Recorded

NO_CALLS_HERE = N_(
    "This Aircheck can't join calls: it was installed without the extra `calls`. Its administrator can change that."
)

NO_CALL = N_("There is no call here now that I could join.")
CALL_ALREADY = N_("I am recording the call here already.")


def call_wanted(who: str, protocols: Collection[CallProtocol]) -> str:
    """Tell that the call that runs now is recorded, and of which kind it is."""
    form = _("I join the call that runs now ({kind}) and record it, and no other: {who} asked for it.")
    return form.format(kind=", ".join(map(kind_of_call, protocols)), who=who)


def told(recorded: Collection[Recorded], waiting: Collection[Recorded], prefix: str, *, call: str | None) -> list[str]:
    """Tell what is recorded in a room. `waiting`: the kinds that wait for the bot's notice; `call`: who had the call
    recorded that runs now, and when; None: nobody."""
    told = []
    if recorded:
        form = _("I record here: {kinds}. Say `{prefix} optout` if I should record nothing of you.")
        told.append(form.format(kinds=disclosure.spoken(recorded), prefix=prefix))
    if waiting:
        form = _(
            "I do not record {kinds} here yet: recording begins when my notice is in the room, or when a moderator "
            "says {commands}."
        )
        told.append(form.format(kinds=disclosure.spoken(waiting), commands=disclosure.commands(waiting, prefix)))
    if call is not None:
        form = _("I record the call that runs now, and no other: switched on by {setter}.")
        told.append(form.format(setter=call))
    nothing = _(
        "I record nothing here. A moderator can say `{prefix} record on`, `{prefix} record messages on` or `{prefix} "
        "record calls on`."
    )
    return told or [nothing.format(prefix=prefix)]


def switched(kind: Recorded, setter: str, *, on: bool) -> str:
    """Tell who switched the recording of a kind on or off, and when."""
    match kind, on:
        case Recorded.BROADCASTS, True:
            said = _("Voice broadcasts: switched on by {setter}.")
        case Recorded.BROADCASTS, False:
            said = _("Voice broadcasts: switched off by {setter}.")
        case Recorded.MESSAGES, True:
            said = _("Voice messages: switched on by {setter}.")
        case Recorded.MESSAGES, False:
            said = _("Voice messages: switched off by {setter}.")
        case Recorded.CALLS, True:
            said = _("Calls: switched on by {setter}.")
        case _:
            said = _("Calls: switched off by {setter}.")
    return said.format(setter=setter)


def only_some(prefix: str) -> str:
    return _("Only some members are recorded: `{prefix} speakers` names them.").format(prefix=prefix)


def recording_on(who: str, kinds: Collection[Recorded], *, changed: bool) -> str:
    """Tell that the recording of these kinds is on."""
    kind = disclosure.spoken(kinds)
    if not changed:
        return _("Recording is already on: {kind}.").format(kind=kind)
    if Recorded.CALLS in kinds:
        joined = ", ".join(kind_of_call(protocol) for protocol in CallProtocol)
        form = _(
            "Recording is on: {who} switched it on. I join the calls of this room ({joined}), also one that runs now."
        )
        return form.format(who=who, joined=joined)
    form = _("Recording is on: {who} switched it on. I keep the {kind} that begin here from now on.")
    return form.format(who=who, kind=kind)


def kind_off(who: str, kind: str, running: int, *, changed: bool) -> str:
    """Tell that the recording of a kind is off, where others are recorded."""
    if not changed and not running:
        return _("Recording of {kind} is already off.").format(kind=kind)
    told = [_("Recording of {kind} is off: {who} switched it off.").format(kind=kind, who=who)]
    return " ".join([*told, *_closed(running), _("What was recorded before stays.")])


def recording_off(who: str, running: int, *, changed: bool) -> str:
    """Tell that nothing is recorded any more."""
    if not changed and not running:
        return _("Recording is already off.")
    told = [_("Recording is off: {who} switched it off.").format(who=who)]
    return " ".join([*told, *_closed(running), _("What was recorded before stays.")])


def _closed(running: int) -> list[str]:
    """Tell how many recordings were closed; nothing where there were none."""
    if not running:
        return []
    return [
        plural(
            "The recording that is running is closed here.",
            "The {count} recordings that are running are closed here.",
            running,
        )
    ]
