"""Parts that calls work with: what they reach the world by."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.calls.media import door
from bot.calls.model import Send, Why


@dataclass(slots=True)
class Means:
    """The means of a call: what it reaches the world by. `left` is called when the bot is to leave by itself, `told`
    when the room is to be told that nobody was heard."""

    media: door.Media
    servers: Callable[[], Awaitable[Sequence[door.IceServer]]]
    post: Callable[[Send, str], Awaitable[None]]  # of a message and its id; raises TryLater, GiveUp
    left: Callable[[Why], None]
    silent: Callable[[], Awaitable[None]]
    in_touch: Callable[[], bool]  # with the homeserver
    clock: Callable[[], datetime]
    ticks: Callable[[], float]  # monotonic, in seconds
