"""The log: to standard error, one record at a time, and never a token, a key, or what a person said.

Two lines of defence: loggers of libraries are capped (nio writes message text at WARNING), and every finished record is
searched for what looks like a token. Neither is a licence to log one.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Protocol, TextIO

OURS = ("bot", "storage")
CAPPED = {
    "nio": logging.CRITICAL,  # message text at WARNING, whole events at ERROR ("Error validating event")
    "simplematrixbotlib": logging.ERROR,
    "peewee": logging.WARNING,  # every statement of nio's store, with its values, at DEBUG
    "aiosqlite": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "aiortc": logging.WARNING,  # descriptions of connections, with ICE passwords, at DEBUG
    "aioice": logging.WARNING,  # addresses of those in a call at INFO
    "aiohttp.access": logging.CRITICAL + 1,  # paths hold listeners' tokens
}

SECRETS = (
    re.compile(r"(?<=/p/)[^/\s\"']+"),  # a listener's token in a personal address
    re.compile(r"\b[a-z2-7]{52}\b"),  # the same, wherever it stands
    re.compile(r"\b(?:syt|syr|syl|mat|mct|mcr)_[\w-]{8,}"),  # tokens of Synapse and its authentication service
    re.compile(r"(?<=Bearer )[^\s\"']+", re.IGNORECASE),
    re.compile(r"(?<=access_token=)[^&\s\"']+"),
    re.compile(r"(?<=token\": \")[^\"]+|(?<=token': ')[^']+|(?<=password\": \")[^\"]+|(?<=password': ')[^']+"),
)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that could begin a new line or repaint a terminal if a room's name held them."""


class LogOptions(Protocol):
    """The level and the format of the log: the section `log` of the settings."""

    @property
    def level(self) -> str: ...

    @property
    def format(self) -> str: ...


def redact(text: str) -> str:
    """Replace what looks like a token or a password by `…`."""
    for pattern in SECRETS:
        text = pattern.sub("…", text)
    return text


def one_line(text: str) -> str:
    """Replace line breaks and control characters by escapes."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """Formatter of lines `time level logger: message`; a traceback follows indented, within the same record."""

    def format(self, record: logging.LogRecord) -> str:
        line = one_line(redact(record.getMessage()))
        text = f"{_moment(record)} {record.levelname.lower():<7} {record.name}: {line}"
        if record.exc_info:
            trace = redact(self.formatException(record.exc_info))
            text = "\n".join([text, *(f"    {one_line(line)}" for line in trace.split("\n"))])
        return text


class JsonFormatter(logging.Formatter):
    """Formatter of one JSON object a line: time, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure(options: LogOptions, *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Send every logger to `stream` (None: standard error) as the options say; `debug` overrides their level.

    The level is that of our own loggers; those of libraries stay at WARNING or above.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else options.level.upper())
    for name, level in CAPPED.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    logging.raiseExceptions = debug  # a record that can't be formatted would be printed raw, with its arguments
