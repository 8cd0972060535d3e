"""
The one border where what an SDK, a server or the network says becomes a ModelError.

The anthropic and openai SDKs come from one generator: their errors have the same names and attributes,
so one border serves both, told which library it stands before.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx2

from executor_worker.errors import (
    ContextExceeded,
    ModelBadResponse,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    NodeError,
)
from executor_worker.providers.retries import asked_wait_s
from executor_worker.providers.wire import CONNECT_S, Limit, ReplyTooLarge

SAID_CHARS = 300
# Errors in mid-stream come with status 200; their type says which status they would have had.
STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "content_filter": 400,
    "insufficient_quota": 402,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 408,
    "overloaded_error": 529,
}
# How APIs and servers say, each in its own words, that a prompt is longer than the model takes.
TOO_LONG = re.compile(
    r"context[ _-](length|window|size|limit)|max_seq_len|max_model_len|prompt is too long"
    r"|(prompt|input|request) (\([^)]*\) )?is too (long|large)|input token count\b.*\bexceeds"
    r"|reduce the length of (the|your) (messages|prompt|input)|maximum context|too many (input|prompt) tokens",
    re.IGNORECASE,
)
# By these the provider asks for fewer calls.
THROTTLED = (429, 529)
# Kinds of refusal that are about the key or its account, whatever the status they come with.
KEY_OR_ACCOUNT = frozenset(
    (
        *("authentication_error", "invalid_api_key", "invalid_authentication", "api_key_invalid", "unauthenticated"),
        *("billing_error", "insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"),
        *("account_deactivated", "billing_not_active", "access_terminated", "permission_denied", "permission_error"),
    )
)
# The same in words, from APIs that say it by a 400 or 403 of no kind.
REFUSED_KEY = re.compile(
    r"api[ _-]?key (not valid|expired|is (invalid|expired|not valid|disabled|missing))"
    r"|(invalid|incorrect|expired) api[ _-]?key"
    r"|api_key_invalid|credit balance|(insufficient|not enough|no) (balance|funds|credits?|quota)\b"
    r"|account .*(suspended|deactivated|disabled|overdue|in arrears)|billing .*(not active|disabled|required)",
    re.IGNORECASE,
)
# A 403 that is about what was asked, not who asks.
REFUSED_CONTENT = re.compile(r"moderation|flagged|content[ _-]?(policy|filter)|safety|guardrail", re.IGNORECASE)


class Unusable(Exception):
    """The reply is not what it should be; the text says why."""


def listed_models(page: Any) -> list[str]:
    """
    Read the ids off a provider's list of models.

    Raises:
        Unusable: It is no such list; a web page of another program, for instance.
    """
    entries = page.get("data") if isinstance(page, dict) else None
    if not isinstance(entries, list):
        raise Unusable("no list of models in it")
    return [str(entry["id"]) for entry in entries]


class BadRequest(ModelRejected):
    """Status 400 or 422: something in the request is not to the server's liking; it may do without it."""


