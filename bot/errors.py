"""Errors: one class for each decision that a caller can take. Pure.

They carry where it happened (room, event, file) so that one log line can say it; their text is one plain
sentence without a token, a key or what somebody said.
"""

from typing import ClassVar


class AircheckError(Exception):
    """Anything of ours. `exit_code` is the shell's when it ends the program."""

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str, *, room: str | None = None, event: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.room = room
        self.event = event


class ConfigError(AircheckError):
    """The person has to change a setting, an argument or a password: the sentence names it."""

    exit_code: ClassVar[int] = 2


class StartError(AircheckError):
    """It can't run here and now: port in use, store locked, data of a newer version."""


class TryLater(AircheckError):
    """It may work later: the job is put back. `after_s` is the other side's wish, in seconds; `at_most_s` where it is
    something of ours that is waited for, which tells nobody when it is there."""

    def __init__(
        self,
        sentence: str,
        *,
        after_s: float | None = None,
        at_most_s: float | None = None,
        room: str | None = None,
        event: str | None = None,
    ) -> None:
        super().__init__(sentence, room=room, event=event)
        self.after_s = after_s
        self.at_most_s = at_most_s


class GiveUp(AircheckError):
    """It will never work; `reason` is a short code for the ledger (not_found, hash_mismatch, not_audio, …)."""

    def __init__(self, sentence: str, *, reason: str, room: str | None = None, event: str | None = None) -> None:
        super().__init__(sentence, room=room, event=event)
        self.reason = reason


class WrongBytes(GiveUp):
    """The whole of an answer came, and its hash is not the one that the sender gave. The file stays where it is.
    `bytes` and `sha256` (lower-case hex) are those of the file."""

    def __init__(self, size: int, sha256: str) -> None:
        super().__init__("the media's hash is not the one that its sender gave", reason="hash_mismatch")
        self.bytes = size
        self.sha256 = sha256


class LimitHit(GiveUp):
    """Work on a chunk used up its time, or the system ended it. Other work on the machine does that too, so it says
    nothing of the chunk before it happened once more, with more time and little beside it."""

    def __init__(self) -> None:
        super().__init__("the chunk takes more time to decode than a chunk may", reason="undecodable")


class MisfitJob(Exception):
    """A job's payload is not what its kind carries: a mistake of ours, which the lanes log as one."""
