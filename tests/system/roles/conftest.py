"""A producer and a hub as the sibling system describes them, and pools that serve its roles."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit import ModelServer, Pool, RedisServer, wait_until
from tests.kit.commands import run_program

GROUP, OLD_CONSUMER = "executor-group", "executor-consumer"
UPDATES = "signalr:updates"
NINE = (
    "MessageId",
    "NodeId",
    "ProjectId",
    "UserId",
    "ClientConnectionId",
    "WorkflowGroup",
    "Type",
    "Payload",
    "Timestamp",
)
Json = dict[str, Any]


class Hub:
    """
    The older hub: names in any case, one route an update, and everything acknowledged.

    Attributes:
        delivered: What came, by route.
    """

    def __init__(self, server: RedisServer) -> None:
        self._redis = server.client()
        self.delivered: dict[tuple[str, str], list[Json]] = defaultdict(list)
        self._redis.xgroup_create(UPDATES, "signalr-hub-group", "0", mkstream=True)

    def read(self) -> None:
        """Take what there is, as far as ten entries."""
        reply: Any = self._redis.xreadgroup("signalr-hub-group", "signalr-hub-consumer", {UPDATES: ">"}, count=10)
        for _, entries in reply or []:
            for entry, fields in entries:
                lowered = {name.decode().lower(): value.decode() for name, value in fields.items()}
                assert len(lowered) == len(fields), "no two names that differ by case only"
                assert all(name.lower() in lowered for name in NINE), fields
                self.delivered[self._route(lowered)].append(lowered)
                self._redis.xack(UPDATES, "signalr-hub-group", entry)

    @staticmethod
    def _route(fields: Json) -> tuple[str, str]:
        if fields["clientconnectionid"]:
            return "connection", fields["clientconnectionid"]
        if fields["workflowgroup"]:
            return "group", fields["workflowgroup"]
        if fields["userid"]:
            return "user", fields["userid"]
        return "lost", ""

    def wait(self, job_id: str, seconds: float = 30.0) -> tuple[tuple[str, str], Json]:
        """Wait for the one update of a job; return its route and itself."""

        def found() -> list[tuple[tuple[str, str], Json]]:
            self.read()
            return [
                (route, one) for route, many in self.delivered.items() for one in many if one["messageid"] == job_id
            ]

        [one] = wait_until(found, seconds, f"an update of {job_id}")
        return one


class Roles:
    """A Redis with queues of roles, and what lies in it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis = server.client()

    def add(self, role: str, job_id: str | None = None, **fields: str) -> str:
        """Put a job on a role's queue; return its id."""
        job_id = job_id if job_id is not None else f"job-{uuid.uuid4().hex[:10]}"
        named: Any = {"jobId": job_id, **fields} if job_id else fields
        self.redis.xadd(f"jobs:{role}", named)
        return job_id

    def record(self, job_id: str) -> Json | None:
        raw: Any = self.redis.get(f"dago:job:{job_id}")
        return json.loads(raw) if raw is not None else None

    def wait(self, job_id: str, status: str = "", seconds: float = 30.0) -> Json:
        """Wait until a job has ended, or has a status; return its record."""
        wanted = (status,) if status else ("completed", "failed")
        wait_until(
            lambda: (self.record(job_id) or {}).get("status") in wanted,
            seconds,
            lambda: f"{job_id} is {wanted}: {self.record(job_id)}",
        )
        found = self.record(job_id)
        assert found is not None
        return found

    def updates(self, job_id: str) -> list[dict[str, str]]:
        """All updates of a job."""
        entries: Any = self.redis.xrange(UPDATES)
        found = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]
        return [one for one in found if one["MessageId"] == job_id]


@pytest.fixture
def roles(redis_server: RedisServer) -> Roles:
    return Roles(redis_server)


@pytest.fixture
def serve(tmp_path: Path, redis_server: RedisServer, model_server: ModelServer) -> Iterator[Callable[..., Pool]]:
    """Start pools that serve roles with the model server, as a deployment of the sibling system is set up."""
    with ExitStack() as started:

        def start(**settings: str) -> Pool:
            name = f"roles-{uuid.uuid4().hex[:8]}"
            folder = tmp_path / name
            folder.mkdir()
            env = {
                "ROLES": "manager,inspector,agent",
                "LLM_PROVIDER": "",
                "LLM_ENDPOINT": f"{model_server.openai_url}/chat/completions",
                "WORKERS": "2",
                "WORKER_ID": name,
                **redis_server.env,
                **settings,
            }
            pool = Pool(folder, ("run",), env)
            started.callback(pool.close)
            return pool.wait_ready()

        yield start


@pytest.fixture
def cli(tmp_path: Path, redis_server: RedisServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command: `cli("job", "id", stdin="")`."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        env = {"LLM_PROVIDER": "scripted", "HEALTH_PORT": "", "ROLES": "agent", **redis_server.env, **settings}
        return run_program(*arguments, env=env, cwd=tmp_path, given=stdin)

    return run
