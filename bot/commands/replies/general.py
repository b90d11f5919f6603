"""Answers that several commands give. Pure; plain, short English."""

from bot.language import N_, _

AWAY = N_("I was away, please repeat.")
NOT_ENCRYPTED = N_(
    "This room is encrypted and your message was not, so I did nothing. Please say it again from an encrypted session."
)
ONLY_MODS = N_("Only a moderator of this room can do that.")
ONLY_ADMINS_PUBLISH = N_("Only an administrator of this Aircheck can make a podcast public.")
NOBODY_PUBLISHES = N_("Public podcasts are switched off on this Aircheck: nobody can make one public.")
ONLY_ITS_BROADCASTER = N_("Only the member who began it, or an administrator of this Aircheck, can do that.")
ONLY_ITS_BROADCASTER_OR_MODS = N_("Only the member who began it, or a moderator of this room, can do that.")
ONLY_ITS_SPEAKERS_OR_MODS = N_("Only its speakers, or a moderator of this room, can do that.")
NO_RECORDING = N_("There is no recording of that name in this room.")
NO_RECORDING_YET = N_("There is no recording in this room yet.")
NO_SHARED_ROOM = N_("We share no room that I record. Invite me to one first.")
NO_SUCH_PAGE = N_("There is nothing older.")


def older(prefix: str, verb: str, page: str) -> str:
    """Tell how to see what is older than an answer shows. `page`: the words for it."""
    return _("`{prefix} {verb} {page}` shows what is older.").format(prefix=prefix, verb=verb, page=page)
