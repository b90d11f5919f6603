"""Notices that the bot sends unasked; answers to commands are in `bot.commands.replies`. Pure; plain, short English."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.event_types import ENCRYPTION, HISTORY_VISIBILITY, JOIN_RULES
from bot.language import N_, _, plural
from storage.records import Retention, RetentionRule, RuleKind

# Push rule .m.rule.roomnotif looks for `@room` in the plain body; a notice of the bot must not notify a whole room.
_ROOM_PING = re.compile(r"[@＠]+(?=room)", re.IGNORECASE)


def without_ping(body: str) -> str:
    """Return the text without a mark that would notify everybody in the room."""
    return _ROOM_PING.sub("", body)


CONTINUES_ELSEWHERE = N_(
    "This room was upgraded, and its podcast continues in the room that replaced it: I record nothing new here, and "
    "take commands there."
)
SHOWN_CHARACTERS = 100
"""The longest part of a room's name that a notice shows."""
SOURCE_USER = "source"
SOURCE_MOUNT = "/studio/source"
"""The user and the mount point that an Icecast source client names; its password is the studio's token."""

PODCAST_IS_BACK = N_(
    "This room's podcast continued in another room, which this room never named as its replacement. It is back here, "
    "under its old addresses. A moderator can say `{prefix} record on` to record here again."
)


STUDIO_UNHEARD = N_(
    "I may not send voice broadcasts into this room: what is said in the studio is recorded, but the room gets no "
    "events of it. I need the power level for state events of the type `org.matrix.msc3888.voice_broadcast_info`. A "
    "moderator can give it to me, or say `{prefix} studio events off`."
)
PANEL_IS_OFF = N_("The walkie-talkie of this room was switched off.")
"""The text in place of a panel."""
CHAT_HINT = N_(
    "I understand only commands, and here they need no prefix: `help` lists them, `status` tells what is recorded in a "
    "room that we share, and `in ROOM list` its recordings, where ROOM is its name, alias or id."
)
ASKED_TOO_MUCH = N_(
    "You have used up your share of my answers: I will not answer you until you have sent no commands for a while."
)


def join_first(who: str) -> str:
    """Tell a member who asks for the floor without a permit what to do first."""
    return _("{who}, please react with ✅ to the panel first: only those who are willing to listen can speak.").format(
        who=who
    )


def not_invited(room: str, users: Sequence[str]) -> str:
    """Tell who could not be invited to a room that the bot made."""
    told = _("The room {room} is ready, but I could not invite {users}.")
    return told.format(room=room, users=", ".join(users))


def continues_podcast(*, public: bool) -> str:
    """Tell a room that replaces an upgraded one whose podcast it continues, and who can hear it."""
    if public:
        return _(
            "This room continues the podcast of the room that it replaces, under the same addresses; it is public: "
            "anybody can hear what begins here."
        )
    return _(
        "This room continues the podcast of the room that it replaces, under the same addresses; it is for the members "
        "of this room only."
    )


def stays(retention: Retention, max_days: int | None) -> str:
    """Tell how long the room's recordings stay."""
    if retention.days is not None:
        how = plural(
            "Recordings stay here for {count} day after their end.",
            "Recordings stay here for {count} days after their end.",
            retention.days,
        )
    elif retention.episodes is not None:
        how = plural(
            "The newest episode stays here.",
            "The newest {count} episodes stay here.",
            retention.episodes,
        )
    else:
        how = _("Recordings stay here forever.")
    if max_days is None:
        return how
    limit = plural(
        "The administrator lets no room keep them longer than {count} day.",
        "The administrator lets no room keep them longer than {count} days.",
        max_days,
    )
    return f"{how} {limit}"


ANNOUNCED_IS_GONE = N_("This recording was deleted.")
"""The text in place of a recording's announcement."""
SPEAKER_IS_GONE = N_("I have published the recording {code}. What one of its speakers said has since been taken out.")
"""The text in place of an announcement that named a speaker of whom nothing is heard any more."""
WAITED = N_("This recording was approved.")
"""The text in place of the notice that a recording waits for approval."""


