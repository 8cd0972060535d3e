"""compose.yaml, carried out: Redis, the API and three pools in hardened containers run a graph that comes over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import need, wait_until
from tests.kit.containers import Container, Done, Engine
from tests.kit.counterparts import PATHS
from tests.kit.paths import ROOT
from tests.kit.processes import command_line, descendants

# Of the engine's and the image's group: one process at a time may use them.
pytestmark = [pytest.mark.xdist_group("container"), pytest.mark.timeout(660)]

HERE = Path(__file__).parent
REDIS_IMAGE = "localhost/stand-in-for-redis"
REDIS_DOCKERFILE = "FROM localhost/stand-in-for-python:latest\nRUN mkdir /data && chown 1000:1000 /data\n"
PROGRAMS = ("dago_1", "executor-worker_1", "executor-worker_2", "executor-worker_3")
WORKERS = "dago:workers:executor-"
GRAPH = {"nodes": {"a": {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "6*7"}}}}}


class Project:
    """The services of compose.yaml under a name of their own, in a folder that has what it asks for."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        for file in (ROOT / "compose.yaml", ROOT / "Makefile", HERE / "compose.test.yaml"):
            shutil.copy(file, folder)

    def compose(self, words: str) -> Done:
        done = self.engine.shell(
            f"{PATHS['podman-compose']} --in-pod false -p tests -f compose.yaml -f compose.test.yaml {words}",
            self.folder,
        )
        assert done.status == 0, done.said
        return done

    def container(self, name: str) -> Container:
        return Container(self.engine, f"tests_{name}")

    def secret(self) -> str:
        return (self.folder / "secrets" / "redis_password").read_text()

    def redis(self, *command: str) -> str:
        """What Redis answers to who has the password."""
        return self.container("redis_1").execute("env", f"REDISCLI_AUTH={self.secret()}", "redis-cli", *command).said

    def dago(self, *words: str, token: str = "") -> Done:
        """A command of the program beside the API, which talks to it."""
        given = (f"DAGO_TOKEN={token}", "DAGO_URL=http://localhost:8080")
        return self.container("dago_1").execute("env", *given, "/app/executor-worker", *words, check=False)


@pytest.fixture
def project(engine: Engine, image: str, folder: Path) -> Iterator[Project]:
    """All services, up, with three pools."""
    need("podman-compose")
    (folder / "redis").mkdir()
    (folder / "redis" / "Dockerfile").write_text(REDIS_DOCKERFILE)
    engine.build(folder / "redis", REDIS_IMAGE)
    engine.run("tag", image, "localhost/da-node-executor")
    made = Project(engine, folder)
    assert engine.shell("make secrets", folder).status == 0
    try:
        made.compose("up --detach --no-build --scale executor-worker=3")
        yield made
    finally:
        for name in (*PROGRAMS, "redis_1"):  # which all others hang on
            made.container(name).remove()
        engine.run("volume", "rm", "--force", "tests_redis", "tests_dago")


def test_compose_file_runs_graphs(project: Project) -> None:
    """A token is made, and asked for; three pools take part; the password is in no command line and no environment."""
    redis, dago = project.container("redis_1"), project.container("dago_1")
    wait_until(lambda: redis.check_health() == (0, "healthy"), 60, lambda: f"Redis answers\n{redis.logs()}")
    wait_until(lambda: dago.events("pool.ready"), 120, lambda: f"the API answers\n{dago.logs()}")
    for setting in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "maxmemory 536870912"):
        name, value = setting.split()
        assert project.redis("config", "get", name).split() == [name, value]

    def pools() -> set[str]:
        """Those that have registered workers; a program less to start than `status --all`."""
        return {name.rpartition(".")[0] for name in project.redis("--scan", "--pattern", f"{WORKERS}*").split()}

    wait_until(lambda: len(pools()) == 3, 120, "three pools")
    token = dago.execute("cat", "/run/dago/api_tokens").said.strip().split(":")[2]
    graph = ("sh", "-c", f"echo '{json.dumps(GRAPH)}' > /dev/shm/graph.json")
    dago.execute(*graph)
    refused = project.dago("graph", "submit", "/dev/shm/graph.json")
    assert refused.status == 1 and "takes a token" in refused.said, refused.said
    done = project.dago("graph", "submit", "/dev/shm/graph.json", "--wait", token=token)
    assert done.status == 0 and '"output":42' in done.said.replace(" ", ""), done.said
    assert_hardened(project)
    assert token not in dago.logs() and dago.check_health()[0] == 0


def assert_hardened(project: Project) -> None:
    """Nobody is root, has a capability, can become more or knows the password from where others may read it."""
    for name in ("redis_1", *PROGRAMS):
        container = project.container(name)
        assert container.inspect()["HostConfig"]["ReadonlyRootfs"], name
        for pid in (container.pid, *descendants(container.pid)):
            process = Path(f"/proc/{pid}")
            facts = dict(
                line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line
            )
            assert facts["Uid"].split()[0] == "1000" and int(facts["CapEff"], 16) == 0, name
            assert facts["NoNewPrivs"] == "1", name
            assert project.secret() not in command_line(pid) + (process / "environ").read_text(), name
