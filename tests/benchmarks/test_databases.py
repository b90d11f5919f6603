"""Benchmarks over both databases, and the tables of their figures."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import backup, documents, live, metrics, scale, studio
from benchmarks.databases import NO_SERVER, Database, over
from benchmarks.figures import Figure, at_least, at_most, of, paired, rows_of_pairs
from storage.place import Place
from tests.postgresql import Server, in_place_of_files

SMALL: dict[str, Callable[[Path], Coroutine[None, None, list[Figure]]]] = {
    "documents of a room": lambda folder: documents.of_one_room(folder, 120),
    "documents of rooms": lambda folder: documents.of_many_rooms(folder, 2, 120),
    "live": lambda folder: live.run(folder, rooms=2, rounds=2, chunk_s=3),
    "metrics": lambda folder: metrics.measure(folder, rooms=2, recordings=2, chunks=3, scrapes=2),
    "CPU of a studio": lambda folder: studio.cpu(folder, seconds=12, slice_s=2),
    "studios at once": lambda folder: studio.at_once(folder, count=3, seconds=3, slice_s=1),
    "backup": lambda folder: backup.measure(folder, files=3, new=1),
}


@pytest.fixture
def in_postgresql(postgresql: Server) -> Iterator[None]:
    with in_place_of_files(postgresql):
        yield


@pytest.mark.parametrize("name", SMALL)
async def test_a_small_one_runs_over_sqlite(name: str, tmp_path: Path) -> None:
    """Each benchmark that runs over both databases runs over a file."""
    assert await SMALL[name](tmp_path)


@pytest.mark.usefixtures("in_postgresql")
@pytest.mark.parametrize("name", SMALL)
async def test_a_small_one_runs_over_postgresql(name: str, tmp_path: Path) -> None:
    """Each benchmark that runs over both databases runs over a server, without a word about it."""
    assert await SMALL[name](tmp_path)


def kept_where() -> list[Figure]:
    address = Place(Path("data")).database_url
    return [Figure("the store", "", "in a file" if address is None else address.partition(":")[0])]


def here(benchmark: benchmarks.Benchmark, database: Database = Database.SQLITE) -> list[Figure]:
    return over(database, benchmark)


def run_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a benchmark as `python -m benchmarks` does, but in this process."""
    monkeypatch.setattr(benchmarks, "alone", here)
    monkeypatch.setattr(benchmarks, "GROUPS", {"both": (benchmarks.OnBoth(kept_where),)})
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    benchmarks.main()


def test_the_run_decides_the_database(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that opens a store has it in a file first, then in a server of the run."""
    run_both(monkeypatch)
    assert "| the store |  | in a file | postgresql+asyncpg |  |" in capsys.readouterr().out


def test_a_machine_without_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the wheel the figures over SQLite are there, the run says what is missing, and does not fail."""
    for module in (benchmarks, scale):
        monkeypatch.setattr(module, "has_server", lambda: False)
    run_both(monkeypatch)
    told = capsys.readouterr().out
    assert NO_SERVER in told
    assert "| the store |  | in a file |" in told
    assert [figure.measured for figure in scale.figures()] == [NO_SERVER]


def test_the_table_shows_both_beside_each_other() -> None:
    """A row has the bound, both figures, what of them misses it, and how many times the first the second is."""
    files = [at_most("start", 0.5, 1, "s"), at_least("live", 400, 300, ""), of("size", 0.0, "MiB"), of("rest", 1, "s")]
    server = [at_most("start", 1.5, 1, "s"), at_least("live", 200, 300, ""), of("size", 3.0, "MiB")]
    pairs, others = paired(files, server)
    assert rows_of_pairs(pairs) == [
        "| what | bound | SQLite | PostgreSQL | ratio |",
        "| --- | --- | --- | --- | --- |",
        "| start | ≤ 1 s | 0.50 s | 1.50 s: **missed** | 3.0 |",
        "| live | ≥ 300 | 400 | 200: **missed** | 0.5 |",
        "| size |  | 0.00 MiB | 3.0 MiB |  |",
    ]
    assert others == files[3:]


def test_what_fails_over_one_database_is_told() -> None:
    """A failure over one database is told beside the figures of the other."""
    failure = Figure("an end", "", "OSError", within=False, vital=True)
    assert paired([of("start", 1, "s")], [failure]) == ([], [of("start", 1, "s"), failure])
