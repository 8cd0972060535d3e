"""The wire under a call's limit: TLS, proxies, slow but steady servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from executor_worker.errors import ModelTimeout, ModelUnavailable
from executor_worker.providers import wire
from tests.kit import Stopwatch
from tests.unit.executor_worker.providers.dialects import Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, hang, slow, stream


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[trustme.CA]:
    """A certificate authority that this process trusts, and no other."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    wire.tls_context.cache_clear()
    yield authority
    wire.tls_context.cache_clear()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FaultServer]:
    """A server with a certificate of *authority*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = FaultServer(context)
    yield server
    server.close()


def test_a_slow_stream_over_tls_survives_the_slices(
    dialect: Dialect, secure: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is broken off to ask the watch loses nothing."""
    monkeypatch.setattr(wire, "SLICE_S", 0.02)
    provider = dialect.provider(secure.url)
    secure.will(slow(0.15, dialect.begin(), dialect.text("slow"), dialect.end()))
    assert provider.complete(asked(), run_context()).text == "slow"
    provider.close()


def test_the_limit_holds_over_tls(dialect: Dialect, secure: FaultServer) -> None:
    """Silence in mid-stream."""
    provider = dialect.provider(secure.url, timeout_s=0.4, max_retries=0)
    secure.will(hang(dialect.begin()))
    began = Stopwatch()
    with pytest.raises(ModelTimeout):
        provider.complete(asked(), run_context())
    assert began.own_s() < 2
    provider.close()


def test_a_certificate_nobody_vouches_for_ends_at_once(
    dialect: Dialect, secure: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be no other at the next attempt."""
    monkeypatch.delenv("SSL_CERT_FILE")
    wire.tls_context.cache_clear()
    provider = dialect.provider(secure.url)
    with pytest.raises(ModelUnavailable, match="certificate verify failed") as caught:
        provider.complete(asked(), run_context())
    assert "tried" not in str(caught.value)
    provider.close()


def test_the_environments_proxy_is_used(dialect: Dialect, faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for the hosts it excepts."""
    monkeypatch.setenv("http_proxy", faulty.url)
    monkeypatch.setenv("no_proxy", "models.invalid")
    faulty.will(stream(dialect.begin(), dialect.text("through it"), dialect.end()))
    through = dialect.provider("http://api.models.example")
    assert through.complete(asked(), run_context()).text == "through it"
    past = dialect.provider("http://models.invalid", max_retries=0)
    with pytest.raises(ModelUnavailable, match="can't be reached"):
        past.complete(asked(), run_context())
    assert len(faulty.requests) == 1
    through.close()
    past.close()


@contextmanager
def full_port() -> Iterator[int]:
    """A port whose queue of unaccepted connections is full."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def test_a_host_that_is_a_black_hole_is_unavailable(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody accepts is given up long before the call's limit."""
    monkeypatch.setattr(wire, "CONNECT_S", 0.2)
    with full_port() as port:
        provider = dialect.provider(f"http://127.0.0.1:{port}", timeout_s=20, max_retries=0)
        began = Stopwatch()
        with pytest.raises(ModelUnavailable, match="accepted no connection"):
            provider.complete(asked(), run_context())
        assert began.own_s() < 3
        provider.close()