CLOSED = {
    ENCRYPTION: N_(
        "This room is encrypted now. Its podcast was public: what begins here from now on is for members only, and "
        "what was public stays so. A moderator can say `{prefix} publish public` to open what begins from then on, or "
        "`{prefix} publish private` to close everything."
    ),
    JOIN_RULES: N_(
        "Not everybody can join this room any more. Its podcast was public: what begins here from now on is for "
        "members only, and what was public stays so. A moderator can say `{prefix} publish public` to open what begins "
        "from then on, or `{prefix} publish private` to close everything."
    ),
    HISTORY_VISIBILITY: N_(
        "Fewer people than before can read the history of this room. Its podcast was public: what begins here from now "
        "on is for members only, and what was public stays so. A moderator can say `{prefix} publish public` to open "
        "what begins from then on, or `{prefix} publish private` to close everything."
    ),
}
"""Notices of the change of a room that opens it to fewer people, by the type of its state event."""
CLOSED_UNSEEN = N_(
    "I was out of this room for a while, and it may have closed itself meanwhile. Its podcast was public: what begins "
    "here from now on is for members only, and what was public stays so. A moderator can say `{prefix} publish public` "
    "to open what begins from then on, or `{prefix} publish private` to close everything."
)
"""The notice to a room with a public podcast in which the bot is again."""
OPENED = {
    JOIN_RULES: N_(
        "Anybody can join this room now, and whoever does can hear what I record here. Nothing became public by this. "
        "A moderator can stop the recording with `{prefix} record off`."
    ),
    HISTORY_VISIBILITY: N_(
        "More people than before can read the history of this room. Those who join can hear what begins from now "
        "on, also from before they joined. Nothing became public by this. A moderator can stop the recording with "
        "`{prefix} record off`."
    ),
}
"""Notices of the change of a room that opens it to more people, by the type of its state event."""


def published(*, title: str, length: str, whole: str, address: str | None, prefix: str) -> str:
    """Announce a recording: title, length, complete or what is missing, and where to hear it."""
    if address:
        told = _("{title} ({length}, {whole}) is ready: {address}")
        return told.format(title=title, length=length, whole=whole, address=address)
    told = _("{title} ({length}, {whole}) is ready. Say `{prefix} feed` to get your own address.")
    return told.format(title=title, length=length, whole=whole, prefix=prefix)


def live_at(page: str | None, *, prefix: str) -> str:
    """Tell where a broadcast is heard that has begun: on the podcast's public page, or by an address of one's own."""
    if page:
        return _("Listen here: {page}").format(page=page)
    return _("Say `{prefix} feed` to get your own address, where you can listen.").format(prefix=prefix)


def waits(*, length: str, whole: str, code: str, prefix: str) -> str:
    """Tell that a recording waits for approval, who can hear it so far, and how it is approved. As long as it is not
    published, nothing that it says is repeated."""
    return _(
        "This recording ({length}, {whole}) waits for approval: so far only its speakers and moderators can hear it, "
        "on their own pages (`{prefix} feed`). One of them publishes it with `{prefix} approve {code}`."
    ).format(length=length, whole=whole, code=code, prefix=prefix)


def cover_chosen(*, who: str) -> str:
    """Tell that a picture became the podcast's cover."""
    return _("The podcast has a new cover: {who} chose it.").format(who=who)


def no_cover(*, posted: bool, most_mb: int) -> str:
    """Tell that a picture did not become the cover. `posted`: the message has a picture."""
    if not posted:
        return _(
            "I find no picture that I can read in the message that you replied to. Please post the picture again, and "
            "reply to it."
        )
    return _(
        "I can't use that picture: it has to be a JPEG, PNG, WebP or GIF of at most {most} MB that is not damaged and "
        "that the homeserver gives me. The cover stays as it was."
    ).format(most=most_mb)


def direct_address(*, room_name: str | None, feed: str, page: str, prefix: str) -> str:
    """Tell a listener their personal address, in the direct chat only."""
    return _(
        "Your own podcast address for {room}:\n{feed}\n\n"
        "Put it into your podcast app; the same recordings are on {page}\n"
        "It is yours alone and works while you are a member of the room. Please don't pass it on; "
        "`{prefix} feed renew` in the room gives you a new one and ends this one."
    ).format(room=_shown_room(room_name), feed=feed, page=page, prefix=prefix)


def studio_address(*, room_name: str | None, page: str, live: bool) -> str:
    """Tell a member the address of their studio's page, in the direct chat only."""
    return _joined_paragraphs(
        _("Your studio for {room}:").format(room=_shown_room(room_name)) + f"\n{page}",
        _("Open it in a browser on your phone or computer, and broadcast into the room from there."),
        _studio_terms(live=live),
    )


