"""Whatever a server does, both adapters end with an answer or with the right error, in time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from executor_worker.errors import (
    Abandoned,
    Cancelled,
    ModelBadResponse,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    NodeTimeout,
)
from executor_worker.providers import wire
from executor_worker.providers.base import Provider
from executor_worker.run_context import RunContext
from tests.kit import Stopwatch, free_port, wait_until
from tests.unit.executor_worker.providers.dialects import KEY, Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import (
    FaultServer,
    Reply,
    cut,
    failure,
    hang,
    mute,
    page,
    reset,
    stream,
    trickle,
)


def good(dialect: Dialect, text: str = "fine") -> Reply:
    return stream(dialect.begin(), dialect.text(text), dialect.end())


def test_a_streamed_answer_arrives_whole(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """Text, stop reason, model and usage are those of the stream."""
    faulty.will(good(dialect))
    reply = provider.complete(asked(), run_context())
    assert (reply.text, reply.stop_reason, reply.model) == ("fine", "end_turn", "m")
    assert reply.usage.as_json() == {"input_tokens": 3, "output_tokens": 5}


def test_a_server_that_does_not_stream_is_understood(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """A whole JSON document in place of a stream is the answer."""
    faulty.will(page(200, dialect.whole("in one piece")))
    reply = provider.complete(asked(), run_context())
    assert (reply.text, reply.stop_reason) == ("in one piece", "end_turn")
    assert reply.usage.total_tokens == 8


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate_limit_error"), (500, "api_error"), (502, "api_error"), (503, "api_error"), (529, "overloaded_error")],
)
def test_a_passing_fault_is_tried_again(
    status: int, kind: str, dialect: Dialect, faulty: FaultServer, provider: Provider
) -> None:
    """The second attempt's answer counts."""
    faulty.will(failure(status, kind), good(dialect))
    assert provider.complete(asked(), run_context()).text == "fine"
    assert len(faulty.requests) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, ModelRateLimited),
        (408, ModelTimeout),
        (409, ModelUnavailable),
        (500, ModelUnavailable),
        (529, ModelUnavailable),
    ],
)
def test_a_lasting_fault_is_given_up_after_the_retries(
    status: int, error: type[ModelError], faulty: FaultServer, provider: Provider
) -> None:
    """Three attempts, then an error that names provider, model, status, what was said and how often."""
    faulty.will(failure(status, "some_error", "so it is"))
    with pytest.raises(error, match=rf"test-model: HTTP {status} some_error: so it is \(tried 3 times\)"):
        provider.complete(asked(), run_context())
    assert len(faulty.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_request_is_not_sent_again(status: int, faulty: FaultServer, provider: Provider) -> None:
    """Asking again would bring the same."""
    faulty.will(failure(status, "invalid_request_error", "no such thing"))
    with pytest.raises(ModelRejected, match=f"HTTP {status} invalid_request_error: no such thing"):
        provider.complete(asked(), run_context())
    assert len(faulty.requests) == 1


REFUSED_KEYS = [
    (401, "authentication_error", "no"),
    (401, "invalid_request_error", "Incorrect API key provided: sk-…"),
    (402, "billing_error", "pay first"),
    (402, "unknown", "Insufficient Balance"),
    (403, "permission_error", "your key may not use this model"),
    (403, "forbidden", "no"),
    (429, "insufficient_quota", "You exceeded your current quota, please check your plan and billing details"),
    (429, "billing_hard_limit_reached", "pay first"),
    (400, "invalid_request_error", "Your credit balance is too low to access the API. Please go to Plans & Billing"),
    (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
]


@pytest.mark.parametrize(("status", "kind", "message"), REFUSED_KEYS)
def test_a_refused_key_is_told_from_a_refused_request(
    status: int, kind: str, message: str, faulty: FaultServer, provider: Provider
) -> None:
    """A wrong key and an empty account, by whatever status; neither passes by calling again at once."""
    faulty.will(failure(status, kind, message))
    with pytest.raises(ModelRefused) as caught:
        provider.complete(asked(), run_context())
    assert len(faulty.requests) == 1
    assert caught.value.code == "llm_refused"
    assert not caught.value.retryable
    assert caught.value.whole_key == (status != 403)
    assert re.fullmatch(rf"HTTP {status}( {kind})?", caught.value.why)


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (403, "moderation", "the input was flagged", ModelRejected),
        (403, "forbidden", "blocked by our content policy", ModelRejected),
        (429, "rate_limit_error", "You exceeded your current quota, please check your billing", ModelRateLimited),
        (400, "invalid_request_error", "max_tokens: no such key", ModelRejected),
        (404, "model_not_found", "no access to the model", ModelNotFound),
        (500, "api_error", "invalid api key cache", ModelUnavailable),
    ],
)
def test_what_is_no_refused_key(
    status: int, kind: str, message: str, error: type[Exception], faulty: FaultServer, provider: Provider
) -> None:
    """What was asked, how often, or the server."""
    faulty.will(failure(status, kind, message))
    with pytest.raises(error):
        provider.complete(asked(), run_context())


