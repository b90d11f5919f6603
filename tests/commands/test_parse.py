"""What is a command, and what does it say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.parse import (
    Code,
    Command,
    Last,
    ParseError,
    RecordingName,
    is_command,
    number,
    parse,
    recording_name,
)
from storage.records import EventId, Json

PREFIX = "!aircheck"


def message(body: object, **content: object) -> dict[str, object]:
    return {"type": "m.room.message", "content": {"msgtype": "m.text", "body": body, **content}}


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
    "a relation that is junk": message("!aircheck status", **{"m.relates_to": ["m.replace"]}),
}

OTHERS: dict[str, Json] = {
    "talk": message("hello"),
    "the prefix inside": message("say !aircheck help"),
    "white space in front": message(" !aircheck help"),
    "another word": message("!aircheckers help"),
    "punctuation": message("!aircheck: help"),
    "a zero-width joint": message("!aircheck\u200bhelp"),
    "an edit": message("!aircheck help", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}),
    "an edit whose relation is on the wrapper": message(
        "!aircheck help", **{"m.new_content": {"body": "!aircheck help"}}
    ),
    "an edit's fall-back": message("* !aircheck help"),
    "a quote": message("> <@a:hs> !aircheck help\n\n!aircheck help"),
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
    """The plain text alone decides, in threads and replies too."""
    assert is_command(event, PREFIX)


@pytest.mark.parametrize("event", OTHERS.values(), ids=OTHERS)
def test_edits_quotes_notices_and_junk_are_no_commands(event: Json) -> None:
    """Nothing but a fresh text message is taken for a command."""
    assert not is_command(event, PREFIX)


def test_a_prefix_of_somebody_elses_is_not_ours() -> None:
    """The prefix is a setting."""
    assert is_command(message("%rec status"), "%rec")
    assert not is_command(message("!aircheck status"), "%rec")


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
    """Events are strangers' JSON: any shape gives an answer, and a yes only for a text body with the prefix."""
    if is_command(event, PREFIX):
        assert event["content"]["msgtype"] == "m.text"
        assert event["content"]["body"].startswith(PREFIX)


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
    """Any white space parts them; the verb's case does not matter, that of the words is kept."""
    assert parse(body, PREFIX) == command


@pytest.mark.parametrize(
    "verb", ["@room", "récord", "record!", "http://evil.example", "a" * 21, "\u202ehelp", "$x", "1"]
)
def test_what_cannot_be_a_verb_is_answered_without_repeating_it(verb: str) -> None:
    """The sentence names the way to the commands and none of the words that were said."""
    answer = parse(f"!aircheck {verb}", PREFIX)
    assert isinstance(answer, ParseError)
    assert "`!aircheck help`" in answer.sentence
    assert verb == "1" or verb not in answer.sentence


@given(st.text())
def test_every_body_is_a_command_or_a_sentence(rest: str) -> None:
    """A verb is one plain word; words hold no white space."""
    command = parse(f"!aircheck {rest}", PREFIX)
    if isinstance(command, Command):
        assert command.verb.isascii()
        assert command.verb.isalpha()
        assert all(word and not any(map(str.isspace, word)) for word in command.words)
    else:
        assert command.sentence.endswith(".")


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
    """Six letters in any case, `last`, or an event id; all else names nothing."""
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
    """Plain digits only; what is too large is refused, not cut."""
    assert number(word, 50) == found
