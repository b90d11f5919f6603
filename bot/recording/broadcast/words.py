"""The words for a voice broadcast. Pure."""

from bot.language import N_, plural
from bot.recording.kind_words import Words
from storage.records import EndedBy


def _trouble(code: str, what: str, count: int) -> str:
    return plural("1 chunk of {code} {what}.", "{count} chunks of {code} {what}.", count, code=code, what=what)


WORDS = Words(
    name=N_("Voice broadcast"),
    begun=N_("I am recording: {who} has begun a broadcast."),
    told={
        "empty": N_(
            "There is nothing to hear in this broadcast: no sound arrived, or none that can be played. If some still "
            "arrives, it is published as usual."
        ),
        "limit": N_("This broadcast is longer than I may record. The rest of it is not kept."),
        "deleted": N_(
            "The recording of this broadcast was deleted, at the wish of its speaker or a moderator. Copies in "
            "people's apps can't be called back."
        ),
        "removed": N_(
            "This broadcast was redacted, so I deleted its recording: its audio, its episode and its page are gone. "
            "Copies in people's apps can't be called back."
        ),
    },
    no_end={
        EndedBy.ABANDONED: N_("its end never came"),
        EndedBy.RESTARTED: N_("its speaker started a new broadcast before its end"),
        EndedBy.LEFT: N_("its speaker left before its end"),
        EndedBy.REMOVED: N_("the bot was removed before its end"),
        EndedBy.SWITCHED_OFF: N_("recording was switched off before its end"),
        EndedBy.LIMIT: N_("it was longer than may be recorded"),
    },
    trouble=_trouble,
    gone=N_("This broadcast is no longer available here."),
    waiting=N_("Waiting for audio. It arrives in chunks of up to two minutes."),
    part=N_("Chunk"),
    parts=N_("All chunks in playback order ({n})"),
)
