"""Requests that are no messages of their types: the library would call that a fault of the server's, and log it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

UNREADABLE: Final = object()
"""What a call is given for a request that can't be read: only a call can answer with a status."""


class Interceptor(grpc.aio.ServerInterceptor):
    """Lets each call see requests that can't be read."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Answer the handler of a call, with a deserializer that does not raise."""
        handler = await continuation(handler_call_details)
        return handler and handler._replace(request_deserializer=_lenient(handler))


def _lenient(handler: Any) -> Callable[[bytes], Any]:
    read = handler.request_deserializer

    def lenient(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            # Of a stream (reflection) an empty request, which is answered as one that asks for nothing.
            return read(b"") if handler.request_streaming else UNREADABLE

    return lenient
