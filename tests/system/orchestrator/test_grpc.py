"""The same over gRPC: calls, status codes, streams, health, reflection, TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionResponse
from grpc_status import rpc_status

from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.paths import ROOT
from tests.system.orchestrator.graphs import doubling, waiting
from tests.system.orchestrator.shared import shared_api
from tests.system.orchestrator.test_http import api_pid

UNKNOWN = "01a224cc-a9d3-756e-a0e6-ffbc28845000"
Stub = Any


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool with an API and tokens for all tests of this file that leave it as it is."""
    with shared_api(
        tmp_path_factory, **WITH_TOOLS, API_TOKENS="eye:read:aaa,op:operate:ccc", MAX_GRAPH_BYTES="100000"
    ) as pool:
        yield pool


@pytest.fixture
def channel(shared: Pool) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{shared.grpc_port}") as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> Stub:
    return orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]


OPERATE = {"metadata": (("authorization", "Bearer ccc"),), "timeout": 60}


def refused(call: Callable[..., Any], request: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that is refused; return gRPC's code and the API's."""
    with pytest.raises(grpc.RpcError) as raised:
        call(request, **{**OPERATE, **options})
    error: Any = raised.value
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[no-untyped-call]
    assert status is not None and status.details[0].Unpack(info) and info.domain == "dago.v1"
    assert error.details().startswith(f"{info.reason}: ")
    return error.code(), info.reason


def test_a_graph_is_run_to_its_result(stub: Stub) -> None:
    """Inputs are JSON where they parse, else text; events come until the last one."""
    graph = {**doubling(), "output": {"twice": "{{twice}}", "word": "{{inputs.word}}"}}
    request = messages.SubmitGraphRequest(graph_json=json.dumps(graph), inputs={"x": "21", "word": "so"})
    made = stub.SubmitGraph(request, **OPERATE)
    assert made.status == "submitted"
    stream = stub.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id=made.graph_id), **OPERATE)
    events = list(stream)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "graph.completed" and events[-1].graph_id == made.graph_id
    rest = messages.StreamGraphEventsRequest(graph_id=made.graph_id, after_seq=3)
    assert list(stub.StreamGraphEvents(rest, **OPERATE)) == events[3:]
    status = stub.GetGraphStatus(messages.GetGraphStatusRequest(graph_id=made.graph_id), **OPERATE)
    assert status.status == "completed" and status.submitted_at.endswith("Z") and status.completed_at.endswith("Z")
    result = stub.GetGraphResult(messages.GetGraphResultRequest(graph_id=made.graph_id), **OPERATE)
    assert json.loads(result.output_json) == {"twice": 42, "word": "so"}
    assert json.loads(result.result_json)["twice"]["status"] == "completed" and result.error == ""


def test_errors_have_both_codes(stub: Stub) -> None:
    """gRPC's, and the API's own."""
    code = grpc.StatusCode
    get, submit = stub.GetGraphStatus, stub.SubmitGraph
    assert refused(get, messages.GetGraphStatusRequest(graph_id=UNKNOWN)) == (code.NOT_FOUND, "NOT_FOUND")
    assert refused(get, messages.GetGraphStatusRequest(), metadata=()) == (code.UNAUTHENTICATED, "UNAUTHORIZED")
    wrong = (("authorization", "Bearer nope"),)
    assert refused(get, messages.GetGraphStatusRequest(), metadata=wrong) == (code.UNAUTHENTICATED, "UNAUTHORIZED")
    eye = (("authorization", "Bearer aaa"),)
    assert refused(submit, messages.SubmitGraphRequest(), metadata=eye) == (code.PERMISSION_DENIED, "FORBIDDEN")
    for request in (
        messages.SubmitGraphRequest(),
        messages.SubmitGraphRequest(graph_json="{"),
        messages.SubmitGraphRequest(graph_json="{}", inputs_json="[]"),
    ):
        assert refused(submit, request) == (code.INVALID_ARGUMENT, "INVALID_REQUEST")
    nothing = messages.SubmitGraphRequest(graph_json='{"nodes":{}}')
    assert refused(submit, nothing) == (code.INVALID_ARGUMENT, "VALIDATION_ERROR")
    graph = '{"nodes":{"a":{"type":"start"}}}'
    for request in (
        messages.SubmitGraphRequest(graph_json='{"nodes":{"a":{"type":"start"},"a":{"type":"end"}}}'),
        messages.SubmitGraphRequest(graph_json=graph, inputs_json='{"x":1,"x":2}'),
        messages.SubmitGraphRequest(graph_json=graph, inputs={"x": '[{"y":1,"y":2}]'}),
    ):
        assert refused(submit, request) == (code.INVALID_ARGUMENT, "VALIDATION_ERROR")
    large = messages.SubmitGraphRequest(graph_json='"' + "x" * 120_000 + '"')
    assert refused(submit, large) == (code.RESOURCE_EXHAUSTED, "TOO_LARGE")
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id=UNKNOWN), **OPERATE))
    error: Any = raised.value
    assert error.code() is code.NOT_FOUND


def test_a_message_that_cannot_be_read_is_the_clients_fault(channel: grpc.Channel, shared: Pool) -> None:
    """By every service, and nothing of it is an error in the log; who may not call is told just that."""
    code, service, known = grpc.StatusCode, "/dago.v1.OrchestratorService", len(shared.events)
    call: Any

    def sent(call: Any, request: Any, **options: Any) -> Any:
        return list(answer) if hasattr(answer := call(request, **options), "cancel") else answer

    for data in (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):  # no field, a text that ends early, no UTF-8
        for call in (
            channel.unary_unary(f"{service}/SubmitGraph"),
            channel.unary_unary(f"{service}/GetGraphStatus"),
            channel.unary_stream(f"{service}/StreamGraphEvents"),
        ):
            assert refused(partial(sent, call), data) == (code.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert refused(partial(sent, call), data, metadata=()) == (code.UNAUTHENTICATED, "UNAUTHORIZED")
        for call in (
            channel.unary_unary("/grpc.health.v1.Health/Check"),
            channel.unary_stream("/grpc.health.v1.Health/Watch"),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                sent(call, data, timeout=20)
            assert raised.value.code() is code.INVALID_ARGUMENT
    reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    (answer,) = reflect(iter([b"\xff"]), timeout=20)
    response = ServerReflectionResponse.FromString(answer)
    assert response.error_response.error_code == code.INVALID_ARGUMENT.value[0]
    assert not [event for event in shared.events[known:] if event["level"] == "error"]


def test_a_run_that_goes_on_has_no_result_and_can_be_cancelled(stub: Stub, tmp_path: Path) -> None:
    """Once."""
    graph = json.dumps(waiting(str(tmp_path / "gate")))
    graph_id = stub.SubmitGraph(messages.SubmitGraphRequest(graph_json=graph), **OPERATE).graph_id
    code = grpc.StatusCode.FAILED_PRECONDITION
    assert refused(stub.GetGraphResult, messages.GetGraphResultRequest(graph_id=graph_id)) == (code, "NOT_COMPLETED")
    done = stub.CancelGraph(messages.CancelGraphRequest(graph_id=graph_id), **OPERATE)
    assert done.status == "cancelled" and done.cancelled_at.endswith("Z")
    again = refused(stub.CancelGraph, messages.CancelGraphRequest(graph_id=graph_id))
    assert again == (code, "CANCELLATION_FAILED")


def test_a_node_that_waits_for_no_signal_takes_none(stub: Stub, tmp_path: Path) -> None:
    """A precondition that fails; a node or run that is not there, and what is no JSON, are said as such."""
    graph = json.dumps(waiting(str(tmp_path / "gate")))
    graph_id = stub.SubmitGraph(messages.SubmitGraphRequest(graph_json=graph), **OPERATE).graph_id
    code, signal_of = grpc.StatusCode, messages.SignalNodeRequest
    for named, payload, expected in (
        ({"graph_id": graph_id, "node_id": "wait"}, "true", (code.FAILED_PRECONDITION, "CONFLICT")),
        ({"graph_id": graph_id, "node_id": "other"}, "true", (code.NOT_FOUND, "NOT_FOUND")),
        ({"graph_id": UNKNOWN, "node_id": "wait"}, "true", (code.NOT_FOUND, "NOT_FOUND")),
        ({"graph_id": graph_id, "node_id": "wait"}, "yes", (code.INVALID_ARGUMENT, "INVALID_REQUEST")),
    ):
        assert refused(stub.SignalNode, signal_of(**named, payload_json=payload)) == expected
    stub.CancelGraph(messages.CancelGraphRequest(graph_id=graph_id), **OPERATE)


def test_a_deadline_ends_a_stream(stub: Stub, shared: Pool, tmp_path: Path) -> None:
    """As the client has set it; nobody reads on."""
    graph = json.dumps(waiting(str(tmp_path / "gate")))
    graph_id = stub.SubmitGraph(messages.SubmitGraphRequest(graph_json=graph), **OPERATE).graph_id
    request = messages.StreamGraphEventsRequest(graph_id=graph_id)
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.StreamGraphEvents(request, **{**OPERATE, "timeout": 1}))
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    (tmp_path / "gate").touch()


def test_health_and_reflection_need_no_token(channel: grpc.Channel) -> None:
    """Health of the whole and of the service; the service describes itself."""
    health = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    for name in ("", "dago.v1.OrchestratorService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError):
        health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=60)
    first = next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=60)))
    assert first.status == health_pb2.HealthCheckResponse.SERVING
    shown = ProtoReflectionDescriptorDatabase(channel)
    assert "dago.v1.OrchestratorService" in shown.get_services()
    assert shown.FindFileContainingSymbol("dago.v1.SubmitGraphRequest").package == "dago.v1"


def test_a_killed_process_leaves_the_port_to_the_next(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Several processes share it; a client that tries again is answered."""
    pool = executor(redis_server, command=("run", "--api"), API_PROCESSES="2")
    os.kill(api_pid(pool), signal.SIGKILL)
    with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as opened:
        health = health_pb2_grpc.HealthStub(opened)  # type: ignore[no-untyped-call]
        for _ in range(5):
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True).status == 1
    pool.wait_event("service.up", count=3)
    assert pool.drain() == 0


