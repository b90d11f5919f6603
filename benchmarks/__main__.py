"""`python -m benchmarks`: run all benchmarks, each in a process of its own; print tables of figures and budgets.

Those in which the database has a part run over SQLite, then over PostgreSQL. Names of groups run those alone. The soak
runs only by name: it takes some twenty minutes. Exit code 1 when audio was lost or a benchmark failed.
"""

import argparse
import multiprocessing
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
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
    metrics,
    scale,
    soak,
    stems,
    steps,
    studio,
    walkie,
)
from benchmarks.databases import NO_SERVER, Database, has_server, over
from benchmarks.figures import Figure, Pair, failed, paired, rows, rows_of_pairs

Benchmark = Callable[[], list[Figure]]


@dataclass(frozen=True)
class OnBoth:
    """A benchmark that runs over each database."""

    benchmark: Benchmark


GROUPS: dict[str, tuple[Benchmark | OnBoth, ...]] = {
    "joining": (joining.figures,),
    "finishing": (
        *(OnBoth(partial(finishing.figures, seconds)) for seconds in finishing.LENGTHS[:2]),
        *(partial(finishing.figures, seconds) for seconds in finishing.LENGTHS[2:]),
    ),
    "short": (finishing.short_chunks,),
    "messages": (messages.figures,),
    "steps": (partial(steps.costs, 120), partial(steps.costs, 5), steps.levels),
    "live": (OnBoth(live.figures),),
    "handing-back": (handing_back.figures,),
    "download": (download.figures,),
    "large": (OnBoth(large.figures),),
    "documents": (OnBoth(documents.figures),),
    "http": (OnBoth(http.figures),),
    "metrics": (OnBoth(metrics.figures),),
    "scale": (scale.figures,),
    "line": (OnBoth(line.figures),),
    "backup": (OnBoth(backup.figures),),
    "page": (live_page.figures,),
    "studio": (
        studio.in_a_browser,
        *(OnBoth(partial(studio.figures, one)) for one in studio.BOTH),
        *(partial(studio.figures, one) for one in studio.ONE),
    ),
    "walkie": (walkie.figures,),
    "stems": (stems.figures,),
    "calls-media": (calls_media.figures,),
    "calls-finish": (calls_finish.figures,),
    "element-call": (element_call.figures, element_call.mixing, element_call.steps),
}
ON_REQUEST: dict[str, tuple[Benchmark | OnBoth, ...]] = {"soak": (soak.figures,)}


def alone(benchmark: Benchmark, database: Database = Database.SQLITE) -> list[Figure]:
    """Run in a fresh process, so that the memory and CPU of other benchmarks are not counted. One that fails is a
    figure: the others are measured, and the run fails."""
    began = time.monotonic()
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(over, database, benchmark).result()
    except Exception as error:
        traceback.print_exception(error)
        what = f"{name_of(benchmark)} over {database}"
        found = [Figure(what, "an end", type(error).__name__, within=False, vital=True)]
    where = "" if database is Database.SQLITE else f", over {database}"
    print(f"[{time.monotonic() - began:.0f} s{where}] {found[0].what}", flush=True)
    return found


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
    load, began = os.getloadavg()[0], time.monotonic()
    of_one, of_both = measured(one for name in asked.groups or GROUPS for one in known[name])
    minutes, today = (time.monotonic() - began) / 60, f"{datetime.now(UTC):%-d %B %Y}"
    print(f"\nMeasured on {today} in {minutes:.0f} minutes: {machine()}, at a load of {load:.1f} before the first.")
    for table in (rows(of_one) if of_one else [], rows_of_pairs(of_both) if of_both else []):
        print("\n" + "\n".join(table))
    if failed(of_one + [figure for pair in of_both for figure in (pair.sqlite, pair.postgresql)]):
        raise SystemExit(1)


def measured(benchmarks: Iterable[Benchmark | OnBoth]) -> tuple[list[Figure], list[Pair]]:
    """Run benchmarks one after the other; return figures of one database, and those of both."""
    of_one, of_both = list[Figure](), list[Pair]()
    for each in benchmarks:
        if not isinstance(each, OnBoth):
            of_one += alone(each)
        elif has_server():
            pairs, others = paired(alone(each.benchmark), alone(each.benchmark, Database.POSTGRESQL))
            of_both += pairs
            of_one += others
        else:
            of_one += alone(each.benchmark)
            print(f"over PostgreSQL: {NO_SERVER}")
    return of_one, of_both


def machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