def test_a_key_refused_in_mid_stream(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """By its kind: the status was 200."""
    for kind in ("authentication_error", "billing_error", "insufficient_quota"):
        faulty.will(stream(dialect.begin(), dialect.failure(kind, "no")))
        with pytest.raises(ModelRefused):
            provider.complete(asked(), run_context())


def test_retry_after_is_waited_for(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """The next attempt comes no earlier than asked."""
    faulty.will(failure(429, retry_after="0.15"), good(dialect))
    began = time.monotonic()
    assert provider.complete(asked(), run_context()).text == "fine"
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize(("status", "error"), [(429, ModelRateLimited), (503, ModelUnavailable)])
def test_retry_after_beyond_the_deadline_ends_at_once(
    status: int, error: type[ModelError], faulty: FaultServer, provider: Provider
) -> None:
    """Nobody waits for what can't be in time; the error says how long was asked for."""
    faulty.will(failure(status, retry_after="60"))
    began = Stopwatch()
    with pytest.raises(error, match=r"asked to wait 60 s; the node has \d+ s left") as caught:
        provider.complete(asked(), run_context(5))
    assert caught.value.retry_after == 60
    assert began.own_s() < 2
    assert len(faulty.requests) == 1


def test_the_key_is_in_no_message(faulty: FaultServer, provider: Provider) -> None:
    """Not even where the server quotes it."""
    faulty.will(failure(401, "authentication_error", f"bad key {KEY}, sent as Authorization: Bearer {KEY}"))
    with pytest.raises(ModelRefused, match="bad key") as caught:
        provider.complete(asked(), run_context())
    assert KEY not in str(caught.value)
    assert KEY in faulty.headers[0]["authorization"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<html><head><title>Login</title></head><body>Please log in</body></html>", "text/html"),
        ("", "text/html"),
        ("", "text/event-stream"),
        ("", "application/json"),
        ("{}", "application/json"),
        ("[1]", "application/json"),
        ('{"model": ', "application/json"),
        ("data: {not json}\n\n", "text/event-stream"),
        ("event: message_start\ndata: {not json}\n\n", "text/event-stream"),
        ('event: message_start\ndata: ["a list"]\n\n', "text/event-stream"),
        ('event: message_start\ndata: {"type": "message_start"}\n\n', "text/event-stream"),
        (
            'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 7, "delta": 3}\n\n',
            "text/event-stream",
        ),
        ('data: {"choices": "none"}\n\n', "text/event-stream"),
        ('data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n', "text/event-stream"),
        ("event: x\ndata: " + "[" * 5000 + "\n\n", "text/event-stream"),
        ("\x00\xff" * 100, "application/octet-stream"),
    ],
)
def test_a_reply_that_is_none_is_a_bad_response(text: str, kind: str, faulty: FaultServer, provider: Provider) -> None:
    """HTML, nothing, other JSON, broken JSON: tried again, then said."""
    faulty.will(page(200, text, kind))
    with pytest.raises(ModelBadResponse, match=r"its reply can't be used: .*tried 3 times"):
        provider.complete(asked(), run_context())


def test_an_error_page_is_told_by_its_title(faulty: FaultServer, provider: Provider) -> None:
    """Not by its mark-up."""
    faulty.will(page(502, "<html><title>502 Bad Gateway</title><body>nginx</body></html>", "text/html"))
    with pytest.raises(ModelUnavailable, match="HTTP 502: an HTML page titled '502 Bad Gateway'"):
        provider.complete(asked(), run_context())


@pytest.mark.parametrize("how", [cut, stream])
def test_a_stream_cut_short_is_tried_again(
    how: Callable[..., Reply], dialect: Dialect, faulty: FaultServer, provider: Provider
) -> None:
    """Half an answer is none, whether the connection broke or ended."""
    faulty.will(how(dialect.begin(), dialect.text("half")), good(dialect, "whole"))
    assert provider.complete(asked(), run_context()).text == "whole"
    faulty.will(how(dialect.begin(), dialect.text("half")))
    with pytest.raises(ModelUnavailable, match=r"(broke off|cut the connection).*tried 3 times"):
        provider.complete(asked(), run_context())


def test_a_connection_that_is_reset_is_tried_again(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """Before any reply, too."""
    faulty.will(reset(), good(dialect))
    assert provider.complete(asked(), run_context()).text == "fine"


def test_a_server_that_is_not_there_is_unavailable(dialect: Dialect) -> None:
    """The message says which address refused."""
    port = free_port()
    provider = dialect.provider(f"http://127.0.0.1:{port}", max_retries=1)
    with pytest.raises(ModelUnavailable, match=rf"127\.0\.0\.1:{port} can't be reached: .*refused.*tried 2 times"):
        provider.complete(asked(), run_context())
    provider.close()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", ModelUnavailable),
        ("rate_limit_error", ModelRateLimited),
        ("server_error", ModelUnavailable),
    ],
)
def test_an_error_in_mid_stream_counts_by_its_type(
    kind: str, error: type[ModelError], dialect: Dialect, faulty: FaultServer, provider: Provider
) -> None:
    """Its status is 200; what passes is tried again."""
    broken = stream(dialect.begin(), dialect.text("half"), dialect.failure(kind, "sorry"))
    faulty.will(broken, good(dialect))
    assert provider.complete(asked(), run_context()).text == "fine"
    faulty.will(broken)
    with pytest.raises(error, match="sorry"):
        provider.complete(asked(), run_context())


