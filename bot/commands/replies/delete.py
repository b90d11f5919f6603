"""Questions and answers of the commands of `bot.commands.delete`. Pure."""

from zoneinfo import ZoneInfo

from bot.feeds.shown import title_of
from bot.language import _
from bot.recording.lengths import spoken_length
from storage.records import DurationMs, Recording, RecordingState


def question(recording: Recording, length: DurationMs | None, zone: ZoneInfo) -> str:
    """Ask whether to delete a recording. `length` None: there is no episode yet."""
    title = title_of(recording, zone)
    named = f"{recording.code} · {title}" if length is None else f"{recording.code} · {title} · {spoken_length(length)}"
    live = _(" It is live now: the rest of it is not kept either.") if recording.state is RecordingState.LIVE else ""
    gone = _("Its audio, its episode in the podcast and its page will be gone for good.")
    return _("Delete this recording?\n{recording}\n{gone}{live}").format(recording=named, gone=gone, live=live)


def deleted(code: str, who: str) -> str:
    return _(
        "{code} is deleted: {who} deleted it. Its audio, episode and page are gone. Copies in people's apps can't be "
        "called back."
    ).format(code=code, who=who)