def studio_source(*, room_name: str | None, web: str, token: str, live: bool) -> str:
    """Tell a member how their program broadcasts into a room, in the direct chat only. `web`: the address of the web
    server."""
    address = urlsplit(web)
    secure = address.scheme == "https"
    port = address.port or (443 if secure else 80)
    return _joined_paragraphs(
        _("For a program that sends to Icecast servers (BUTT, Mixxx, liquidsoap, …), to broadcast into {room}:").format(
            room=_shown_room(room_name)
        ),
        "\n".join(
            [
                _("Server: {host}").format(host=address.hostname or ""),
                _("Port: {port}").format(port=port),
                _("TLS: on") if secure else _("TLS: off"),
                _("Mount point: {mount}").format(mount=f"{address.path}{SOURCE_MOUNT}"),
                _("User: {user}").format(user=SOURCE_USER),
                _("Password: {password}").format(password=token),
            ]
        ),
        _studio_terms(live=live),
    )


def _studio_terms(*, live: bool) -> str:
    if live:
        return _("You are on the air with it: it is good until that broadcast is over. Please don't pass it on.")
    return _(
        "It is yours alone, for one broadcast, which has to begin within 24 hours and while you may broadcast in the "
        "room. Please don't pass it on."
    )


def _joined_paragraphs(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs)


def _shown_room(name: str | None) -> str:
    return " ".join((name or _("a room")).split())[:SHOWN_CHARACTERS]


def disk_full(*, free_mib: int, wanted_mib: int) -> str:
    """Tell an administrator that nothing new is fetched for lack of disk space."""
    return _(
        "Aircheck's disk has only {free} MiB left (storage.min_free_bytes is {wanted} MiB). Nothing new is fetched "
        "until there is more."
    ).format(free=free_mib, wanted=wanted_mib)


def restored(*, when: str, off: str, private: bool, held: int, known: bool, prefix: str) -> str:
    """Tell a room that it was restored from a backup. `off`: what stays switched off; `private`: the podcast is not
    public any more; `held`: the number of recordings that retention had ended; `known`: what was wished since then
    was kept in the bot's account data."""
    if known:
        first = _(
            "I lost my data and was restored from a backup of {when}. Recordings of the time since then are found "
            "again where I can. `{prefix} optout`, `{prefix} forget me`, `{prefix} delete`, `{prefix} unpublish`, "
            "`{prefix} review on`, `{prefix} record off` and `{prefix} keep` of that time hold; whatever else was "
            "asked of me please say again. Personal addresses that were replaced since then may work again: "
            "`{prefix} feed renew` ends yours."
        )
    else:
        first = _(
            "I lost my data and was restored from a backup of {when}. Recordings of the time since then are found "
            "again where I can. What was asked of me since then is not: please say it again, above all "
            "`{prefix} delete`, `{prefix} forget me`, `{prefix} optout`, `{prefix} unpublish`, `{prefix} review on` "
            "and `{prefix} keep`. Personal addresses that were replaced since then may work again: "
            "`{prefix} feed renew` ends yours."
        )
    told = [first.format(when=when, prefix=prefix)]
    told += [_("Switched off, as it was: {what}.").format(what=off)] if off else []
    told += [_("The podcast is private; `{prefix} publish public` opens it.").format(prefix=prefix)] if private else []
    if held:
        said = plural(
            "{count} recording that is older than the rule of this room waits for approval until it is deleted; "
            "`{prefix} keep` saves it.",
            "{count} recordings that are older than the rule of this room wait for approval until they are deleted; "
            "`{prefix} keep` saves them.",
            held,
            prefix=prefix,
        )
        told.append(said)
    return " ".join(told)


def restored_all(*, when: str, rooms: int, renewed: bool) -> str:
    """Tell an administrator that the archive was restored from a backup. `renewed`: with a new secret."""
    said = plural(
        "Aircheck was restored from a backup of {when}. The podcast of {count} room opens once its history since then "
        "is read. What protects people is read from my account data, whatever else was asked of me since then is "
        "lost, and each room is told.",
        "Aircheck was restored from a backup of {when}. The podcasts of {count} rooms open once their history since "
        "then is read. What protects people is read from my account data, whatever else was asked of me since then is "
        "lost, and each room is told.",
        rooms,
        when=when,
    )
    if renewed:
        return said + " " + _("All personal addresses have ended; listeners get new ones when they ask.")
    return (
        said
        + " "
        + _("Personal addresses that were replaced since then work again; `aircheck addresses renew-all` ends all.")
    )


def files_lost(*, code: str) -> str:
    """Tell an administrator that files of the archive are lost."""
    return _(
        "Files of Aircheck's archive are gone from its disk, or damaged: the audio of the recording {code} is one. I "
        "make again what I can; the log names every file. Please look after the disk."
    ).format(code=code)


