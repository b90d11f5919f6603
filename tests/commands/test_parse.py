"""The grammar of commands."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.parse import (
    Code,
    Command,
    Heads,
    Last,
    RecordingName,
    after_head,
    is_command,
    number,
    parse,
    recording_name,
    text_after,
)
from bot.dialects import read
from bot.dialects.events import TextMessage
from storage.records import EventId, HeardEvent, Json, RoomId

PREFIX = "!aircheck"
HEADS = Heads(PREFIX, "@aircheck:hs.example")
NAMED = replace(HEADS, name="Air Check (bot)")
ADDRESS = "https://matrix.to/#/@aircheck:hs.example"


def message(body: object, **content: object) -> dict[str, Any]:
    return {"type": "m.room.message", "content": {"msgtype": "m.text", "body": body, **content}}


def says_command(event: Json, heads: Heads) -> bool:
    said = read(HeardEvent(RoomId("!r:hs"), EventId("$e"), {"sender": "@a:hs", **event}))
    return isinstance(said, TextMessage) and is_command(said.body, heads)


COMMANDS: dict[str, Json] = {
    "alone": message("!aircheck"),
    "with words": message("!aircheck record on"),
    "tab and line end": message("!aircheck\thelp\n"),
    "no-break space of a telephone keyboard": message("!aircheck\u00a0help"),
    "in a thread": message(
        "!aircheck status", **{"m.relates_to": {"rel_type": "m.thread", "event_id": "$r", "is_falling_back": True}}
    ),
    "a reply that quotes nothing": message(
        "!aircheck status", **{"m.relates_to": {"m.in_reply_to": {"event_id": "$r"}}}
    ),
    "html that says something else": message("!aircheck status", format="org.matrix.custom.html", formatted_body="no"),
    "white space in front": message(" \n\t!aircheck help"),
    "a telephone's capital": message("!Aircheck help"),
    "all capitals": message("!AIRCHECK HELP"),
    "a colon": message("!aircheck: help"),
    "a colon and no space": message("!aircheck:help"),
    "a comma": message("!aircheck, help"),
    "an escaped prefix": message("\\!aircheck help"),
    "a relation that is junk": message("!aircheck status", **{"m.relates_to": ["m.replace"]}),
}

OTHERS: dict[str, Json] = {
    "talk": message("hello"),
    "the prefix inside": message("say !aircheck help"),
    "another word": message("!aircheckers help"),
    "other punctuation": message("!aircheck. help"),
    "a name in front of the prefix": message("bob: !aircheck help"),
    "two escapes": message("\\\\!aircheck help"),
    "a zero-width joint": message("!aircheck\u200bhelp"),
    "an edit": message("!aircheck help", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}),
    "an edit whose relation is on the wrapper": message(
        "!aircheck help", **{"m.new_content": {"body": "!aircheck help"}}
    ),
    "an edit's fall-back": message("* !aircheck help"),
    "a quote": message("> <@a:hs> !aircheck help\n\n!aircheck help"),
    "a quote after white space": message("  > !aircheck help"),
    "an edit with white space in front": message("* \\!aircheck help"),
    "a bot's notice": message("!aircheck help") | {"content": {"msgtype": "m.notice", "body": "!aircheck help"}},
    "an emote": message("!aircheck help") | {"content": {"msgtype": "m.emote", "body": "!aircheck help"}},
    "a file": message("!aircheck help") | {"content": {"msgtype": "m.file", "body": "!aircheck help"}},
    "no kind": {"type": "m.room.message", "content": {"body": "!aircheck help"}},
    "state": message("!aircheck help") | {"state_key": ""},
    "another type": message("!aircheck help") | {"type": "m.sticker"},
    "a redacted one": {"type": "m.room.message", "content": {}},
    "content that is no object": {"type": "m.room.message", "content": "!aircheck help"},
    "a body that is no text": message(["!aircheck"]),
    "a body that is null": message(None),
    "nothing": {},
}


@pytest.mark.parametrize("event", COMMANDS.values(), ids=COMMANDS)
def test_a_plain_body_that_begins_with_the_prefix_is_a_command(event: Json) -> None:
    """The plain body alone decides, in threads and replies too."""
    assert says_command(event, HEADS)


@pytest.mark.parametrize("event", OTHERS.values(), ids=OTHERS)
def test_edits_quotes_notices_and_junk_are_no_commands(event: Json) -> None:
    """Only a fresh text message is taken for a command."""
    assert not says_command(event, NAMED)


def test_a_prefix_of_somebody_elses_is_not_ours() -> None:
    """Only the prefix that is set counts, and no character of it is a pattern."""
    for prefix in ("%rec", "(", "[a-z]", "\\", "^.*", "!ÄÖ"):
        own = replace(HEADS, prefix=prefix)
        assert says_command(message(f"{prefix} status"), own)
        assert not says_command(message("!aircheck status"), own)


BY_ID = {
    "the user id": "@aircheck:hs.example status",
    "the user id and a colon (Element Android)": "@aircheck:hs.example: status",
    "the user id and a comma": "@aircheck:hs.example, status",
    "the localpart": "@aircheck status",
    "the localpart and a colon": "@aircheck: status",
    "the localpart as a telephone writes it": " @Aircheck, status",
    "a link as Markdown (Element X)": f"[Air Check (bot)]({ADDRESS}) status",
    "the same, of the user id": f"[@aircheck:hs.example]({ADDRESS}): status",
    "the same, with escapes": "[x](https://matrix.to/#/%40aircheck%3Ahs.example) status",
    "the same, with a server to ask": f"[x]({ADDRESS}?via=hs.example), status",
    "the same, with a pointed address": f"[x](<{ADDRESS}>) status",
    "a bare link": f"{ADDRESS} status",
}
BY_NAME = {
    "the display name (Element Web, nheko)": "Air Check (bot) status",
    "and a colon (Element Web, SchildiChat)": "Air Check (bot): status",
    "with an at sign (Cinny)": "@Air Check (bot) status",
    "in brackets (FluffyChat)": "@[Air Check (bot)] status",
    "in small letters": "air check (bot), status",
}
NOT_OURS = {
    "another server's": "@aircheck:other.example status",
    "another server's, and a colon": "@aircheck:other.example: status",
    "another port's": "@aircheck:hs.example:8448 status",
    "a longer server's": "@aircheck:hs.example.org status",
    "a longer localpart": "@airchecker status",
    "a localpart with a dash": "@aircheck-bot status",
    "a longer name": "Air Check (bot)s status",
    "somebody else first": "Bob and Air Check (bot): status",
    "somebody else's link": "[Air Check (bot)](https://matrix.to/#/@bob:hs.example) status",
    "a link to another server's": "[x](https://matrix.to/#/@aircheck:hs.example.org) status",
    "a link elsewhere": "[x](https://evil.example/#/@aircheck:hs.example) status",
    "a quoted mention": "> Air Check (bot): status",
}


@pytest.mark.parametrize("body", BY_ID.values(), ids=BY_ID)
def test_the_bots_id_in_front_counts_as_the_prefix(body: str) -> None:
    """A mention of the bot by id counts however a client writes it into the plain body."""
    assert says_command(message(body), HEADS)
    assert parse(after_head(body, HEADS) or "") == Command("status")


@pytest.mark.parametrize("body", BY_NAME.values(), ids=BY_NAME)
def test_the_bots_name_counts_only_where_it_is_mentioned(body: str) -> None:
    """The bot's display name begins a command only with a mention of the bot."""
    assert parse(after_head(body, NAMED) or "") == Command("status")
    assert not says_command(message(body), HEADS)


