"""deploy/nginx in a real nginx before two API hosts: every way in and of looking, and one of the hosts killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import trustme
from websockets.sync.client import connect

from executor_worker.client import DagoClient
from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, Process, RedisServer, free_port, need, wait_until
from tests.kit.counterparts import PATHS
from tests.system.deploy.conftest import DEPLOY
from tests.system.orchestrator.graphs import chain, waiting
from tests.system.orchestrator.sse import read

# One nginx, two hosts and a pool serve all of them.
pytestmark = pytest.mark.xdist_group("nginx")

SHIPPED = DEPLOY / "nginx" / "dago.conf"
TOKEN = "a-token-that-may-do-everything"
AROUND = """daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/dago.conf;
}}
"""


@dataclass
class Front:
    """
    nginx, and what is behind it.

    Attributes:
        authority: The file of who has signed its certificate.
    """

    port: int
    authority: Path
    hosts: list[Pool]
    folder: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def http(self, token: str = TOKEN) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=self.url, headers=headers, verify=self.trust, timeout=60)

    def stub(self, channel: grpc.Channel) -> Any:
        return orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]

    def channel(self) -> grpc.Channel:
        return grpc.secure_channel(f"localhost:{self.port}", grpc.ssl_channel_credentials(self.authority.read_bytes()))

    def said(self) -> str:
        return (self.folder / "errors").read_text()[-3000:]


def as_here(text: str, here: dict[str, str]) -> str:
    """Put this machine's ports and files for those of the shipped file; each stands there."""
    for shipped, own in here.items():
        assert shipped in text, shipped
        text = text.replace(shipped, own)
    return text


def start_nginx(folder: Path, hosts: list[Pool]) -> tuple[int, Process]:
    authority, port = trustme.CA(), free_port()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "own.pem"))
    here = {"listen 443": f"listen 127.0.0.1:{port}", "dago.example.com": "localhost"}
    here |= {f"/etc/nginx/tls/{name}.pem": str(folder / "own.pem") for name in ("dago-key", "dago")}
    for number, host in enumerate(hosts, 11):
        here |= {f"192.0.2.{number}:8080": f"127.0.0.1:{host.api_port}"}
        here |= {f"192.0.2.{number}:9090": f"127.0.0.1:{host.grpc_port}"}
    (folder / "dago.conf").write_text(as_here(SHIPPED.read_text(), here))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
    libraries = ":".join(str(path) for path in sorted(PATHS["nginx"].parents[2].glob("usr/lib/*-linux-*")))
    command: list[str | Path] = [PATHS["nginx"], "-p", folder, "-e", folder / "errors", "-c", folder / "nginx.conf"]
    return port, Process(command, env={"LD_LIBRARY_PATH": libraries})


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx, two hosts of the API, and a pool that runs what comes through them."""
    need("nginx", "redis")
    folder = tmp_path_factory.mktemp("front")
    with ExitStack() as started:
        server = RedisServer(make(folder / "redis"))
        started.callback(server.close)
        tokens = {"API_TOKENS": f"ops:operate:{TOKEN},other:read:another"}

        def start(name: str, command: str) -> Pool:
            pool = Pool(
                make(folder / name),
                (command,),
                {"WORKER_ID": name, "WORKERS": "2", **server.env, **WITH_TOOLS, **tokens},
            )
            started.callback(pool.close)
            return pool

        hosts = [start("one", "serve"), start("other", "serve")]
        start("workers", "run").wait_ready()
        place = make(folder / "nginx")
        port, nginx = start_nginx(place, [host.wait_ready() for host in hosts])
        started.callback(nginx.kill)
        started.callback(nginx.wait, 60)
        started.callback(nginx.send, signal.SIGTERM)  # killed it would leave its worker behind, and that its port
        made = Front(port, place / "authority.pem", hosts, place)
        wait_until(lambda: nginx.running() and answers(made), 20, lambda: f"nginx answers\n{made.said()}")
        yield made


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def answers(front: Front) -> bool:
    try:
        with front.http() as http:
            return http.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False


def test_every_way_leads_through(front: Front, tmp_path: Path) -> None:
    """Events come as they happen by SSE, WebSocket and gRPC, while the run still waits; errors are the API's own."""
    with front.http() as http, front.channel() as channel:
        body = {"graph": waiting(str(tmp_path / "go"))}
        graph_id = http.post("/api/v1/graphs", json=body, headers={"Idempotency-Key": "ways"}).json()["graph_id"]
        again = http.post("/api/v1/graphs", json=body, headers={"Idempotency-Key": "ways"})
        assert again.status_code == 200 and again.json()["graph_id"] == graph_id
        assert [block.data["seq"] for block in read(http, graph_id, most=2)] == [1, 2]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        address = f"wss://localhost:{front.port}/api/v1/graphs/{graph_id}/ws"
        with connect(address, additional_headers=headers, ssl=front.trust) as line:
            assert [json.loads(line.recv(timeout=60))["seq"] for _ in range(2)] == [1, 2]
        said = [("authorization", f"Bearer {TOKEN}")]
        stream = front.stub(channel).StreamGraphEvents(
            messages.StreamGraphEventsRequest(graph_id=graph_id), metadata=said
        )
        assert [next(stream).seq for _ in range(2)] == [1, 2]
        stream.cancel()
        (tmp_path / "go").touch()
        assert http.get(f"/api/v1/graphs/{graph_id}/status", params={"wait": 20}).json()["status"] == "completed"
        large = http.post("/api/v1/graphs", content=b" " * 4_500_000, headers={"Content-Type": "application/json"})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "TOO_LARGE")
        assert http.get("/metrics").status_code == 404


