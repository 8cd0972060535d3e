"""API processes that are killed while graphs are submitted: what is not answered is sent again with its key."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.kit import Pool, RedisServer

ANSWER_S = 3.0  # then the same is sent again
AGAIN_S = 0.05
SUBMITTERS = 3
PROCESSES = 2


class Api:
    """
    `serve` on the storm's Redis, and threads that submit to it.

    Attributes:
        made: Graph by the key it was submitted with → the run's id, as soon as that was answered.
        odd: Answers that there must not be.
    """

    def __init__(self, server: RedisServer, folder: Path) -> None:
        home = folder / "api"
        home.mkdir()
        settings = {"REDIS_ADDR": server.unix_url, "WORKER_ID": "api", "API_PROCESSES": str(PROCESSES)}
        self.pool = Pool(home, ("serve",), settings)
        self.made: dict[str, str] = {}
        self.odd: list[str] = []
        self.repeated = 0
        self._due: queue.SimpleQueue[tuple[str, Mapping[str, Any]]] = queue.SimpleQueue()
        self._given = 0
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._submit_all, daemon=True) for _ in range(SUBMITTERS)]

    def begin(self) -> None:
        """Wait until it answers, then take orders."""
        self.pool.wait_ready(60)
        self._url = f"{self.pool.api_url}/api/v1/graphs"
        for thread in self._threads:
            thread.start()

    def submit(self, key: str, document: Mapping[str, Any]) -> None:
        """Have a graph submitted."""
        self._given += 1
        self._due.put((key, document))

    @property
    def behind(self) -> bool:
        """Tell whether something was not answered yet."""
        return len(self.made) < self._given and not self.odd

    def processes(self) -> list[psutil.Process]:
        """List the API processes there are now."""
        last = {event["service"]: int(event["pid"]) for event in self.pool.seen("service.up")}
        return [psutil.Process(pid) for pid in last.values() if psutil.pid_exists(pid)]

    def close(self) -> None:
        """End it."""
        self._closing.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * ANSWER_S)
        self.pool.close()

    def _submit_all(self) -> None:
        while not self._closing.is_set():
            try:
                key, document = self._due.get(timeout=AGAIN_S)
            except queue.Empty:
                continue
            self._submit(key, document)

    def _submit(self, key: str, document: Mapping[str, Any]) -> None:
        """Send it until it is answered: each time over a line of its own, so that both processes are met."""
        while not self._closing.is_set():
            try:
                answer = httpx2.post(
                    self._url, json={"graph": document}, headers={"Idempotency-Key": key}, timeout=ANSWER_S
                )
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                self.made[key] = answer.json()["graph_id"]
                return
            if answer is not None and answer.status_code < 500:
                self.odd.append(f"{key} was refused: {answer.status_code} {answer.text}")
                return
            self.repeated += 1
            time.sleep(AGAIN_S)