@pytest.mark.parametrize("body", NOT_OURS.values(), ids=NOT_OURS)
def test_who_means_somebody_else_says_no_command(body: str) -> None:
    """A body that names another user, or mentions the bot further on, is no command."""
    assert not says_command(message(body), NAMED)


def test_a_name_is_no_pattern_and_an_empty_one_is_none() -> None:
    """A display name is matched literally, and an empty one never matches."""
    assert not says_command(message("xx status"), replace(HEADS, name=".*"))
    assert says_command(message(".* status"), replace(HEADS, name=".*"))
    for nothing in ("", " "):
        assert not says_command(message("status"), replace(HEADS, name=nothing))
        assert not says_command(message(" status"), replace(HEADS, name=nothing))


def test_an_editor_that_escapes_the_prefix_escapes_the_rest() -> None:
    """Escapes are undone only where the prefix is escaped."""
    escaped = after_head("\\!aircheck title kfmtra My \\*first\\* show \\_1\\_ \\q", HEADS)
    assert text_after(escaped or "", 2) == "My *first* show _1_ \\q"
    assert text_after(after_head("!aircheck title kfmtra C:\\_x", HEADS) or "", 2) == "C:\\_x"


def test_a_long_body_is_looked_at_in_linear_time() -> None:
    """Long runs of white space, brackets and prefixes match nothing, at once."""
    for body in (" " * 60_000, "[" * 60_000, "\\" * 60_000, "!aircheck" * 6_000, f"[{'x' * 60_000}]({ADDRESS}) status"):
        assert not says_command(message(body), NAMED)


