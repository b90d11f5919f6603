"""Errors: one class for each decision that a caller can take. Pure.

They carry where it happened (room, event), so that one log line can say it. Their text is one plain sentence without a
token, a key or what a person said.
"""

from typing import ClassVar


class AircheckError(Exception):
    """An error of Aircheck. `exit_code` is the shell's when it ends the program."""

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str, *, room: str | None = None, event: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.room = room
        self.event = event


class ConfigError(AircheckError):
    """A mistake in a setting, an argument or a password: the sentence names what to change."""

    exit_code: ClassVar[int] = 2


class StartError(AircheckError):
    """A reason not to start here and now: a port in use, a store that is locked or of a newer version."""


class TryLater(AircheckError):
    """A failure that may pass: the job is put back. `after_s` is the pause that the other side asked for, in seconds;
    `at_most_s` limits the pause when the job waits for something of ours that gives no notice."""

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


class NotOwner(TryLater):
    """A use of the Matrix session by a process that no longer owns it: another may have taken it over."""

    def __init__(self) -> None:
        super().__init__("this process no longer owns the Matrix session")


class GiveUp(AircheckError):
    """A failure for good; `reason` is a short code for the ledger (not_found, hash_mismatch, not_audio, …)."""

    def __init__(self, sentence: str, *, reason: str, room: str | None = None, event: str | None = None) -> None:
        super().__init__(sentence, room=room, event=event)
        self.reason = reason


class WrongBytes(GiveUp):
    """A complete download whose hash is not the one that the sender gave. The file stays where it is; `bytes` and
    `sha256` (lower-case hex) are those of the file."""

    def __init__(self, size: int, sha256: str) -> None:
        super().__init__("the media's hash is not the one that its sender gave", reason="hash_mismatch")
        self.bytes = size
        self.sha256 = sha256


class LimitHit(GiveUp):
    """A chunk whose processing ran out of time or was ended by the system. Other load on the machine can cause that
    too, so it counts against the chunk only if it happens again with more time and little other load."""

    def __init__(self) -> None:
        super().__init__("the chunk takes more time to decode than a chunk may", reason="undecodable")


class MisfitJob(Exception):
    """A job's payload is not what its kind carries. Another attempt would read the same, so the job is given up, unless
    its order is lasting."""
