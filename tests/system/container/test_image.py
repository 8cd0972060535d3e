"""The Dockerfile, built and run for real: read-only, without a capability, with little memory and few processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.kit import RedisServer, alive, cannot_run, command_line, free_port, state_of, wait_until
from tests.kit.containers import Engine
from tests.kit.paths import ROOT
from tests.kit.processes import descendants
from tests.system.container.conftest import PASSWORD, Contained, memory_kills
from tests.system.project.readme import commands

# Each builds on the image and the engine, which one process at a time may use.
pytestmark = [pytest.mark.xdist_group("container"), pytest.mark.timeout(660)]  # the first builds the image

LARGEST_MIB = 200  # of what comes on top of the base image; a third of it is for the interfaces of graphs
Launch = Callable[..., Contained]


def mib(engine: Engine, image: str) -> float:
    return float(json.loads(engine.run("image", "inspect", image).said)[0]["Size"]) / 2**20


def test_image_holds_what_it_needs(engine: Engine, image: str) -> None:
    """An ordinary user, TERM to stop, a health check by the program itself; small."""
    known = json.loads(engine.run("image", "inspect", image).said)[0]
    settings = known["Config"]
    assert settings["User"] == "1000:1000"
    assert settings["StopSignal"] == "SIGTERM"
    assert settings["Entrypoint"][-1] == "executor-worker" and settings["Cmd"] == ["run"]
    assert known["Healthcheck"]["Test"] == ["CMD", "executor-worker", "health"]
    assert mib(engine, image) - mib(engine, "localhost/stand-in-for-python") < LARGEST_MIB


def test_hardened_container_works(launch: Launch) -> None:
    """With all restrictions on, it takes items; its password came from a file; none of it may write or become more."""
    pool = launch()
    assert pool.wire.wait_result(pool.submit("calculate"))["data"]["output"] == 42
    assert pool.container.execute("sh", "-c", "echo > /tmp/file", check=False).status != 0
    processes = [pool.container.pid, *descendants(pool.container.pid)]
    assert len(processes) >= 4, "supervisor, keeper and two workers"
    for pid in processes:
        facts = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert facts["Uid"].split()[0] == "1000" and int(facts["CapEff"], 16) == 0 and facts["NoNewPrivs"] == "1"
    code = "import importlib.util as u; print([name for name in ('pip', 'setuptools', 'redis') if u.find_spec(name)])"
    assert "['redis']" in pool.container.execute("python", "-c", code).said, "no installer is left in it"
    assert PASSWORD not in pool.container.logs()


def test_health_follows_the_pool(launch: Launch, secured: RedisServer) -> None:
    """Healthy, unhealthy after three looks without Redis, healthy when it is back: the check says what /health says."""
    # The image's own check, without its first minute in which nothing is held against it: they are set together.
    pool = launch("--health-cmd=executor-worker health", "--health-start-period=0s", "--health-retries=3")
    assert pool.container.check_health() == (0, "healthy")
    secured.stop()
    pool.wait_health(1)
    wait_until(lambda: pool.container.check_health() == (1, "unhealthy"), 30, "it counts as unhealthy")
    assert httpx2.get(f"http://127.0.0.1:{pool.port}/health").status_code == 503
    assert httpx2.get(f"http://127.0.0.1:{pool.port}/live").status_code == 200
    secured.start()
    pool.wait_health(0)
    assert pool.container.check_health() == (0, "healthy")
    assert httpx2.get(f"http://127.0.0.1:{pool.port}/health").status_code == 200


def test_health_check_needs_no_port(launch: Launch) -> None:
    """Also where HEALTH_PORT is empty the check answers for the pool: well, paused, and when its main loop hangs."""
    pool = launch(HEALTH_PORT="")
    said = json.loads(pool.container.execute("executor-worker", "health").said)
    assert said["status"] == "healthy" and said["workers"]["idle"] == 2 and said["pid"] == 1
    pool.container.kill("TSTP")
    wait_until(lambda: '"degraded"' in pool.container.execute("executor-worker", "health").said, 20, "it is paused")
    stop_supervisor(pool)
    pool.wait_health(1)
    assert "main loop" in pool.container.execute("executor-worker", "health", check=False).said
    os.kill(pool.container.pid, signal.SIGCONT)
    pool.wait_health(0)


def stop_supervisor(pool: Contained) -> None:
    """From outside: inside, nothing can stop PID 1."""
    os.kill(pool.container.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pool.container.pid) == "T", 5, "the supervisor stands still")


def test_term_drains(launch: Launch) -> None:
    """The item in hand is finished and settled, then the container ends with 0; none is left pending."""
    pool = launch()
    graph_id, gate = pool.hold()
    pool.container.kill("TERM")
    wait_until(lambda: pool.container.events("pool.draining"), 20, "it drains")
    assert pool.container.check_health()[0] == 0, "draining is no illness"
    gate.touch()
    assert pool.container.wait() == 0
    result = pool.wire.wait_result(graph_id)
    assert result["data"]["output"] == "held" and result["data"]["attempt"] == 1
    assert pool.wire.redis.xlen("executor.work") == 0


def test_term_at_the_very_start_ends_it(launch: Launch) -> None:
    """PID 1 has no handler yet: what comes then waits until it has."""
    pool = launch(wait=False)
    pool.container.kill("TERM")
    assert pool.container.wait() == 0


def test_deadline_passed_in_a_drain_is_told_and_loses_nothing(launch: Launch) -> None:
    """An item that takes longer than DRAIN_TIMEOUT: the status is 1, the next container runs it, the drain forgiven."""
    first = launch(DRAIN_TIMEOUT="1")
    graph_id, gate = first.hold()
    first.container.kill("TERM")
    assert first.container.wait() == 1
    gate.touch()
    assert launch().wire.wait_result(graph_id, seconds=60)["data"]["attempt"] == 1


def test_wrong_settings_end_it_with_78(launch: Launch) -> None:
    """Starting it again would not help: the status and the log say so."""
    pool = launch(wait=False, WORKERS="many")
    assert pool.container.wait() == 78
    assert "WORKERS" in pool.container.logs()


def test_pid_1_reaps_what_is_orphaned_to_it(launch: Launch) -> None:
    """A process whose parent has gone becomes PID 1's, and is no zombie when it ends."""
    pool = launch()
    pool.container.execute("sh", "-c", "sleep 3600 & sleep 3601 & sleep 3602 &")
    orphans = [pid for pid in descendants(pool.container.pid) if command_line(pid).startswith("sleep 360")]
    assert len(orphans) == 3
    for pid in orphans:
        os.kill(pid, signal.SIGTERM)
    gone = lambda: [pid for pid in descendants(pool.container.pid) if state_of(pid) == "Z" or pid in orphans] == []  # noqa: E731
    wait_until(gone, 20, lambda: f"no zombies: {[(pid, state_of(pid)) for pid in descendants(pool.container.pid)]}")
    assert not any(map(alive, orphans))
    assert pool.wire.wait_result(pool.submit("calculate"))["data"]["output"] == 42


