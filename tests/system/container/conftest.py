"""The image as it is built from the Dockerfile, and containers of it, with every restriction that an operator sets."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.wire import Wire
from tests.kit import RedisServer, free_port, need, wait_until
from tests.kit.containers import Container, Engine
from tests.kit.paths import ROOT

TOOLS = Path(__file__).parent / "tools"
IMAGE = "localhost/da-node-executor:test"
PASSWORD = "a-password-for-containers"
USER = 1000
MEMORY_MIB = 384
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    f"--memory={MEMORY_MIB}m",
    "--pids-limit=64",
)


@dataclass(frozen=True)
class Contained:
    """
    A pool in a container.

    Attributes:
        journal: The folder its tools leave word in.
        port: Its health port.
    """

    container: Container
    wire: Wire
    journal: Path
    port: int

    def submit(self, tool: str, mark: str = "") -> str:
        """Put an item on the stream that calls *tool*; return its graph's id."""
        graph_id = self.wire.new_graph()
        parameters = {"mark": mark} if mark else {"expression": "6*7"}
        config = {"tool_name": tool, "tool_params": parameters}
        self.wire.add({"graph_id": graph_id, "node_id": "n", "config": config, "inputs": {}})
        return graph_id

    def hold(self) -> tuple[str, Path]:
        """Have a worker busy: the item's graph, and the file that lets it finish."""
        mark = uuid.uuid4().hex
        graph_id = self.submit("hold", mark)
        wait_until((self.journal / f"{mark}.begun").exists, 30, "the item is in hand")
        return graph_id, self.journal / f"{mark}.go"

    def wait_health(self, wanted: int) -> None:
        """Run the health check until it ends with that status."""
        said = lambda: f"the health check says {wanted}\n{self.container.logs()[-3000:]}"  # noqa: E731
        wait_until(lambda: self.container.check_health()[0] == wanted, 60, said)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine, with the stand-in for the Python image."""
    need("root", "container-engine", "container-python", "redis")
    with tempfile.TemporaryDirectory(prefix="ex-") as folder:
        made = Engine(Path(folder))
        made.load_python()
        yield made


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image, built from this tree."""
    engine.build(ROOT, IMAGE)
    return IMAGE


@pytest.fixture
def journal(folder: Path) -> Path:
    """A folder the container's user may write to."""
    made = folder / "journal"
    made.mkdir()
    made.chmod(0o777)
    folder.chmod(0o755)
    return made


@pytest.fixture
def secret(folder: Path) -> Path:
    """The password in a file that the container's user alone may read, as engines mount secrets."""
    file = folder / "redis_pass"
    file.write_text(PASSWORD)
    os.chown(file, USER, USER)
    file.chmod(0o400)
    return file


@pytest.fixture
def secured(start_server: Callable[..., RedisServer]) -> RedisServer:
    """A Redis that wants a password."""
    return start_server("redis", aof=True, password=PASSWORD)


@pytest.fixture
def launch(
    engine: Engine, image: str, secured: RedisServer, secret: Path, journal: Path
) -> Iterator[Callable[..., Contained]]:
    """Start a pool in a hardened container; wait until it is healthy unless told otherwise."""
    with ExitStack() as started:

        def start(*options: str, wait: bool = True, **settings: str) -> Contained:
            port = free_port()
            given = {
                "REDIS_ADDR": secured.addr,
                "REDIS_PASS_FILE": "/run/secrets/redis_pass",
                "HEALTH_PORT": str(port),
                "WORKER_ID": f"contained-{uuid.uuid4().hex[:8]}",
                "WORKERS": "2",
                "LLM_PROVIDER": "scripted",
                "TOOL_MODULES": "container_tools",
                "PYTHONPATH": "/tools",
                **settings,
            }
            folders = {TOOLS: "/tools:ro", journal: "/journal", secret: "/run/secrets/redis_pass:ro"}
            mounts = [f"--volume={here}:{there}" for here, there in folders.items()]
            container = engine.start(image, *HARDENED, *mounts, *options, **given)
            started.callback(container.remove)
            contained = Contained(container, Wire(secured), journal, port)
            if wait:
                contained.wait_health(0)
            return contained

        yield start


def memory_kills(container: Container) -> int | None:
    """How many processes of it the kernel has ended for memory; None if it sets no such limit."""
    for line in Path(f"/proc/{container.pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for mount, counted, limit in (
            ("/sys/fs/cgroup/memory", "memory.oom_control", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.events", "memory.max"),
        ):
            folder = Path(mount + path)
            if controllers in ("memory", "") and (folder / counted).exists():
                if (folder / limit).read_text().strip() != str(MEMORY_MIB * 2**20):
                    return None
                facts = dict(fact.split() for fact in (folder / counted).read_text().splitlines())
                return int(facts["oom_kill"]) if os.access(folder / counted, os.R_OK) else None
    return None
