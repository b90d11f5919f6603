"""Carries out commands: the change and its answer are written in one transaction.

The answer is a once-only job named after the command. When a command comes a second time (the process died before its
job was done), its answer is already there, and the transaction is undone with everything that it would have changed.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from bot import facts, orders, topics
from bot.commands import confirm, places, unknown
from bot.commands.context import Action, CallsIn, Context, Said, SecretOf, ToConfirm, Verb, asker_of, no_calls
from bot.commands.parse import IN, Heads, Words, after_head, parse, text_after
from bot.commands.registry import VERBS
from bot.commands.replies import general
from bot.commands.replies.places import NOT_ENCRYPTED_THERE
from bot.event_types import MEMBER
from bot.intake import chats
from bot.intake.consent import Apply
from bot.language import _, speaking
from bot.settings import Settings
from bot.words import CONTINUES_ELSEWHERE
from storage import heirs, jobs, questions, rooms
from storage.database import Connection
from storage.records import Job, Room, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """The meaning of a command. `text` is its words, `room_id` the room that it is about (None: where it was said)."""

    verb: str  # for the log: of the registry, never what somebody wrote
    action: Action
    text: str
    changes: bool = False
    everywhere: bool = True
    room_id: RoomId | None = None
    before: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    body: str
    asks: bool = False


class _AnsweredBefore(Exception):
    """The command was answered before. Raised to undo the transaction."""


class Commands:
    """The handler of Command orders. `secret` returns the key that personal addresses are made with, `apply` is the
    recorder's, `calls_in` finds what calls go on in a room."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        secret: SecretOf,
        clock: Callable[[], datetime],
        *,
        apply: Apply,
        calls_in: CallsIn = no_calls,
    ) -> None:
        self._store = store
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._apply = apply
        self._calls_in = calls_in

    async def __call__(self, job: Job) -> None:
        """Carry the command out and answer it, once, however often it is called for the same command."""
        command = orders.Command.of(job)
        async with self._store.read() as db:
            step = await self._understood(db, command)
        if step.before is not None:
            await step.before()
        try:
            if step.changes:
                async with self._store.write() as db:
                    await self._say(db, command, await self._translated(db, command, step))
                return
            async with self._store.read() as db:
                answer = await self._translated(db, command, step)
            async with self._store.write() as db:
                await self._say(db, command, answer)
        except _AnsweredBefore:
            log.info("answered before: command=%s room=%s event=%s", step.verb, command.room_id, command.event_id)

    async def confirm(self, job: Job) -> None:
        """Handle a Confirm order: carry out what the question asks about, once, and answer where it was asked. Only the
        asker's own reaction to their open question counts; any other gets no answer."""
        order = orders.Confirm.of(job)
        said = Said(order.room_id, order.received_at, order.sent_at, encrypted=False)
        async with self._store.write() as db:
            room = await rooms.room(db, order.room_id)
            question = await questions.open_of(db, order.room_id, order.sender)
            context = await self._context(db, order, said, text="")
            if room is None or context is None or question is None or question.event_id != order.to:
                return
            with speaking(room.language):
                answer = _(await confirm.by_reaction(context, question, history=order.history))
            topic = topics.answer(order.event_id)
            notice = orders.Notice(
                topic,
                order.room_id,
                answer,
                reply_to=order.to,
                thread=question.thread,
                until=order.received_at + orders.ANSWERED_WITHIN,
            )
            await jobs.add(db, notice.job(), self._clock())

    @property
    def _us(self) -> UserId:
        return UserId(self._settings.matrix.user_id)

    async def _understood(self, db: Connection, command: orders.Command) -> _Step:
        """Decide what a command asks for, and in which room."""
        text = await self._text(db, command)
        room = await rooms.room(db, command.room_id)
        if room is None or not await chats.are_alone(db, room, command.sender, self._us):
            return _read(text)
        return await _read_in_chat(db, room, command.sender, text)

    async def _text(self, db: Connection, command: orders.Command) -> str:
        """Return what follows the prefix, or the bot's name in that room; all of it in a direct chat without them."""
        name = None
        if self._us in command.mentions:
            name = facts.display_name(await rooms.state(db, command.room_id, MEMBER, self._us))
        text = after_head(command.body, Heads(self._settings.commands.prefix, self._us, name))
        return command.body if text is None else text

    async def _translated(self, db: Connection, command: orders.Command, step: _Step) -> _Answer | None:
        """Carry the command out and return the answer in the language of the room where it was said."""
        room = await rooms.room(db, command.room_id)
        with speaking(room.language if room else None):
            answer = await self._answer(db, command, step)
            # An answer that is a constant is still English.
            return None if answer is None else replace(answer, body=_(answer.body))

    async def _answer(self, db: Connection, command: orders.Command, step: _Step) -> _Answer | None:
        """Carry the command out and return the answer; None: only members of the room get one, or a job gives it."""
        received_at = command.received_at or self._clock()
        said = Said(command.room_id, received_at, command.sent_at, command.encrypted, command.thread, command.reply_to)
        context = here = await self._context(db, command, said, step.text)
        if here is not None and step.room_id is not None:
            context = await here.in_room(step.room_id)
        if here is None or context is None:
            log.info(
                "ignored, not from a member: command=%s room=%s event=%s", step.verb, command.room_id, command.event_id
            )
            return None
        if _is_old(command, context.now):
            return _Answer(general.AWAY)
        if step.changes and not command.encrypted and (here.room.encrypted or context.room.encrypted):
            return _Answer(general.NOT_ENCRYPTED if here.room.encrypted else NOT_ENCRYPTED_THERE)
        if context.podcast.room_id != context.room.room_id and not step.everywhere:
            return _Answer(CONTINUES_ELSEWHERE)
        log.info("command=%s room=%s event=%s", step.verb, context.room.room_id, command.event_id)
        answer = await step.action(context)
        if isinstance(answer, ToConfirm):
            return _Answer(await confirm.ask(context, step.verb, answer), asks=True)
        return None if answer is None else _Answer(answer)

    async def _context(
        self, db: Connection, order: orders.Command | orders.Confirm, said: Said, text: str
    ) -> Context | None:
        """Return the context of what was said in a room; None where the bot or the sender is not a member."""
        room = await rooms.room(db, order.room_id)
        asker = await asker_of(db, order.room_id, order.sender, self._settings)
        if room is None or not room.joined or asker is None:
            return None
        return Context(
            db=db,
            text=text,
            room=room,
            podcast=await heirs.podcast(db, await heirs.line(db, room.room_id)),
            asker=asker,
            position=order.position,
            settings=self._settings,
            secret=self._secret,
            now=self._clock(),
            verbs=VERBS,
            command=order.event_id,
            said=said,
            apply=self._apply,
            calls_in=self._calls_in,
        )

    async def _say(self, db: Connection, command: orders.Command, answer: _Answer | None) -> None:
        """Write the answer down. Raises _AnsweredBefore when it is already there."""
        if answer is None:
            return
        notice = orders.Notice(
            topics.answer(command.event_id),
            command.room_id,
            answer.body,
            reply_to=command.event_id,
            thread=command.thread,
            until=(command.received_at or self._clock()) + orders.ANSWERED_WITHIN,
            asks=command.event_id if answer.asks else None,
        )
        if not await jobs.add(db, notice.job(), self._clock()):
            raise _AnsweredBefore


