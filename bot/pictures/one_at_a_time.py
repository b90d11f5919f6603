"""A thread for all work on large pictures: a cover takes some 60 MB while it is drawn, five at once five times that.

The bot's worker and pages draw, resize and encode by `apart`; ffmpeg, which opens strangers' pictures, has limits of
its own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="pictures")


async def apart(work: Callable[P, Result], *args: P.args, **named: P.kwargs) -> Result:
    """Run blocking work on a picture when all work asked for before is done; a caller who is cancelled leaves the
    queue."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, lambda: work(*args, **named))
