"""The words for sessions: of voice messages, and of the transmissions of a walkie-talkie. Pure."""

from bot.language import N_, plural
from bot.recording.kind_words import Words
from storage.records import EndedBy

NO_END = {EndedBy.LIMIT: N_("it was longer than may be recorded")}
"""A session has no end that could be missing: each of its messages is whole."""


def _trouble(code: str, what: str, count: int) -> str:
    return plural("1 message of {code} {what}.", "{count} messages of {code} {what}.", count, code=code, what=what)


MESSAGES = Words(
    name=N_("Voice messages"),
    begun=N_("I am recording: {who} has sent a voice message. Those that soon follow it go into the same episode."),
    told={
        "empty": N_(
            "There is nothing to hear in these voice messages: no sound arrived, or none that can be played. If some "
            "still arrives, it is published as usual."
        ),
        "limit": N_(
            "These voice messages are longer than I may record in one episode. The last of them is not kept; the next "
            "one begins another episode."
        ),
        "deleted": N_(
            "The recording of these voice messages was deleted, at the wish of its first speaker or a moderator. "
            "Copies in people's apps can't be called back."
        ),
    },
    no_end=NO_END,
    trouble=_trouble,
    gone=N_("These voice messages are no longer available here."),
    waiting=N_("Waiting for the next voice message."),
    part=N_("Speaker"),
    parts=N_("All voice messages in playback order ({n})"),
)

TRANSMISSIONS = Words(
    name=N_("Walkie-talkie"),
    begun=N_("I am recording: {who} has begun to speak over the walkie-talkie."),
    told={
        "empty": N_(
            "There is nothing to hear in these transmissions: no sound arrived, or none that can be played. If some "
            "still arrives, it is published as usual."
        ),
        "limit": N_(
            "These transmissions are longer than I may record in one episode. The last of them is not kept; the next "
            "one begins another episode."
        ),
        "deleted": N_(
            "The recording of these transmissions was deleted, at the wish of its first speaker or a moderator. Copies "
            "in people's apps can't be called back."
        ),
    },
    no_end=NO_END,
    trouble=_trouble,
    gone=N_("These transmissions are no longer available here."),
    waiting=N_("Waiting for the next transmission."),
    part=N_("Speaker"),
    parts=N_("All transmissions in playback order ({n})"),
)
