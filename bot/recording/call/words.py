"""The words for calls. Pure."""

from bot.language import N_, plural
from bot.recording.kind_words import Words
from storage.records import EndedBy


def _trouble(code: str, what: str, count: int) -> str:
    return plural("1 part of {code} {what}.", "{count} parts of {code} {what}.", count, code=code, what=what)


CALLS = Words(
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
)
