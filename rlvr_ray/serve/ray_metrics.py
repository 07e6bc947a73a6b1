"""The Meter over Ray: each node exports what its processes measure, for Prometheus to fetch.

Ray prefixes the names with ``ray_``, and adds tags of its own: ``WorkerId``, and in replicas
``deployment`` and ``replica``.
"""

from typing import Any

from ray.serve import metrics

from rlvr_ray.observability.metrics import METRICS


class _Counter(metrics.Counter):
    """A counter that is there, at 0, before it counts.

    Prometheus sees no increase in the first value of a series: the first outcome of a kind would be
    missing in every rate.
    """

    def appear(self, tags: dict[str, str]) -> None:
        """Show 0 for these tags; ``inc`` would refuse it."""
        self._record(0, tags={**self._default_tags, **tags})


class RayMeter:
    """A Meter for a replica, an actor or a driver."""

    def __init__(self, *, counts: bool = False) -> None:
        """``counts`` is for the process that raises the counters: they appear there at 0."""
        self._counters: dict[str, _Counter] = {}
        self._gauges: dict[str, metrics.Gauge] = {}
        self._histograms: dict[str, metrics.Histogram] = {}
        for name, metric in METRICS.items():
            tags: Any = tuple(metric.tags or ())
            if metric.kind == "counter":
                counter = self._counters[name] = _Counter(name, metric.description, tags)
                for combination in metric.combinations() if counts else ():
                    counter.appear(combination)
            elif metric.kind == "gauge":
                self._gauges[name] = metrics.Gauge(name, metric.description, tags)
            else:
                self._histograms[name] = metrics.Histogram(
                    name, metric.description, list(metric.bounds), tags
                )

    def add(self, name: str, amount: float, **tags: str) -> None:
        """See ``metrics.Meter``."""
        if amount > 0:
            self._counters[name].inc(amount, tags=METRICS[name].fitting(tags))

    def observe(self, name: str, value: float, **tags: str) -> None:
        """See ``metrics.Meter``."""
        self._histograms[name].observe(value, tags=METRICS[name].fitting(tags))

    def set(self, name: str, value: float) -> None:
        """See ``metrics.Meter``."""
        self._gauges[name].set(value, tags={})
