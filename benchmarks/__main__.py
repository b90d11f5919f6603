"""`python -m benchmarks`: run all benchmarks, each in a process of its own; print a table of figures and budgets.

Names of groups run those alone. The soak runs only by name: it takes some twenty minutes. Exit code 1 when
audio was lost or a benchmark failed.
"""

import argparse
import multiprocessing
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from benchmarks import (
    backup,
    calls_finish,
    calls_media,
    documents,
    download,
    element_call,
    finishing,
    handing_back,
    http,
    joining,
    large,
    line,
    live,
    live_page,
    messages,
    scale,
    soak,
    stems,
    steps,
    walkie,
)
from benchmarks.figures import Figure, failed, rows

Benchmark = Callable[[], list[Figure]]

GROUPS: dict[str, tuple[Benchmark, ...]] = {
    "joining": (joining.figures,),
    "finishing": tuple(partial(finishing.figures, seconds) for seconds in finishing.LENGTHS),
    "short": (finishing.short_chunks,),
    "messages": (messages.figures,),
    "steps": (partial(steps.costs, 120), partial(steps.costs, 5), steps.levels),
    "live": (live.figures,),
    "handing-back": (handing_back.figures,),
    "download": (download.figures,),
    "large": (large.figures,),
    "documents": (documents.figures,),
    "http": (http.figures,),
    "scale": (scale.figures,),
    "line": (line.figures,),
    "backup": (backup.figures,),
    "page": (live_page.figures,),
    "walkie": (walkie.figures,),
    "stems": (stems.figures,),
    "calls-media": (calls_media.figures,),
    "calls-finish": (calls_finish.figures,),
    "element-call": (element_call.figures, element_call.mixing, element_call.steps),
}
ON_REQUEST: dict[str, tuple[Benchmark, ...]] = {"soak": (soak.figures,)}


def alone(benchmark: Benchmark) -> list[Figure]:
    """Run in a fresh process, so that the memory and CPU of other benchmarks are not counted."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(benchmark).result()


def name_of(benchmark: Benchmark) -> str:
    """Name a benchmark by module, function and arguments."""
    function = benchmark.func if isinstance(benchmark, partial) else benchmark
    given = benchmark.args if isinstance(benchmark, partial) else ()
    return " ".join([f"{function.__module__}.{function.__name__}", *map(str, given)])


def main() -> None:
    known = GROUPS | ON_REQUEST
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"only these: {', '.join(known)}")
    asked = parser.parse_args()
    if unknown := set(asked.groups) - set(known):
        parser.error(f"there is no group {', '.join(sorted(unknown))}")
    benchmarks: list[Benchmark] = [one for name in asked.groups or GROUPS for one in known[name]]
    found: list[Figure] = []
    for benchmark in benchmarks:
        began = time.monotonic()
        try:
            measured = alone(benchmark)
        except Exception as error:  # measure the others; the run still fails
            traceback.print_exception(error)
            measured = [Figure(name_of(benchmark), "an end", type(error).__name__, within=False, vital=True)]
        found += measured
        print(f"[{time.monotonic() - began:.0f} s] {measured[0].what}", flush=True)
    print()
    print("\n".join(rows(found)))
    if failed(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