def _is_old(command: orders.Command, now: datetime) -> bool:
    """Return whether the command was sent too long ago to be carried out."""
    return command.history or command.sent_at is None or now - command.sent_at > orders.ANSWERED_WITHIN


def _read(text: str) -> _Step:
    """Parse the text of a command. One that can't be understood is answered with a sentence."""
    command = parse(text)
    verb = VERBS.get(command.verb)
    if verb is None:
        return _Step("unknown", partial(_unknown, words=(command.verb, *command.words)), text)
    action = verb.read(command.words)
    if action is None:
        return _Step(verb.name, partial(_misfit, verb=verb, words=(command.verb, *command.words)), text)
    before = partial(verb.before, command.words) if verb.before else None
    return _Step(verb.name, action, text, verb.changes(command.words), verb.everywhere, before=before)


async def _read_in_chat(db: Connection, chat: Room, user_id: UserId, text: str) -> _Step:
    """Parse the text of a command that was said in a direct chat: it may name a room, or be about the only shared
    one."""
    command = parse(text)
    shared = await places.shared_with(db, user_id)
    if command.verb == IN:
        fit = places.fit(text_after(text, 1), shared)
        if len(fit.rooms) == 1:
            return replace(_read(fit.rest), room_id=fit.rooms[0].room_id)
        return _Step(IN, partial(places.unclear_room, fitting=fit.rooms, example="status"), text)
    step, verb = _read(text), VERBS.get(command.verb)
    if verb is None or verb.read(command.words) is None or verb.of_chat(command.words):
        return step
    if not await chats.is_mere_chat(db, chat):
        return step
    rooms_of_both = [room for room in shared if room.named]
    if len(rooms_of_both) == 1 and not verb.changes(command.words):
        return replace(step, room_id=rooms_of_both[0].room_id)
    return _Step(verb.name, partial(places.which_room, example=verb.forms[0].example), text)


async def _unknown(context: Context, *, words: Words) -> str:
    return unknown.answer(context.prefix, context.forms, words)


async def _misfit(context: Context, *, verb: Verb, words: Words) -> str:
    return unknown.misfit(context.prefix, verb.forms, words)
