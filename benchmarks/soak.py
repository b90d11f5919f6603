"""Many rooms live at once on one Synapse, with a real bot that is killed and a network that fails: is audio lost?

`python -m benchmarks soak` is the whole soak, `python -m benchmarks.soak --rooms 10` a smaller one. The verdict uses
the contract alone: `aircheck recordings --json`, the feeds, the episodes, and the notices in the rooms.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Figure, at_most, failed, rows
from benchmarks.soaking.course import Outcome, Shape, Soak
from benchmarks.soaking.verdict import percentile
from bot.demo.synapse import Homeserver

MEMORY_MIB = 300.0


@asynccontextmanager
async def alone(directory: Path) -> AsyncIterator[Homeserver]:
    """Run the soak on a homeserver of its own."""
    homeserver = await Homeserver.start(directory / "homeserver")
    try:
        yield homeserver
    finally:
        await homeserver.stop()


async def measure(shape: Shape, directory: Path | None = None) -> list[Figure]:
    """Run the soak in this new folder, which stays, or in a temporary one."""
    with tempfile.TemporaryDirectory() as passing:
        folder = directory or Path(passing)
        async with alone(folder) as homeserver:
            outcome = await Soak(homeserver, folder / "soak", shape).run()
    for problem in outcome.verdict.problems:
        print(problem, file=sys.stderr)
    return table(shape, outcome)


def table(shape: Shape, outcome: Outcome) -> list[Figure]:
    verdict, bot = outcome.verdict, outcome.bot
    injected = ", ".join(f"{count} × {fault}" for fault, count in sorted(outcome.injected.items()))
    met = ", ".join(f"{count} × {fault}" for fault, count in sorted(outcome.met.items()))
    half, most, last = (percentile(outcome.finish_s, part) for part in (0.5, 0.95, 1.0))
    at_the_end = f", {bot.last_mib:.0f} MiB at the end"
    name = f"{shape.rooms} rooms live at once, {shape.encrypted} encrypted"
    return [
        replace(at_most(f"{name}: lost chunks", verdict.lost, 0, f"of {verdict.chunks}"), vital=True),
        none_of("recordings with a wrong state", verdict.wrong_states),
        none_of("rooms with a notice too many or too few", verdict.wrong_notices),
        none_of("episodes that are not what was said, to the sample", verdict.wrong_episodes),
        none_of("mistakes of ours in the log", bot.mistakes()),
        at_most("memory of the bot, without ffmpeg", bot.peak_mib, MEMORY_MIB, "MiB", at_the_end),
        Figure("last word or last fault → episode", "", f"median {half:.1f} s, 95 % {most:.1f} s, last {last:.1f} s"),
        Figure("announced as incomplete, complete later", "", f"{outcome.told_too_early} (clear rooms)"),
        Figure("CPU of the bot, with ffmpeg", "", f"{bot.cpu_s:.0f} s in {bot.starts} runs"),
        Figure("speakers behind their own clock", "", f"{outcome.behind_s:.0f} s at most"),
        Figure("faults", "", injected or "none"),
        Figure("requests that met them", "", met or "none"),
        Figure("exit code of the last stop", "0", str(outcome.exit_code), outcome.exit_code == 0),
    ]


def none_of(what: str, count: int) -> Figure:
    return Figure(what, "0", str(count), count == 0)


def figures() -> list[Figure]:
    return asyncio.run(measure(Shape()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    for name in ("rooms", "encrypted", "chunks", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Shape, name))
    parser.add_argument("--pace", type=float, default=Shape.pace, help="times as fast as sound")
    parser.add_argument("--directory", type=Path, help="keep everything there, to look into it")
    asked = vars(parser.parse_args())
    directory = asked.pop("directory")
    asked["encrypted"] = min(asked["encrypted"], asked["rooms"])
    found = asyncio.run(measure(Shape(**asked), directory))
    print("\n".join(rows(found)))
    if failed(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