junk: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 1.5, float("nan"), 10**30, "", "m.replace", "!aircheck", [], ["m.text"], {}, {"rel_type": {}}]
)
contents = st.dictionaries(
    st.sampled_from(["msgtype", "body", "m.relates_to", "m.new_content"]),
    junk | st.just("m.text") | st.text(max_size=5),
)


@given(
    st.fixed_dictionaries(
        {}, optional={"type": junk | st.just("m.room.message"), "content": junk | contents, "state_key": junk}
    )
)
def test_no_event_breaks_it(event: Json) -> None:
    """An event of any shape gives an answer, and a yes only for a text body with the prefix."""
    if says_command(event, NAMED):
        assert event["content"]["msgtype"] == "m.text"
        assert after_head(event["content"]["body"], NAMED) is not None


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("!aircheck", Command("help")),
        ("!aircheck \n ", Command("help")),
        ("!aircheck help record", Command("help", ("record",))),
        ("!aircheck  RECORD   On ", Command("record", ("On",))),
        ("!aircheck publish kfmtra", Command("publish", ("kfmtra",))),
        ("!aircheck\u00a0list\u00a010", Command("list", ("10",))),
        ("!aircheck dance now", Command("dance", ("now",))),
    ],
)
def test_a_command_is_a_verb_and_words(body: str, command: Command) -> None:
    """Any white space separates words; the verb's case does not matter, that of the words is kept."""
    assert parse(after_head(body, HEADS) or "") == command


@given(st.text())
def test_every_body_is_a_command(rest: str) -> None:
    """Verb and words are words: not empty, without white space."""
    command = parse(rest)
    assert all(word and not any(map(str.isspace, word)) for word in (command.verb, *command.words))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("kfmtra", Code("kfmtra")),
        ("KFMTRA", Code("kfmtra")),
        ("last", Last()),
        ("LAST", Last()),
        ("$abc:hs", EventId("$abc:hs")),
        ("$abcDEF-_123", EventId("$abcDEF-_123")),
        ("kfmtr", None),
        ("kfmtraa", None),
        ("kfmtr1", None),
        ("kſmtra", None),  # its capital is a plain S
        ("$", None),
        ("$" + "a" * 255, None),
        ("$a\u202eb", None),
        ("", None),
    ],
)
def test_a_recording_is_named_by_code_last_or_event_id(word: str, name: RecordingName | None) -> None:
    """Six letters in any case, `last` and an event id name a recording, and nothing else does."""
    assert recording_name(word) == name


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("1", 1),
        ("50", 50),
        ("007", 7),
        ("0", None),
        ("51", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 99, None),
    ],
)
def test_a_number_is_whole_and_within_bounds(word: str, found: int | None) -> None:
    """Only plain digits are a number, and one that is too large is refused, not cut."""
    assert number(word, 50) == found