def file_lost(*, title: str, damaged: int, prefix: str) -> str:
    """Tell a room that the audio of an episode is lost. `damaged`: the chunks that are lost with it."""
    if damaged:
        told = plural(
            "The audio file of “{title}” is gone from my disk, or damaged, and I can't make it again: 1 part of the "
            "recording is lost too. It is in no feed until the administrator of this bot has brought it back.",
            "The audio file of “{title}” is gone from my disk, or damaged, and I can't make it again: {count} parts of "
            "the recording are lost too. It is in no feed until the administrator of this bot has brought them back.",
            damaged,
            title=title,
        )
    else:
        told = _(
            "The audio file of “{title}” is gone from my disk, or damaged. I am making it again from the recording; "
            "until then it is in no feed."
        ).format(title=title)
    return " ".join((told, _("`{prefix} status` names all that are lost.").format(prefix=prefix)))


NO_SPACES = N_("I record rooms, and a space has nothing to record. Please invite me to the rooms in it.")
NOT_TOLD = N_(
    "I can't search yet: my notice of what I record is not in this room. A moderator can say `record on`, then "
    "`backfill` again."
)
HISTORY_REFUSED = N_("The homeserver does not let me read this room's history.")


@dataclass(frozen=True, slots=True)
class Found:
    """The numbers of the recordings that a search of a room's history made, by their states, and of those that it knew;
    `waiting`: of those that wait for approval."""

    complete: int
    incomplete: int
    empty: int
    known: int
    waiting: int = 0

    @property
    def all(self) -> int:
        return self.complete + self.incomplete + self.empty + self.known


def backfilled(found: Found) -> str:
    """Report which broadcasts a search of a room's history found, and how many of them wait for approval."""
    if not found.all:
        return _("I found no past broadcasts in this room's history.")
    parts = _parts(found)
    report = plural(
        "I found {count} past broadcast: {parts}.", "I found {count} past broadcasts: {parts}.", found.all, parts=parts
    )
    return _with_waiting(report, found.waiting)


def messages_backfilled(found: Found, *, names: str, prefix: str) -> str:
    """Report which sessions of voice messages a search of a room's history found; of whom they are that are new, and
    how to object."""
    if not found.all:
        return _("I found no past voice messages to record in this room's history.")
    report = plural(
        "I found the voice messages of {count} episode: {parts}.",
        "I found the voice messages of {count} episodes: {parts}.",
        found.all,
        parts=_parts(found),
    )
    report = _with_waiting(report, found.waiting)
    if not names:
        return report
    return f"{report} {_('They are by {names}.').format(names=names)} {_only_for_members(prefix)}"


def _parts(found: Found) -> str:
    counts = (
        (found.complete, _("{n} recorded whole")),
        (found.incomplete, _("{n} incomplete (`status` and their pages say what is missing)")),
        (found.empty, _("{n} without sound")),
        (found.known, _("{n} already there")),
    )
    return ", ".join(told.format(n=n) for n, told in counts if n)


def _with_waiting(report: str, waiting: int) -> str:
    if not waiting:
        return report
    unheard = plural(
        "{count} of them waits for approval: `review` tells which.",
        "{count} of them wait for approval: `review` tells which.",
        waiting,
    )
    return f"{report} {unheard}"


REPLY_TO_A_VOICE_MESSAGE = N_("Please say that as a reply to the voice message with which the episode is to begin.")
NOT_TOLD_FOR_EPISODE = N_(
    "I can't do that yet: my notice of what I record is not in this room. A moderator can say `record on`, then this "
    "again."
)
NO_SUCH_VOICE_MESSAGE = N_(
    "I find no voice message there that I can read. Please say that as a reply to the voice message with which the "
    "episode is to begin."
)
NO_KEY_FOR_IT = N_(
    "I can't decrypt the message that you replied to: whoever runs me can import its key with `aircheck keys import`."
)
ONLY_ITS_SENDER_OR_MODS = N_("Only a moderator of this room, or whoever sent that message, can do that.")
NOTHING_TO_GATHER = N_("From that message on I found nothing that I could make an episode of.")


def episode_made(*, who: str, code: str, names: str, messages: int, prefix: str) -> str:
    """Tell that past messages became an episode: of whom it is, who can hear it, and how to object."""
    made = plural(
        "{who} made an episode ({code}) of {count} voice message from the past, by {names}.",
        "{who} made an episode ({code}) of {count} voice messages from the past, by {names}.",
        messages,
        who=who,
        code=code,
        names=names,
    )
    return f"{made} {_only_for_members(prefix)}"


