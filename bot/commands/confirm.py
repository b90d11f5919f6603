"""`yes`: questions about what cannot be undone, and their confirmation.

A question ends when CONFIRMED_WITHIN has passed since it was said. Its asker alone can confirm it, in the room where it
was asked: by `yes`, or by a reaction to it (`bot.intake.questions`). Rights are checked again when it is carried out.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from bot.commands.context import Action, Context, ToConfirm, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import confirm as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from bot.words import CONTINUES_ELSEWHERE
from storage import questions
from storage.records import Question

CONFIRMED_WITHIN = timedelta(seconds=60)


async def ask(context: Context, verb: str, asked: ToConfirm) -> str:
    """Store a question, and return it with the ways to confirm it."""
    await questions.ask(
        context.db,
        Question(
            command=context.command,
            room_id=context.said.room_id,
            asker=context.asker.user_id,
            verb=verb,
            words=asked.words,
            asked_at=context.now,
            encrypted=context.said.encrypted,
            about=context.room.room_id,
            thread=context.said.thread,
            sent_at=context.said.sent_at,
        ),
    )
    return replies.question(asked.question, context.prefix, CONFIRMED_WITHIN.seconds)


async def by_reaction(context: Context, question: Question, *, history: bool) -> str:
    """Carry out what the asker's open question is about. A reaction that is met in history comes too late."""
    return await _carry_out(context, question, in_time=not history and _is_in_time(context, question))


async def _by_word(context: Context) -> str:
    question = await questions.open_of(context.db, context.said.room_id, context.asker.user_id)
    if question is None or question.said_at is None or context.said.received_at < question.said_at:
        return replies.NOTHING_TO_CONFIRM
    return await _carry_out(context, question, in_time=_is_in_time(context, question))


def _is_in_time(context: Context, question: Question) -> bool:
    """Return whether a confirmation came while its question was open: by our clock, and by what its sender's homeserver
    says, whose clock may be ahead of ours by as much as the command's time was."""
    said, sent_at = context.said, context.said.sent_at
    if question.said_at is None or sent_at is None or question.sent_at is None:
        return False
    ends: datetime = question.said_at + CONFIRMED_WITHIN
    ahead = max(timedelta(), question.sent_at - question.asked_at)
    return question.said_at <= said.received_at <= ends and question.sent_at <= sent_at <= ends + ahead


async def _carry_out(context: Context, question: Question, *, in_time: bool) -> str:
    """Close a question, and carry it out if its confirmation came in time and its asker may still do that."""
    await questions.close(context.db, question.command)
    there = await context.in_room(question.about)
    verb = context.verbs.get(question.verb)
    action = verb.read(question.words) if verb else None
    if not in_time or there is None or verb is None or action is None:
        return replies.ENDED
    if (context.room.encrypted or there.room.encrypted) and not question.encrypted:
        return general.NOT_ENCRYPTED
    if there.podcast.room_id != there.room.room_id and not verb.everywhere:
        return CONTINUES_ELSEWHERE
    text = " ".join((question.verb, *question.words))
    answer = await action(replace(there, text=text, command=question.command, confirmed=True))
    assert isinstance(answer, str), "nothing is asked twice"
    return answer


def _read(words: Words) -> Action | None:
    return None if words else _by_word


VERBS = (
    Verb(
        "yes",
        (Form("yes", Who.EVERYBODY, N_("confirms what I asked you, within a minute"), "yes", Group.YOU),),
        _read,
        changes=always,
        everywhere=True,
        of_chat=always,
    ),
)
