"""The port of those who look after the bot: `GET /metrics` for Prometheus, and `GET /healthz` with all details."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from aiohttp import web

from bot.errors import ConfigError
from bot.monitoring.gauges import Probes
from bot.monitoring.loop_lag import LoopLag
from bot.monitoring.monitor import Monitor
from bot.monitoring.waiting import WaitingMonitor
from bot.settings import Settings, WebSettings
from storage.store import Store

log = logging.getLogger(__name__)

STOP_WITHIN_S = 1.0


@asynccontextmanager
async def monitored(
    settings: Settings, store: Store, clock: Callable[[], datetime], probes: Probes
) -> AsyncIterator[Monitor]:
    """Provide the monitor of this process in the block, and serve its metrics where `web.metrics_port` is set. Raises
    ConfigError for a port that is in use."""
    monitor = Monitor(store, settings, clock, probes)
    try:
        async with metrics_served(settings.web, monitor):
            yield monitor
    finally:
        await monitor.close()


@asynccontextmanager
async def metrics_served(settings: WebSettings, monitor: Monitor | WaitingMonitor) -> AsyncIterator[None]:
    """Serve metrics in the block, where `web.metrics_port` is set. Raises ConfigError for a port that is in use."""
    if settings.metrics_port is None:
        yield
        return
    from bot.monitoring import exposition  # here, for it takes memory that others need not spend

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="Not allowed\n", headers={"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            seen = await monitor.look()
            body, kind = await asyncio.to_thread(exposition.written, seen, request.headers.get("Accept", ""))
            return web.Response(body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})
        if request.path == "/healthz":
            report = await monitor.report()
            return web.json_response(report.to_json(details=True), status=200 if report.works else 503)
        return web.Response(status=404, text="Not found\n")

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=STOP_WITHIN_S)
    await runner.setup()
    lag = LoopLag()
    try:
        try:
            await web.TCPSite(runner, settings.host or None, settings.metrics_port).start()
        except OSError as error:
            raise ConfigError(f"web.metrics_port {settings.metrics_port} can't be used: {error.strerror}") from None
        lag.start()
        log.info("metrics: listening on port %d", settings.metrics_port)
        yield
    finally:
        lag.stop()
        await runner.cleanup()
