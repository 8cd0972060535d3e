"""Calls over gRPC: what comes of clients that go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import MagicMock

import grpc
import pytest

from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc.calls import Calls
from orchestrator.shown import Mark


def test_a_client_that_hangs_up_is_no_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    """Also one that the library misses only as it is written to: nothing is logged, and nothing has failed."""

    async def follow(*_: Any) -> AsyncIterator[Mark]:
        yield Mark.RESET

    async def write(_: Any) -> None:
        raise grpc.aio.InternalError("Failed grpc_call_start_batch")

    service, context, counted = MagicMock(), MagicMock(), list[str]()
    service.feeds.follow, context.write = follow, write
    calls = Calls(service, lambda _, code, __: counted.append(code))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(calls.StreamGraphEvents(messages.StreamGraphEventsRequest(graph_id="x"), context))
    assert counted == ["CANCELLED"] and capfd.readouterr().err == ""
    service.tracing.request.return_value.ended.assert_called_once_with("CANCELLED", failed=False)
