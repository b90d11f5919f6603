"""A real Prometheus that watches a real bot: every query of the dashboard and of the alerts is answered."""

import asyncio
import json
import math
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientConnectionError, ClientSession
from rich.console import Console

from bot.demo import demo
from bot.demo.stage import Stage, settings_for
from bot.settings import Settings
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
GRAFANA = {"$job": "aircheck", "$__rate_interval": "1m", "$__range": "1h"}
EMPTY = {
    'max by (kind) (aircheck_jobs{job="$job",state="ready"}) > 0': "a quick machine leaves no job waiting at a scrape",
}
"""Queries of the dashboard that may give nothing, and why."""
READY_WITHIN_S = 60

pytestmark = pytest.mark.packages


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator["Prometheus"]:
    """Run Prometheus with our alerts on a port of metrics, asked each second."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "aircheck-alerts.yaml")],
        "scrape_configs": [{"job_name": "aircheck", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port, log = free_port(), folder / "prometheus.log"
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            *("prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=out,
            stderr=out,
        )
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(READY_WITHIN_S):
                while not await is_ready(client):
                    assert child.returncode is None, log.read_text()[-2000:]
                    await asyncio.sleep(0.1)
            yield Prometheus(client)
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def is_ready(client: ClientSession) -> bool:
    try:
        async with client.get("/-/ready") as answer:
            return answer.status == 200
    except ClientConnectionError:
        return False


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client
        self._began = datetime.now(UTC)

    async def ask(self, path: str, **parameters: str) -> Any:
        async with self._client.get(f"/api/v1/{path}", params=parameters) as answer:
            told = await answer.json()
        assert told["status"] == "success", told
        return told["data"]

    async def has_values(self, query: str) -> bool:
        """Return whether a query had a number as its answer at any time since the start."""
        began, now = self._began.timestamp(), datetime.now(UTC).timestamp()
        found = await self.ask("query_range", query=query, start=str(began), end=str(now), step="1")
        return any(not math.isnan(float(value)) for series in found["result"] for _, value in series["values"])


async def test_each_panel_has_data_of_a_bot_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the demo records, each query of the dashboard is answered with numbers; Prometheus loads all alerts, and
    evaluates each without an error."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    metrics = free_port()

    def with_metrics(stage: Stage, directory: Path, port: int) -> Settings:
        settings = settings_for(stage, directory, port)
        return settings.model_copy(update={"web": settings.web.model_copy(update={"metrics_port": metrics})})

    monkeypatch.setattr(demo, "settings_for", with_metrics)
    panels = json.loads((DEPLOY / "aircheck-dashboard.json").read_text())["panels"]
    queries = {target["expr"] for panel in panels for target in panel.get("targets", ())}
    assert EMPTY.keys() <= queries
    async with prometheus(tmp_path, metrics) as watching:
        assert await demo.run_demo(once=True, port=0, directory=tmp_path / "demo", out=Console(quiet=True)) == 0
        unanswered = [query for query in sorted(queries - EMPTY.keys()) if not await watching.has_values(filled(query))]
        for query in EMPTY:
            await watching.has_values(filled(query))
        groups = (await watching.ask("rules"))["groups"]
        (variable,) = (await watching.ask("series", **{"match[]": "aircheck_build_info"})) or [{}]
    assert unanswered == []
    assert variable["job"] == "aircheck"  # as the dashboard finds its job
    told = {rule["name"]: (rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]}
    expected = yaml.safe_load((DEPLOY / "aircheck-alerts.yaml").read_text())["groups"]
    assert told == {rule["alert"]: ("ok", "") for group in expected for rule in group["rules"]}


def filled(query: str) -> str:
    """Return a query as Grafana sends it."""
    for variable, value in GRAFANA.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query