def test_too_many_requests_are_refused_as_by_the_api(front: Front) -> None:
    """Of one token; others go on."""

    # All at the same time: one after the other they might be slower than what is allowed.
    async def many() -> list[httpx2.Response]:
        headers = {"Authorization": "Bearer another"}
        async with httpx2.AsyncClient(
            base_url=front.url, headers=headers, verify=front.trust, http2=False, timeout=60
        ) as http:
            for _ in range(10):  # the first ones also open their lines, which may take longer than what is allowed
                answers = await asyncio.gather(*(http.get("/live") for _ in range(300)))
                if refused := [answer for answer in answers if answer.status_code == 429]:
                    return refused
            return []

    refused = asyncio.run(many())
    assert refused and refused[0].json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert refused[0].headers["Retry-After"] == "1"
    assert refused[0].headers["Content-Type"] == "application/problem+json"
    with front.http() as http:
        assert http.get("/live").status_code == 200


def test_a_host_that_is_killed_costs_no_event_and_no_submit(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers on both hosts see every event once; each submit with a key is answered, and is one run."""
    monkeypatch.setenv("SSL_CERT_FILE", str(front.authority))  # as those who use the client say whom they trust
    ids: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        with front.http() as http:
            while not stop.is_set():
                key = {"Idempotency-Key": f"load-{len(ids)}"}
                answer = http.post("/api/v1/graphs", json={"graph": chain(1)}, headers=key)
                assert answer.status_code in (200, 201), f"{answer.text}\n{front.said()}"
                ids.append(answer.json()["graph_id"])
                stop.wait(0.02)  # below the rate

    def follow(seen: list[int]) -> str:
        with DagoClient(front.url, TOKEN) as dago:
            for event in dago.events(followed):
                seen.append(event["seq"])
            return str(event["type"])

    with front.http() as http, ThreadPoolExecutor(5) as threads:
        before = http.get("/api/v1/graphs").json()["total"]
        graph = chain(10)
        graph["nodes"]["n5"] = waiting(str(tmp_path / "go"))["nodes"]["wait"]
        followed = http.post("/api/v1/graphs", json={"graph": graph}).json()["graph_id"]
        seen: list[list[int]] = [[] for _ in range(4)]
        readers = [threads.submit(follow, numbers) for numbers in seen]
        load = threads.submit(submit)
        try:
            wait_until(lambda: min(map(len, seen)) > 5 and len(ids) > 5, 30, "all are at it")
            assert min(map(readers_of, front.hosts)) > 0, "readers are on both hosts"
            front.hosts[0].process.kill()
            after = len(ids)
            wait_until(lambda: len(ids) > after + 5 or load.done(), 30, "the other host takes over")
        finally:
            stop.set()
            (tmp_path / "go").touch()
        load.result(60)
        assert [reader.result(60) for reader in readers] == ["graph.completed"] * 4
        assert seen == [list(range(1, len(seen[0]) + 1))] * 4
        assert len(set(ids)) == len(ids)
        assert http.get("/api/v1/graphs").json()["total"] == before + len(ids) + 1


def test_that_no_host_is_left_is_said_as_by_the_api(front: Front) -> None:
    """By HTTP and by gRPC, so that clients wait and try again."""
    for host in front.hosts:
        host.process.kill()
    with front.http() as http, front.channel() as channel:
        answer = http.get("/api/v1/graphs")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")
        assert answer.headers["Retry-After"] == "1"
        with pytest.raises(grpc.RpcError) as refused:
            front.stub(channel).GetGraphStatus(messages.GetGraphStatusRequest(graph_id="x"))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "no API host answers" in str(refused.value.details())


def readers_of(host: Pool) -> int:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    page = httpx2.get(f"{host.api_url}/metrics", headers=headers, timeout=60).text
    return int(float(page.split("\ndago_event_subscribers ")[1].split("\n")[0]))