def _only_for_members(prefix: str) -> str:
    return _(
        "Only members of this room can hear it. Whoever speaks in it and does not want that can delete their messages "
        "in this room, or say `{prefix} forget me`; after `{prefix} optout` nothing more of them is recorded."
    ).format(prefix=prefix)


def names_of(names: Sequence[str], most: int) -> str:
    """List the first names, and how many more there are."""
    more = len(names) - most
    if more <= 0:
        return ", ".join(names)
    listed_names = ", ".join(names[:most])
    return plural("{names} and {count} other", "{names} and {count} others", more, names=listed_names)


def left_out(*, elsewhere: int, refused: int, sealed: int, beyond: int, narrower: int) -> Sequence[str]:
    """Tell which past messages were not recorded, and why; a sentence for each reason."""
    told = (
        (
            elsewhere,
            plural(
                "{count} message is in another recording already.",
                "{count} messages are in other recordings already.",
                elsewhere,
            ),
        ),
        (
            refused,
            plural(
                "{count} message was left out, since its sender is not recorded here.",
                "{count} messages were left out, since their senders are not recorded here.",
                refused,
            ),
        ),
        (
            sealed,
            plural("{count} message could not be decrypted.", "{count} messages could not be decrypted.", sealed),
        ),
        (
            beyond,
            plural(
                "The last message did not fit, since a recording can't be longer.",
                "The last {count} messages did not fit, since a recording can't be longer.",
                beyond,
            ),
        ),
        (
            narrower,
            plural(
                "{count} message was left out, since fewer people may read it than can hear this episode.",
                "{count} messages were left out, since fewer people may read them than can hear this episode.",
                narrower,
            ),
        ),
    )
    return [sentence for count, sentence in told if count]


MOST_LISTED = 30
"""The most recordings that a notice about retention lists; all others are older than those."""


def rule_of(rule: RetentionRule) -> str:
    """Name the rule by which a recording goes."""
    match rule.kind:
        case RuleKind.DAYS:
            return plural("older than {count} day", "older than {count} days", rule.most)
        case RuleKind.EPISODES:
            return plural("older than the newest episode", "older than the newest {count} episodes", rule.most)
        case RuleKind.MAX_DAYS:
            return plural(
                "older than {count} day, which the administrator of this Aircheck allows",
                "older than {count} days, which the administrator of this Aircheck allows",
                rule.most,
            )


def expires(lines: Sequence[str], *, unlisted: int, prefix: str) -> str:
    """Tell a room which recordings retention will delete. `lines`: one for each but those that are `unlisted`, as
    `expiring` makes them."""
    first = plural(
        "This recording will be deleted by retention:",
        "These {count} recordings will be deleted by retention:",
        len(lines) + unlisted,
    )
    keep = _("`{prefix} keep CODE` keeps one for good: its speaker or a moderator can say so until then.")
    return "\n".join([first, *listed(lines, unlisted), keep.format(prefix=prefix)])


def expiring(code: str, title: str, when: str, rule: RetentionRule) -> str:
    """Describe a recording that retention will delete. `when`: the earliest time."""
    line = _("{code} · {title} · {when} · {rule}")
    return line.format(code=code, title=title, when=when, rule=rule_of(rule))


def expired(gone: Sequence[tuple[str, RetentionRule]], unlisted: int = 0) -> str:
    """Tell a room which recordings retention has deleted, by which rule, and how many more."""
    first = plural(
        "Retention has deleted this recording, with its audio and its page:",
        "Retention has deleted these {count} recordings, with their audio and their pages:",
        len(gone) + unlisted,
    )
    lines = [_("{code} · {rule}").format(code=code, rule=rule_of(rule)) for code, rule in gone]
    return "\n".join([first, *listed(lines, unlisted), _("Copies in people's apps can't be called back.")])


def listed(lines: Sequence[str], unlisted: int = 0) -> list[str]:
    """Return the first lines, and how many more there are, with those that are `unlisted` here."""
    more = len(lines) - MOST_LISTED + unlisted
    if more <= 0:
        return list(lines)
    return [*lines[:MOST_LISTED], plural("… and {count} older one", "… and {count} older ones", more)]


def floor_hindered(needed: int | None) -> str:
    """Tell a room that the bot can't keep the floor of its walkie-talkie. `needed`: a power level; None: not known."""
    if needed is None:
        return _("The homeserver does not let me change this room's power levels, so I can't give anybody the floor.")
    return _(
        "I can't give anybody the floor: I need power level {level} in this room. Once I have it, I put everything "
        "right."
    ).format(level=needed)
