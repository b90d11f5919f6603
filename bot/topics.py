"""Topics of notices: each names what a notice tells, so that it is told once. Pure."""

from datetime import datetime

from storage.records import EventId, JobId, RoomId, UserId


def welcomes(room_id: RoomId) -> str:
    """Name the beginning that the topics of all greetings of a room share."""
    return f"welcome:{room_id}:"


def welcome(room_id: RoomId, cause: str) -> str:
    """Name the greeting that a change in a room asks for."""
    return f"{welcomes(room_id)}{cause}"


def answer(command: EventId) -> str:
    """Name the answer to a command."""
    return f"answer:{command}"


def cover_answered(command: EventId) -> str:
    """Name the notice of what became of a picture that was to be a podcast's cover."""
    return f"cover:{command}"


def share_used_up(command: EventId) -> str:
    """Name the notice to somebody who asks more than their share."""
    return f"share:{command}"


def hint(room_id: RoomId) -> str:
    """Name the notice in a direct chat that tells what can be said there."""
    return f"hint:{room_id}"


def recording_begun(broadcast: EventId) -> str:
    """Name the notice that a broadcast's recording has begun."""
    return f"begun:{broadcast}"


def episode_published(broadcast: EventId) -> str:
    """Name the notice of a broadcast's episode."""
    return f"published:{broadcast}"


def episode_waits(broadcast: EventId) -> str:
    """Name the notice that a broadcast's episode waits for approval."""
    return f"waits:{broadcast}"


def announcement_gone(notice: EventId) -> str:
    """Name the edit of an announcement after its recording was deleted."""
    return f"gone:{notice}"


def speaker_gone(notice: EventId) -> str:
    """Name the edit of an announcement after a speaker's sound was taken out of its recording."""
    return f"speaker_gone:{notice}"


def waits_no_more(notice: EventId) -> str:
    """Name the edit of the notice that an episode waits for approval, after the approval."""
    return f"approved:{notice}"


def forgotten_in(command: EventId, room_id: RoomId) -> str:
    """Name the notice to a room whose recordings changed by a wish that was said elsewhere."""
    return f"forgotten:{command}:{room_id}"


def call_joined(call: EventId, number: int) -> str:
    """Name the reply to a member who joins a call that is recorded. `number`: of those who were told."""
    return f"joined:{call}:{number}"


def call_silent(call: EventId) -> str:
    """Name the notice that nobody is heard in a call."""
    return f"silent:{call}"


def call_unheard(call: EventId, user: UserId, why: str) -> str:
    """Name the notice that the sound of a member is missing from the recording of a call."""
    return f"unheard:{call}:{why}:{user}"


def call_hindered(room_id: RoomId, cause: str) -> str:
    """Name the notice of what keeps the bot out of a call."""
    return f"call:{room_id}:{cause}"


def told_of(what: str, broadcast: EventId) -> str:
    """Name the notice of something that a broadcast met; `what` is a key of `wording.TOLD`."""
    return f"tell:{what}:{broadcast}"


def restored(room_id: RoomId, at: datetime) -> str:
    """Name the notice that a room was restored from a backup."""
    return f"restored:{room_id}:{at.isoformat()}"


def turned(room_id: RoomId, event: str) -> str:
    """Name the notice of what follows from a state event that closes or opens a room."""
    return f"turned:{room_id}:{event}"


def podcast_back(room_id: RoomId, heir: RoomId) -> str:
    """Name the notice that a room's podcast is back from its heir."""
    return f"back:{room_id}:{heir}"


def expired(job_id: JobId) -> str:
    """Name the notice of what retention has deleted, and the one of what it will delete."""
    return f"expired:{job_id}"


def backfilled(job_id: JobId) -> str:
    """Name the notice of what a backfill found."""
    return f"backfilled:{job_id}"


def file_lost(room_id: RoomId, day: datetime) -> str:
    """Name the notice that the audio of a room's episodes is lost; one a day is enough."""
    return f"lost:{room_id}:{day:%Y-%m-%d}"


def floor_hindered(room_id: RoomId, since: datetime) -> str:
    """Name the notice that the bot can't keep a room's floor."""
    return f"floor:{room_id}:{since.timestamp():.3f}"


def panels(room_id: RoomId) -> str:
    """Name the beginning that the topics of all panels of a room share."""
    return f"panel:{room_id}:"


def panel(room_id: RoomId, cause: EventId) -> str:
    """Name the panel of a walkie-talkie that an event switched on."""
    return f"{panels(room_id)}{cause}"


def panel_gone(panel: EventId) -> str:
    """Name the edit of a panel after its walkie-talkie was switched off."""
    return f"panel gone:{panel}"


def join_first(room_id: RoomId, user_id: UserId, hour: str) -> str:
    """Name the notice to a member who asks for the floor without a permit; one an hour is enough."""
    return f"join first:{room_id}:{user_id}:{hour}"


def floor_given(request: EventId) -> str:
    """Name the notice to a member who waited for the floor by a command, and has it now."""
    return f"floor given:{request}"


def studio_unheard(room_id: RoomId) -> str:
    """Name the notice that the bot may not send a room the events of what is said in its studio."""
    return f"studio events:{room_id}"


def walkie_made(command: EventId) -> str:
    """Name the notice of whom the bot could not invite to a room that it made."""
    return f"made:{command}"