def test_a_final_error_in_mid_stream_ends_at_once(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """An invalid request stays one."""
    faulty.will(stream(dialect.begin(), dialect.failure("invalid_request_error", "too long")))
    with pytest.raises(ModelRejected, match="HTTP 400 invalid_request_error: too long"):
        provider.complete(asked(), run_context())
    assert len(faulty.requests) == 1


def test_a_silent_server_is_a_timeout(dialect: Dialect, faulty: FaultServer) -> None:
    """Before the first byte and in mid-stream alike; the limit is the attempt's."""
    provider = dialect.provider(faulty.url, timeout_s=0.2, max_retries=1)
    faulty.will(mute(), hang(dialect.begin(), dialect.text("half")))
    began = Stopwatch()
    with pytest.raises(ModelTimeout, match=r"no complete answer from 127.* within LLM_TIMEOUT \(tried 2 times\)"):
        provider.complete(asked(), run_context())
    assert began.wall_s() >= 0.4 and began.own_s() < 2
    wait_until(lambda: len(faulty.requests) == 2, 10, "the server has read both")
    provider.close()


def test_a_trickling_server_is_a_timeout_all_the_same(dialect: Dialect, faulty: FaultServer) -> None:
    """Bytes in time for each read don't extend the whole; the server sees us leave."""
    provider = dialect.provider(faulty.url, timeout_s=0.2, max_retries=0)
    for events in ((dialect.ping(),), (dialect.begin(), dialect.text("a"))):
        faulty.gone.clear()
        faulty.will(trickle(events[-1], 0.05, *events[:-1]))
        began = Stopwatch()
        with pytest.raises(ModelTimeout):
            provider.complete(asked(), run_context())
        assert began.wall_s() >= 0.2 and began.own_s() < 1.5
        wait_until(faulty.gone.is_set, 3, "the server sees the connection closed")
    provider.close()


@pytest.mark.parametrize("how", ["mute", "trickle", "hang"])
def test_the_nodes_deadline_goes_before_all(how: str, dialect: Dialect, faulty: FaultServer) -> None:
    """It ends a call that could go on, and no further one is made."""
    provider = dialect.provider(faulty.url, timeout_s=30)
    replies: dict[str, Callable[[], Reply]] = {
        "mute": mute,
        "trickle": lambda: trickle(dialect.ping(), 0.05),
        "hang": lambda: hang(dialect.begin()),
    }
    for attempt, seconds in enumerate((0.2, 2, 10), 1):  # on a busy machine the request may not get there in time
        faulty.will(replies[how]())
        began = Stopwatch()
        with pytest.raises(NodeTimeout):
            provider.complete(asked(), run_context(seconds))
        assert began.own_s() < seconds + 1.3
        assert len(faulty.requests) <= attempt
        if faulty.requests:
            break
    assert faulty.requests
    provider.close()


class Stopping(RunContext):
    """A run that is ended by *error*, so many seconds after the server was asked."""

    def __init__(self, after_s: float, error: BaseException, asked: Callable[[], object]) -> None:
        super().__init__(time.monotonic() + 60)
        self._after_s = after_s
        self._asked = asked
        self._at: float | None = None
        self._error = error

    def check(self) -> None:
        if self._at is None and self._asked():
            self._at = time.monotonic() + self._after_s
        if self._at is not None and time.monotonic() > self._at:
            raise self._error


@pytest.mark.parametrize("error", [Cancelled("its graph was cancelled"), Abandoned("the lease is gone")])
@pytest.mark.parametrize("reply", ["mute", "trickle", "waiting"])
def test_what_ends_the_run_is_heard_while_a_server_is_silent(
    error: BaseException, reply: str, dialect: Dialect, faulty: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled graph or a lost lease ends the call within a slice, as itself, and no retry follows."""
    monkeypatch.setattr(wire, "SLICE_S", 0.05)
    provider = dialect.provider(faulty.url, timeout_s=20)
    faulty.will(
        {"mute": mute(), "trickle": trickle(dialect.ping(), 0.05), "waiting": failure(429, retry_after="9")}[reply]
    )
    began = Stopwatch()
    with pytest.raises(type(error), match=str(error)):
        provider.complete(asked(), Stopping(0.1, error, lambda: faulty.requests))
    assert began.own_s() < 2
    assert len(faulty.requests) == 1
    provider.close()


def test_an_endless_reply_is_given_up(
    dialect: Dialect, faulty: FaultServer, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be as long again: no retry."""
    monkeypatch.setattr(wire, "MAX_REPLY_BYTES", 10_000)
    faulty.will(stream(dialect.begin(), *[dialect.text("x" * 100)] * 200, dialect.end()))
    with pytest.raises(ModelBadResponse, match="larger than"):
        provider.complete(asked(), run_context())
    assert len(faulty.requests) == 1


def test_text_that_is_no_unicode_is_rejected(faulty: FaultServer, dialect: Dialect, provider: Provider) -> None:
    """A lone surrogate can't be sent; it is the request that is wrong."""
    faulty.will(good(dialect))
    with pytest.raises(ModelRejected, match="can't be sent"):
        provider.complete(asked("\ud800"), run_context())


def test_the_connection_is_kept_for_the_next_call(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """After faults as well, the same adapter goes on."""
    for reply in (cut(dialect.begin()), reset(), page(200, "<html>", "text/html"), failure(500)):
        faulty.will(reply, good(dialect))
        assert provider.complete(asked(), run_context()).text == "fine"


def test_the_models_a_server_lists(dialect: Dialect, faulty: FaultServer, provider: Provider) -> None:
    """Address and key are proven without a paid call."""
    faulty.will(page(200, json.dumps({"data": [{"id": "a"}, {"id": "b"}]})), failure(401, "authentication_error", "no"))
    assert provider.known_models(run_context()) == ["a", "b"]
    with pytest.raises(ModelRefused, match="HTTP 401"):
        provider.known_models(run_context())


@pytest.mark.parametrize("body", ["<html>", '{"data": null}', "[]"])
def test_a_server_that_lists_no_models(faulty: FaultServer, provider: Provider, body: str) -> None:
    """Another program's page is told in words, not as a mistake of ours."""
    faulty.will(page(200, body, "text/html" if body == "<html>" else "application/json"))
    with pytest.raises(ModelBadResponse, match="no list of models"):
        provider.known_models(run_context())


def test_retries_are_logged_without_what_was_said(
    dialect: Dialect, faulty: FaultServer, provider: Provider, logged: Callable[[str], list[dict[str, object]]]
) -> None:
    """Code, attempt and wait only."""
    faulty.will(failure(529, message="a secret prompt"), good(dialect))
    provider.complete(asked(), run_context())
    (fields,) = logged("model.retried")
    assert fields["error_code"] == "llm_unavailable"
    assert fields["attempt"] == 1
    assert "secret" not in json.dumps(fields)
