"""The figures as Prometheus reads them. Loaded only where metrics are served."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bot import counted
from bot.monitoring import loop_lag
from bot.monitoring.gauges import GAUGES, Gauge, Seen
from storage import counted as counted_in_storage
from storage.tally import Count, Durations

COUNTED = (*counted.ALL, *counted_in_storage.ALL, loop_lag.LAG)


class _Figures(Collector):
    """All figures of ours, as one look found them."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        for gauge in GAUGES:
            yield _of_gauge(gauge, self._seen)
        for of in COUNTED:
            yield _of_count(of) if isinstance(of, Count) else _of_durations(of)


def _of_gauge(gauge: Gauge, seen: Seen) -> Metric:
    family = CounterMetricFamily if gauge.is_total else GaugeMetricFamily
    metric = family(gauge.name, gauge.meaning, labels=gauge.labels)
    for labels, value in gauge.values(seen):
        metric.add_metric(labels, float(value))
    return metric


def _of_count(count: Count) -> Metric:
    metric = CounterMetricFamily(count.name, count.meaning, labels=count.labels)
    for labels, value in count.copy().items():
        metric.add_metric(labels, value)
    return metric


def _of_durations(durations: Durations) -> Metric:
    metric = HistogramMetricFamily(durations.name, durations.meaning, labels=durations.labels)
    bounds = [*map(str, durations.bounds), "+Inf"]
    for labels, (ranges, total) in durations.copy().items():
        metric.add_metric(labels, list(zip(bounds, accumulate(ranges), strict=True)), total)
    return metric


def written(seen: Seen, accept: str) -> tuple[bytes, str]:
    """Return all figures and their media type, in the form that the header `Accept` asks for. Blocking, some 5 ms."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(seen))
    ProcessCollector(registry=registry)
    write, media_type = choose_encoder(accept)
    return write(registry), media_type
