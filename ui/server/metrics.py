"""Prometheus metrics, served at a port of their own that visitors can't reach."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from ui.service.telemetry import LOGGER

# Seconds: from a cached answer to one by the largest model on a busy laptop
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(logging.Handler):
    """Log handler that counts the events of `telemetry.log_event`."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        self._answers = Histogram(
            "clip_answer_seconds",
            "Time that models took to answer a question, waiting for their turn included",
            ["model"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._cached = Counter(
            "clip_cached",
            "Pictures and labels of answered questions, by whether their features were kept",
            ["what", "kept"],
            registry=self.registry,
        )
        self._problems = Counter(
            "clip_problems",
            "Questions that no answer could be given to",
            ["kind"],
            registry=self.registry,
        )
        self._loads = Counter(
            "clip_model_loads",
            "Models brought into memory",
            ["model", "outcome"],
            registry=self.registry,
        )

    def watch_queue(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        """Adds gauges of waiting and running questions, read whenever the metrics are."""
        for name, text, count in (
            ("clip_questions_waiting", "Questions in the queue", waiting),
            ("clip_questions_running", "Questions that are being answered", running),
        ):
            Gauge(name, text, registry=self.registry).set_function(count)

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        match record.getMessage():
            case "answer":
                self._answers.labels(fields["model"]).observe(fields["seconds"])
                self._cached.labels("picture", str(fields["picture_kept"]).lower()).inc()
                self._cached.labels("label", "true").inc(fields["labels_kept"])
                self._cached.labels("label", "false").inc(fields["labels"] - fields["labels_kept"])
            case "problem":
                self._problems.labels(fields["kind"]).inc()
            case "model":
                self._loads.labels(fields["model"], fields["outcome"]).inc()

    def serve(self, host: str, port: int) -> None:
        """Serves /metrics from now on. Raises OSError when the address can't be used."""
        LOGGER.addHandler(self)
        LOGGER.setLevel(logging.DEBUG)
        start_http_server(port, host, self.registry)
