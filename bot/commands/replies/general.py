"""Answers that several commands give. Pure; plain, short English."""

AWAY = "I was away, please repeat."
NOT_ENCRYPTED = (
    "This room is encrypted and your message was not, so I did nothing. Please say it again from an encrypted session."
)
ONLY_MODS = "Only a moderator of this room can do that."
ONLY_ADMINS_PUBLISH = "Only an administrator of this Aircheck can make a podcast public."
NOBODY_PUBLISHES = "Public podcasts are switched off on this Aircheck: nobody can make one public."
ONLY_ITS_SPEAKER = "Only its speaker, or an administrator of this Aircheck, can do that."
ONLY_ITS_SPEAKER_OR_MODS = "Only its speaker, or a moderator of this room, can do that."
NO_RECORDING = "There is no recording of that name in this room."
NO_RECORDING_YET = "There is no recording in this room yet."
NO_SHARED_ROOM = "We share no room that I record. Invite me to one first."