def test_a_stream_is_told_of_a_drain(executor: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path) -> None:
    """UNAVAILABLE: join again."""
    pool = executor(redis_server, command=("run", "--api"), **WITH_TOOLS)
    gate = tmp_path / "gate"
    with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as opened:
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(opened)  # type: ignore[no-untyped-call]
        request = messages.SubmitGraphRequest(graph_json=json.dumps(waiting(str(gate))))
        graph_id = stub.SubmitGraph(request, timeout=60).graph_id
        stream = stub.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id=graph_id), timeout=30)
        assert next(stream).type == "graph.submitted"
        pool.send(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as raised:
            list(stream)
        error: Any = raised.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    gate.touch()
    assert pool.wait() == 0


def test_it_speaks_tls(executor: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path) -> None:
    """By the same certificate as HTTP."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    key.write_bytes(issued.private_key_pem.bytes())
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    pool = executor(redis_server, command=("run", "--api"), API_TLS_CERT=str(cert), API_TLS_KEY=str(key))
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with grpc.secure_channel(f"localhost:{pool.grpc_port}", trusted) as opened:
        health = health_pb2_grpc.HealthStub(opened)  # type: ignore[no-untyped-call]
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1


def test_without_a_port_there_is_none(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """HTTP alone, and gRPC alone."""
    http = executor(redis_server, command=("run", "--api"), DAGO_GRPC_PORT="")
    assert [event["protocol"] for event in http.seen("api.listening")] == ["http"]
    alone = executor(redis_server, command=("run", "--api"), DAGO_HTTP_PORT="")
    assert [event["protocol"] for event in alone.seen("api.listening")] == ["grpc"]
    with grpc.insecure_channel(f"127.0.0.1:{alone.grpc_port}") as opened:
        health = health_pb2_grpc.HealthStub(opened)  # type: ignore[no-untyped-call]
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
    taken = executor(redis_server, command=("run", "--api"), wait=False, DAGO_GRPC_PORT=str(alone.grpc_port))
    assert taken.wait() == 78 and "DAGO_GRPC_PORT" in taken.said()


def test_the_stubs_are_those_of_the_proto(tmp_path: Path) -> None:
    """Made anew they are the same."""
    proto = "orchestrator/rpc/orchestrator.proto"
    (tmp_path / "orchestrator/rpc").mkdir(parents=True)
    (tmp_path / proto).write_text((ROOT / proto).read_text())
    outputs = ["--python_out=.", "--grpc_python_out=.", "--pyi_out=."]
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I.", *outputs, proto]
    subprocess.run(command, cwd=tmp_path, check=True)
    for made in (tmp_path / "orchestrator/rpc").glob("*.py*"):
        assert made.read_text() == (ROOT / "orchestrator/rpc" / made.name).read_text(), "run `make proto`"


def test_a_key_makes_one_run(stub: Stub) -> None:
    """One key is one run, over gRPC as over HTTP."""
    request = messages.SubmitGraphRequest(
        graph_json=json.dumps(doubling()), inputs_json='{"x": 1}', idempotency_key="over-grpc"
    )
    first = stub.SubmitGraph(request, **OPERATE).graph_id
    assert stub.SubmitGraph(request, **OPERATE).graph_id == first
    request.inputs_json = '{"x": 2}'
    assert refused(stub.SubmitGraph, request) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_MISMATCH")
    wait_until(
        lambda: stub.GetGraphStatus(messages.GetGraphStatusRequest(graph_id=first), **OPERATE).status == "completed"
    )