def test_worker_killed_for_memory_is_replaced(launch: Launch) -> None:
    """The kernel ends the one worker that took too much; the container, the others and the item go on."""
    pool = launch(WORKERS="2")
    if memory_kills(pool.container) is None:
        cannot_run("this kernel sets containers no memory limit")
    pid = pool.container.pid
    held, gate = pool.hold()
    greedy = pool.submit("devour", "greedy")
    result = pool.wire.wait_result(greedy, seconds=60)
    assert result["data"]["output"] == "survived" and result["data"]["attempt"] == 2
    assert (memory_kills(pool.container) or 0) >= 1
    assert pool.container.pid == pid and pool.container.check_health()[0] == 0
    gate.touch()
    assert pool.wire.wait_result(held)["data"]["attempt"] == 1, "the other worker never noticed"


def test_commands_of_the_readme(engine: Engine, image: str, secured: RedisServer, tmp_path: Path) -> None:
    """As they stand there; our engine answers to Docker's name, and the image is built already."""
    typed = [line for line in commands("Install it elsewhere") if line.startswith(("make docker", "docker"))]
    assert len(typed) == 4
    engine.run("tag", image, "localhost/da-node-executor")
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = build ] || exec podman "$@"\n')
    docker.chmod(0o755)
    (tmp_path / ".env").write_text(
        f"REDIS_ADDR={secured.addr}\nREDIS_PASS={PASSWORD}\nLLM_PROVIDER=scripted\nHEALTH_PORT={free_port()}\n"
    )
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    # A process 1 without handlers gets no signals: whoever stops it has seen it start.
    typed.insert(3, "for try in $(seq 600); do docker exec executor executor-worker health && break; done")
    done = engine.shell("\n".join(["set -e", *typed]), tmp_path)
    assert done.status == 0, done.said
    assert "drained and left with exit status 0" in done.said
