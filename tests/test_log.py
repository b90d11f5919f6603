"""The log: one record per line, no secrets, capped library loggers."""

import io
import json
import logging
from dataclasses import dataclass

import pytest

from bot import log


@dataclass(frozen=True)
class Options:
    level: str = "info"
    format: str = "text"


def configured(options: Options, *, debug: bool = False) -> io.StringIO:
    stream = io.StringIO()
    log.configure(options, debug=debug, stream=stream)
    return stream


def fail(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("bot.worker").exception("it failed")


def test_text_is_time_level_logger_and_message() -> None:
    """A text record begins with a UTC time, the level and the logger."""
    stream = configured(Options())
    logging.getLogger("bot.worker").info("chunk %d stored", 3)
    moment, level, rest = stream.getvalue().split(maxsplit=2)
    assert moment.endswith("Z")
    assert level == "info"
    assert rest == "bot.worker: chunk 3 stored\n"


def test_every_line_of_json_is_one_valid_record() -> None:
    """In the JSON format each record is one line, also with a traceback and line breaks in it."""
    stream = configured(Options(format="json"))
    logging.getLogger("bot.worker").warning("a room called %s", 'two\nlines "quoted"')
    fail("boom")
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [record["level"] for record in records] == ["warning", "error"]
    assert records[0]["message"] == 'a room called two\nlines "quoted"'
    assert "ValueError: boom" in records[1]["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("GET /p/mfrggzdfmztwq2lk/feed.xml", "mfrggzdfmztwq2lk"),
        ("the address of mfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrg", "mfrggzdfmztwq2lk"),
        ("token syt_Ym90_QmJzZXRhc2Rm_1a2b3c", "QmJzZXRhc2Rm"),
        ("https://hs/x?access_token=abcdef&y=1", "abcdef"),
        ("Authorization: Bearer abcdef", "abcdef"),
        ("answer {'access_token': 'abcdef', 'x': 1}", "abcdef"),
        ('answer {"password": "abcdef"}', "abcdef"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(line: str, secret: str, form: str) -> None:
    """Tokens and passwords become `…` in messages, in arguments and in tracebacks."""
    stream = configured(Options(format=form))
    logging.getLogger("bot.web").info("%s", line)
    fail(line)
    assert secret not in stream.getvalue()
    assert stream.getvalue().count("…") >= 2


def test_a_name_can_not_begin_a_new_record() -> None:
    """Line breaks and terminal escapes in a message are written as escapes, so that no record can be forged."""
    stream = configured(Options())
    logging.getLogger("bot.intake").info("joined %s", "a\n2026-01-01 error\x1b[2J\u202e\u2028b")
    assert stream.getvalue().count("\n") == 1
    assert "\\n2026" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "\u2028" not in stream.getvalue()


def test_a_traceback_stays_below_its_record() -> None:
    """In the text format the lines of a traceback are indented, whatever the exception's text holds."""
    stream = configured(Options())
    fail("one\n2026-01-01 forged")
    first, *others = stream.getvalue().splitlines()
    assert "it failed" in first
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("nio.crypto.olm_machine", logging.ERROR),
        ("nio.rooms", logging.WARNING),
        ("nio.events.misc", logging.ERROR),
        ("simplematrixbotlib.api", logging.WARNING),
        ("peewee", logging.DEBUG),
        ("aiohttp.access", logging.CRITICAL),
        ("sqlalchemy.engine.Engine", logging.INFO),
    ],
)
def test_libraries_that_log_what_was_said_are_silent(name: str, level: int) -> None:
    """Messages and paths that nio, its store and the web library would log are not written, even in debug."""
    stream = configured(Options(level="debug"), debug=True)
    logging.getLogger(name).log(level, "hello, this is what Alice said")
    assert stream.getvalue() == ""


def test_the_level_is_ours_alone() -> None:
    """The level holds for our loggers; those of libraries begin at warnings; --debug overrides the settings."""
    stream = configured(Options(level="error"))
    logging.getLogger("bot.app").warning("not wished")
    logging.getLogger("storage.migrate").error("wished")
    logging.getLogger("asyncio").info("not wished")
    assert [line.rsplit(" ", 1)[-1] for line in stream.getvalue().splitlines()] == ["wished"]
    stream = configured(Options(level="error"), debug=True)
    logging.getLogger("bot.app").debug("now wished")
    assert stream.getvalue().endswith("now wished\n")


def test_configuring_twice_writes_once() -> None:
    """A second call replaces the first handler."""
    first, second = configured(Options()), configured(Options())
    logging.getLogger("bot").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
