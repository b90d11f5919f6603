"""The port for metrics, the page that lists them, the alerts and the dashboard."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from bot.errors import ConfigError
from bot.health import NAMES
from bot.monitoring.endpoint import monitored
from bot.monitoring.exposition import COUNTED
from bot.monitoring.gauges import GAUGES, Probes
from storage.tally import Count
from tests.clock import Clock
from tests.ports import free_port
from tests.web.world import NOW, settings_with, world_of

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/metrics.md"
ALERTS = ROOT / "deploy/aircheck-alerts.yaml"
DASHBOARD = ROOT / "deploy/aircheck-dashboard.json"
OF_PROCESSES = {
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}


@asynccontextmanager
async def served(tmp_path: Path, **probes: Any) -> AsyncIterator[ClientSession]:
    port = free_port()
    asked = Probes(**{"works": lambda: True} | probes)
    async with (
        world_of(tmp_path) as (world, _),
        monitored(settings_with(web={"port": 0, "metrics_port": port}), world.store, Clock(NOW), asked),
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def test_what_is_exported_is_what_the_page_lists(tmp_path: Path) -> None:
    """Each metric that is served has a row of docs/metrics.md with its type, labels and meaning, and the page has no
    other; a HELP goes with each."""
    probes = {"heard_at": lambda: NOW, "calls": lambda: (0, 0), "connections": lambda: (1, 2), "streams": lambda: 0}
    async with served(tmp_path, **probes) as client, client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        families = {each.name: each for each in text_string_to_metric_families(await answer.text())}
    rows = re.findall(r"^\| `(aircheck_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    written = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows}
    defined = {
        each.name: ("counter" if each.is_total else "gauge", tuple(each.labels), each.meaning) for each in GAUGES
    } | {
        each.name: ("counter" if isinstance(each, Count) else "histogram", each.labels, each.meaning)
        for each in COUNTED
    }
    assert len(written) == len(rows)
    assert written == defined
    served_names = {name + "_total" * (each.type == "counter") for name, each in families.items()}
    assert served_names == written.keys() | OF_PROCESSES
    for name in written:
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (written[name][0], written[name][2])
        assert not any(re.search(r"[!@$]|:", value) for sample in family.samples for value in sample.labels.values())


def test_names_and_units() -> None:
    """Names follow Prometheus' rules: counters end with `_total`, times and sizes with their base unit."""
    for gauge in GAUGES:
        assert re.fullmatch(r"aircheck_[a-z_]+", gauge.name)
        assert gauge.meaning.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|kib|mib|kilobytes)", gauge.name)


async def test_openmetrics(tmp_path: Path) -> None:
    """A scraper that asks for OpenMetrics gets it."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with served(tmp_path) as client, client.get("/metrics", headers=accept) as answer:
        assert answer.content_type == "application/openmetrics-text"
        assert (await answer.text()).endswith("# EOF\n")


async def test_other_paths(tmp_path: Path) -> None:
    """The port tells the problems in full, and has nothing else."""
    async with served(tmp_path, works=lambda: False) as client:
        async with client.get("/healthz") as answer:
            assert answer.status == 503
            assert (await answer.json())["status"] == "not working"
        async with client.get("/") as answer:
            assert answer.status == 404
        async with client.post("/metrics") as answer:
            assert answer.status == 405


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """A port that another program uses is an error that names the setting."""
    async with world_of(tmp_path) as (world, _):
        settings = settings_with(web={"port": 0, "metrics_port": world.server.port})
        with pytest.raises(ConfigError, match=rf"web\.metrics_port {world.server.port} can't be used"):
            async with monitored(settings, world.store, Clock(NOW), Probes(works=lambda: True)):
                pass


def test_nothing_is_loaded_without_the_setting() -> None:
    """Without `web.metrics_port` the library is not even imported."""
    code = "import sys, bot.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ---- alerts and dashboard


def known() -> set[str]:
    """Return the names of all series."""
    names = {gauge.name for gauge in GAUGES} | OF_PROCESSES | {"up"}
    for each in COUNTED:
        names |= (
            {each.name} if isinstance(each, Count) else {f"{each.name}_{end}" for end in ("bucket", "count", "sum")}
        )
    return names


def series(query: str) -> set[str]:
    return set(re.findall(r"\b(?:aircheck|process)_\w+", re.sub(r'"[^"]*"', '""', query)))


def labels(query: str) -> Iterable[tuple[str, str]]:
    """Yield each metric of a query with each label that it is selected by."""
    for name, selected in re.findall(r"\b(aircheck_\w+)\{([^}]*)\}", query):
        for label in re.findall(r"(\w+)[=!]~?\"", selected):
            yield name, label


LABELS = {each.name: {*each.labels} for each in (*GAUGES, *COUNTED)}


def check(query: str) -> None:
    assert series(query) <= known(), query
    for name, label in labels(query):
        of = LABELS.get(name, LABELS.get(re.sub(r"_(bucket|count|sum)$", "", name), set()))
        assert label in of | {"job", "instance", "le"}, query


def test_alerts_name_metrics_and_lead_to_advice() -> None:
    """Each alert asks for metrics that exist, has a severity and a summary, and leads to its own paragraph of the page;
    the page has no other."""
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    page = PAGE.read_text()
    assert re.findall(r"^### (Aircheck\w+)$", page, re.MULTILINE) == [rule["alert"] for rule in rules]
    for rule in rules:
        check(rule["expr"])
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/metrics.md#{rule['alert'].lower()}"


def test_each_problem_has_an_alert() -> None:
    """Whatever `/healthz` may name calls somebody: by its own figure, or by a figure that is more exact."""
    queries = " ".join(
        rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    )
    figures = {"events": "journal_oldest", "jobs": "jobs_oldest_due", "keys": "keys_waiting", "disk": "disk_free"}
    for name in NAMES:
        assert f'problem="{name}"' in queries or f"aircheck_{figures[name]}" in queries


def test_each_alert_is_tested() -> None:
    """The tests for promtool have one that bears the name of each alert."""
    rules = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    tests = yaml.safe_load(ALERTS.with_name("aircheck-alerts-test.yaml").read_text())["tests"]
    assert {*rules} == {test["name"].split()[0] for test in tests[1:]}


def test_the_dashboard_asks_for_what_exists() -> None:
    """Every query of the dashboard names metrics and labels that exist; no two panels overlap or have one id."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 40
    for query in queries:
        check(query)
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine


def test_words_of_problems_are_documented() -> None:
    """The page explains each problem that `/healthz` may tell."""
    from bot import health

    rows = re.findall(r"^\| `(\w+)` \| (?:at once|\d)", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(health.NAMES)