@dataclass(frozen=True)
class Border:
    """
    Args:
        provider: As the operator calls it.
        sdk: The library whose errors arrive here.
        secrets: Never to appear in a message.
    """

    provider: str
    sdk: ModuleType
    base_url: str
    secrets: tuple[str, ...]

    @contextmanager
    def crossing(self, model: str, limit: Limit) -> Iterator[None]:
        """Let nothing foreign out of the block."""
        try:
            yield
        except NodeError:
            raise
        except Exception as error:
            if limit.stopped is not None:
                raise limit.stopped from None
            raise self.translate(error, model) from error

    def translate(self, error: Exception, model: str) -> ModelError:
        """Say what *error* means in this program's own terms; every Exception has a meaning."""
        who = f"{self.provider} {model}"
        if isinstance(error, self.sdk.APIStatusError):
            return self._of_reply(who, error)
        if isinstance(error, (self.sdk.APIConnectionError, httpx2.TransportError)):
            return self._of_network(who, error)
        if isinstance(error, self.sdk.APIError):
            return self.said(who, getattr(error, "body", None) or str(error), 200, {})
        if isinstance(error, UnicodeEncodeError):
            return ModelRejected(f"{who}: the request holds characters that can't be sent: {error.reason}")
        return self._of_content(who, error)

    def said(self, who: str, body: object, status: int, headers: Any) -> ModelError:
        """Judge an error that the server spelled out, by status if it has one, else by its type."""
        kind, message = _read(body)
        if status < 400:
            status = next((STATUS_OF[word] for word in kind if word in STATUS_OF), _as_status(kind))
        shown = f"HTTP {status} " + " ".join(word for word in kind if not word.isdecimal())
        text = f"{who}: {shown.strip()}: {self.redact(message) or 'no explanation given'}"
        wait_s = asked_wait_s(headers) if status >= 408 else None
        if _is_refused(status, kind, message):
            return ModelRefused(text, why=_why(status, kind), whole_key=status != 403)
        error = _class_of(status, kind, message)(text, retry_after=wait_s)
        error.throttled = status in THROTTLED
        if headers.get("x-should-retry") == "false":
            error.retryable = False
        return error

    def redact(self, text: str) -> str:
        """Make *text* one short line without any secret in it."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        text = re.sub(r"(?i)\bbearer\s+\S+", "Bearer [key]", text)
        text = " ".join(text.split())
        return text if len(text) <= SAID_CHARS else text[: SAID_CHARS - 1] + "…"

    def _of_reply(self, who: str, error: Any) -> ModelError:
        return self.said(who, error.body, error.status_code, error.response.headers)

    def _of_network(self, who: str, error: Exception) -> ModelError:
        links = _chain(error)

        def due_to(*kinds: type[BaseException]) -> bool:
            return any(isinstance(link, kinds) for link in links)

        where = urlsplit(self.base_url).netloc.rpartition("@")[2]
        # The deepest cause names the errno or the breach; the SDK's own text is 'Connection error.'
        cause = [link for link in links if str(link)][-1]
        if due_to(ReplyTooLarge):
            return self._of_content(who, ReplyTooLarge(str(cause)))
        if due_to(httpx2.ConnectTimeout):
            return ModelUnavailable(f"{who}: {where} accepted no connection within {CONNECT_S:g} s")
        if due_to(httpx2.TimeoutException):
            return ModelTimeout(f"{who}: no complete answer from {where} within LLM_TIMEOUT")
        if due_to(httpx2.RemoteProtocolError, httpx2.ReadError):
            return ModelUnavailable(f"{who}: {where} cut the connection: {self.redact(str(cause))}")
        failed = ModelUnavailable(f"{who}: {where} can't be reached: {self.redact(_words(cause))}")
        failed.retryable = not due_to(
            httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, ssl.SSLCertVerificationError
        )
        return failed

    def _of_content(self, who: str, error: Exception) -> ModelError:
        bad = ModelBadResponse(f"{who}: its reply can't be used: {self.redact(_words(error))}")
        bad.retryable = not isinstance(error, ReplyTooLarge)
        return bad


def _is_refused(status: int, kind: tuple[str, ...], message: str) -> bool:
    """Tell whether the provider refuses the key or its account, and not what was asked."""
    if status in (401, 402) or (status < 500 and not KEY_OR_ACCOUNT.isdisjoint(word.lower() for word in kind)):
        return True
    said = " ".join((*kind, message))
    if status == 403:
        return REFUSED_CONTENT.search(said) is None
    return status == 400 and REFUSED_KEY.search(said) is not None


def _why(status: int, kind: tuple[str, ...]) -> str:
    words = (word for word in kind if not word.isdecimal() and re.fullmatch(r"[\w.-]{1,60}", word))
    return " ".join((f"HTTP {status}", *words))


def _is_too_long(status: int, kind: tuple[str, ...], message: str) -> bool:
    if status == 413:
        return True
    return status in (400, 422) and TOO_LONG.search(" ".join((*kind, message))) is not None


def _class_of(status: int, kind: tuple[str, ...], message: str) -> type[ModelError]:
    if _is_too_long(status, kind, message):
        return ContextExceeded
    if status == 404 or "model_not_found" in kind:
        return ModelNotFound
    if status == 429:
        return ModelRateLimited
    if status == 408:
        return ModelTimeout
    if status == 409 or status >= 500:
        return ModelUnavailable
    if status in (400, 422):
        return BadRequest
    return ModelRejected if status >= 400 else ModelBadResponse


def _read(body: object) -> tuple[tuple[str, ...], str]:
    """Find the error's type and code, and its message, in any of the shapes servers give it."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return (), _page_title(str(body or ""))
    inner = body.get("error", body)
    if not isinstance(inner, dict):
        return (), str(inner)
    kind = tuple(str(inner[key]) for key in ("type", "code") if inner.get(key) not in (None, "", "error"))
    message = inner.get("message") or inner.get("detail") or body.get("detail") or body.get("message") or ""
    return kind, message if isinstance(message, str) else json.dumps(message)


def _as_status(kind: tuple[str, ...]) -> int:
    """Some servers send the status itself as the code of an error in mid-stream; else it is the server's fault."""
    numbers = (int(word) for word in kind if word.isdecimal() and len(word) == 3)
    return next((number for number in numbers if 400 <= number < 600), 500)


def _page_title(text: str) -> str:
    """An HTML page says what it has to say in its title."""
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    if title:
        return f"an HTML page titled {title[1].strip()!r}"
    return "an HTML page" if re.match(r"(?i)\s*<(!doctype|html)", text) else text


def _chain(error: BaseException | None) -> list[BaseException]:
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _words(error: BaseException) -> str:
    if isinstance(error, (Unusable, ReplyTooLarge)):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
