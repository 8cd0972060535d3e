"""The answers on `HEALTH_PORT`: readings of the scoreboard, so that they come whatever Redis does."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from executor_worker.keeper.pool_health import MAIN_LOOP_SILENCE_S, PoolHealth, rfc3339
from executor_worker.telemetry import metrics
from executor_worker.telemetry.metrics import Gauge
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.scoreboard.view import run_view, worker_view

JSON, TEXT, PROMETHEUS = "application/json", "text/plain; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"

GUARDED = frozenset({"/workers", "/status", "/metrics"})  # they tell what is worked on; probes need neither
NAMING = frozenset({"/workers", "/status"})  # they name graphs and nodes: without a token for this machine only

Answer = tuple[int, str, bytes]


class Health:
    """
    Args:
        gauges: What is known of the streams now.
        token: What a request for a guarded path has to bring; empty: nothing.
        rates: Says what was done lately, and since the start.
        cpu: Totals of CPU time by metric and role.
        wall, clock: Seconds since the epoch, monotonic seconds.
    """

    def __init__(
        self,
        worker_id: str,
        board: Scoreboard,
        gauges: Callable[[], Iterable[Gauge]],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        token: str = "",
        rates: Callable[[], Mapping[str, Any]] = dict,
        cpu: Callable[[], Mapping[tuple[str, ...], float]] = dict,
    ) -> None:
        self._cpu = cpu
        self._rates = rates
        self._token = token.encode()
        self._worker_id = worker_id
        self._board = board
        self._gauges = gauges
        self._pool_health = PoolHealth(board, wall, clock)
        self._wall = wall
        self._clock = clock
        self._answers: Mapping[str, Callable[[], Answer]] = {
            "/health": self.health,
            "/live": self.live,
            "/ready": self.ready,
            "/workers": self.workers,
            "/status": self.status,
            "/metrics": self.metrics,
        }

    def answer(self, path: str, headers: Mapping[str, str], *, local: bool = True) -> Answer:
        """
        The status, content type and body for *path*.

        Args:
            headers: By their names in lower case.
            local: Whether this machine asks.
        """
        known = self._answers.get(path)
        if known is None:
            return 404, JSON, orjson.dumps({"error": f"no such path; known: {', '.join(self._answers)}"})
        if path in GUARDED and not self._admits(headers.get("authorization", "")):
            return 401, JSON, orjson.dumps({"error": "this path needs the bearer token that HEALTH_TOKEN holds"})
        if path in NAMING and not (local or self._token):
            advice = "this path answers this machine only; set HEALTH_TOKEN and bring it to ask from elsewhere"
            return 403, JSON, orjson.dumps({"error": advice})
        return known()

    def _admits(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        brought = given.strip().encode() if scheme.lower() == "bearer" else b""
        return not self._token or hmac.compare_digest(brought, self._token)

    def health(self) -> Answer:
        body = self._health()
        return (503 if body["status"] == "unhealthy" else 200), JSON, orjson.dumps(body)

    def live(self) -> Answer:
        silent = self._pool_health.silence_s()
        if silent < MAIN_LOOP_SILENCE_S:
            return 200, TEXT, b"alive"
        return 503, TEXT, f"the main loop has not turned for {silent:.0f} s".encode()

    def ready(self) -> Answer:
        ready = self._board.head.mode in ("running", "reloading") and self._pool_health.status() in (
            "healthy",
            "degraded",
        )
        return (200, TEXT, b"ready") if ready else (503, TEXT, b"not ready")

    def workers(self) -> Answer:
        return 200, JSON, orjson.dumps({"workers": [worker_view(row, self._time) for row in self._board.rows()]})

    def status(self) -> Answer:
        """All that `status` and `top` show of a pool."""
        head = self._board.head
        body = {
            "health": self._health(),
            "mode": head.mode,
            "paused": head.paused,
            "started": self._time(head.started_ns),
            "slots": {"now": head.configured, "least": head.least, "most": head.most, "reason": head.scaled or None},
            "workers": [worker_view(row, self._time) | run_view(row, self._time) for row in self._board.rows()],
        }
        return 200, JSON, orjson.dumps(body | dict(self._rates()))

    def metrics(self) -> Answer:
        totals = {**metrics.total(self._board.all_counters()), **self._cpu()}
        return 200, PROMETHEUS, metrics.page(totals, [*self._pool_gauges(), *self._gauges()])

    # -- readings ---------------------------------------------------------------------------------

    def _health(self) -> dict[str, Any]:
        facts = self._pool_health.facts()
        return {"status": facts["status"], "worker_id": self._worker_id} | facts

    def _time(self, monotonic_ns: int) -> str | None:
        if not monotonic_ns:
            return None
        return rfc3339(self._wall() - (self._clock() - monotonic_ns / 1e9))

    def _pool_gauges(self) -> list[Gauge]:
        counts, head = self._pool_health.counts(), self._board.head
        return [
            ("dago_worker_pool_configured", "Slots wanted.", {(): head.configured}),
            ("dago_worker_pool_idle", "Workers waiting for an item.", {(): counts["idle"]}),
            ("dago_worker_pool_busy", "Workers with an item.", {(): counts["busy"] + counts["draining"]}),
            ("dago_worker_pool_stopped", "Slots without a working worker.", {(): counts["dead"] + counts["starting"]}),
            ("dago_worker_memory_bytes", "What the workers weigh together.", {(): self._memory()}),
            ("dago_pool_paused", "1 while the pool was told to take nothing.", {(): float(head.paused)}),
            ("dago_uncounted", "Missing in the totals: there was no room for more names.", {(): self._board.refused}),
            ("dago_redis_up", "1 while Redis answers.", {(): float(bool(head.redis_up))}),
        ]

    def _memory(self) -> float:
        return float(sum(row.pss_bytes for row in self._board.rows() if row.pid))
