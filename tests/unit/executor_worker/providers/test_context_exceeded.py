"""A prompt that is too long, in the words of those who say so."""

from __future__ import annotations

import pytest

from executor_worker.errors import ContextExceeded, ModelRejected
from executor_worker.providers.base import Provider
from tests.unit.executor_worker.providers.dialects import Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, failure, stream

SAID = [
    (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
    (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"),
    (413, "request_too_large", "Request exceeds the maximum size"),
    (400, "context_length_exceeded", "Your input is more than we take"),
    (400, "BadRequestError", "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
    (400, "exceed_context_size_error", "the request exceeds the available context size, try increasing it"),
    (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    (422, "validation", "length of prompt_tokens (163280) must be less than max_seq_len (32768)."),
    (400, "x", "Please reduce the length of the messages or completion."),
    (400, "x", "Input prompt (2664 tokens) is too long and exceeds limit of 2048"),
]
NOT_SAID = [
    (400, "invalid_request_error", "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"),
    (400, "invalid_request_error", "max_tokens is too large: 100000. This model supports at most 16384"),
    (
        400,
        "invalid_request_error",
        "messages.1.content.0.tool_result.content.0.image.source: image exceeds 5 MB maximum",
    ),
    (429, "rate_limit_error", "too many input tokens this minute"),
]


@pytest.mark.parametrize(("status", "kind", "message"), SAID)
def test_it_is_told_apart_from_other_refusals(
    status: int, kind: str, message: str, faulty: FaultServer, provider: Provider
) -> None:
    """Still `llm_rejected`, and not sent again as it was."""
    faulty.will(failure(status, kind, message))
    with pytest.raises(ContextExceeded, match=f"HTTP {status} ") as raised:
        provider.complete(asked(system="S"), run_context())
    assert (raised.value.code, raised.value.retryable, len(faulty.requests)) == ("llm_rejected", False, 1)


@pytest.mark.parametrize(("status", "kind", "message"), NOT_SAID)
def test_what_sounds_alike_is_not_taken_for_it(
    status: int, kind: str, message: str, faulty: FaultServer, dialect: Dialect
) -> None:
    """A shorter conversation would not help."""
    faulty.will(failure(status, kind, message))
    provider = dialect.provider(faulty.url, max_retries=0)
    with pytest.raises(Exception, match=f"HTTP {status} ") as raised:
        provider.complete(asked(), run_context())
    assert not isinstance(raised.value, ContextExceeded)
    provider.close()


def test_in_mid_stream_as_well(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """Its type says which status it would have had."""
    faulty.will(stream(dialect.begin(), dialect.failure("context_length_exceeded", "no room left")))
    with pytest.raises(ContextExceeded, match="HTTP 400 context_length_exceeded: no room left"):
        provider.complete(asked(), run_context())
    assert issubclass(ContextExceeded, ModelRejected)
