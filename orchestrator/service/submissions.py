"""Submissions: a request becomes a run that can be submitted; everything that is wrong with it is told at once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson

from executor_worker.broker.graphs import runs
from executor_worker.broker.graphs.memory import Room
from executor_worker.envelopes.traces import is_traceparent, new_traceparent
from executor_worker.graph import durations
from executor_worker.graph.checks.sizes import is_deeper
from executor_worker.graph.problems import Problem
from executor_worker.graph.validation import Limits, Report, check
from orchestrator.errors import Invalid, InvalidRequest
from orchestrator.service.known_graphs import Checked, KnownGraphs
from orchestrator.service.rules import Rules
from orchestrator.settings import ApiSettings

LONGEST_KEY = 255
MOST_DEPTH = 500  # of inputs and metadata; some more can't be written again
_PERHAPS_WHOLE = re.compile(rb"[0-9](?:\.0|e)")
_FIELDS = ("graph", "inputs", "metadata", "labels", "timeout")
_LATER = {
    "definition": "definitions are not kept yet; send the graph itself",
    "budget": "a budget of a whole run is not kept yet; give its nodes one",
    "webhook": "webhooks are not sent yet; follow the run's events",
}


@dataclass(frozen=True, slots=True)
class Order:
    """The order to run a graph, once it was found to be right."""

    stored: runs.StoredPlan
    inputs: dict[str, Any]
    metadata: dict[str, Any]
    labels: dict[str, str]
    timeout_s: float | None
    digest: str


@dataclass(frozen=True, slots=True)
class Context:
    """
    The context of a submission: its caller, its key, its trace.

    Attributes:
        key: The Idempotency-Key; "": none.
        traceparent, tracestate: Of the trace that the run belongs to; "": a new one begins.
    """

    name: str = ""
    key: str = ""
    traceparent: str = ""
    tracestate: str = ""

    def __post_init__(self) -> None:
        if len(self.key) > LONGEST_KEY or not self.key.isprintable():
            raise InvalidRequest(f"an Idempotency-Key has at most {LONGEST_KEY} characters, all of them printable")

    @property
    def trace(self) -> tuple[str, str]:
        """Return the trace that the run carries: the caller's if it is one."""
        return (
            (self.traceparent, self.tracestate[:512]) if is_traceparent(self.traceparent) else (new_traceparent(), "")
        )


def read(
    body: Mapping[str, Any],
    settings: ApiSettings,
    rules: Rules,
    known: KnownGraphs,
    *,
    keyed: bool,
    repeated: Sequence[Problem] = (),
) -> Order:
    """
    Read a body.

    Args:
        known: Graphs that need not be checked again.
        keyed: It comes with an Idempotency-Key, so that its digest is needed.
        repeated: The names that stood twice in its text.

    Raises:
        InvalidRequest: There is no graph in it.
        Invalid: It can't be run; with all that is wrong.
    """
    checked = _checked(body, settings, rules, known, repeated)
    if not checked.report.valid:
        raise _refused(checked.report)
    return Order(
        stored=checked.stored,
        inputs=body.get("inputs") or {},
        metadata=body.get("metadata") or {},
        labels=body.get("labels") or {},
        timeout_s=None if body.get("timeout") is None else durations.seconds(body["timeout"]),
        digest=_digest({name: body[name] for name in _FIELDS if body.get(name)}) if keyed else "",
    )


def examine(
    body: Mapping[str, Any],
    settings: ApiSettings,
    rules: Rules,
    offered: frozenset[str] | None = None,
    repeated: Sequence[Problem] = (),
) -> Report:
    """
    Tell all that is wrong with a body, with pointers from its root.

    Args:
        offered: Tools that workers have at present; None: unknown.
        repeated: The names that stood twice in its text.

    Raises:
        InvalidRequest: There is no graph in it.
    """
    _require_graph(body)
    beside = (*_beside(body), *repeated)
    if body.get("graph") is None:
        return Report(beside)
    report = _check(body, settings, rules, offered)
    return replace(report, errors=(*report.errors, *beside))


def _checked(
    body: Mapping[str, Any], settings: ApiSettings, rules: Rules, known: KnownGraphs, repeated: Sequence[Problem]
) -> Checked:
    """Check a body as `examine` does, its graph only if it is not known."""
    _require_graph(body)
    graph, inputs = body.get("graph"), body.get("inputs")
    if graph is None or repeated or _beside(body):
        return Checked(examine(body, settings, rules, repeated=repeated))
    names = tuple(sorted(inputs)) if inputs else ()
    return known.checked(graph, names, body.get("timeout") is not None, lambda: _check(body, settings, rules))


def _require_graph(body: Mapping[str, Any]) -> None:
    if body.get("graph") is None and body.get("definition") is None:
        raise InvalidRequest("there is no `graph` in the body")


def _check(
    body: Mapping[str, Any], settings: ApiSettings, rules: Rules, offered: frozenset[str] | None = None
) -> Report:
    limits = Limits(settings.max_graph_nodes, settings.max_graph_edges)
    inputs = body.get("inputs")
    return check(
        body["graph"],
        limits,
        offered_tools=offered,
        retired=rules.retired,
        config_rules=rules.config,
        inputs=inputs if isinstance(inputs, dict) else {} if inputs is None else None,
        bounded=body.get("timeout") is not None,
    ).under("/graph")


def context_of(headers: Mapping[str, str], name: str) -> Context:
    """Read what of HTTP's headers or gRPC's metadata is about a submission."""
    key, parent = headers.get("idempotency-key", ""), headers.get("traceparent", "")
    return Context(name, key, parent, headers.get("tracestate", ""))


def submission_of(order: Order, context: Context, settings: ApiSettings, graph_id: str, room: Room) -> runs.Submission:
    """Make a run of it."""
    traceparent, tracestate = context.trace
    return runs.Submission(
        order.stored.plan.graph,
        order.inputs,
        graph_id,
        idempotency_key=f"{context.name}:{context.key}" if context.key else "",
        body_digest=order.digest,
        submitted_by=context.name,
        metadata=order.metadata,
        labels=order.labels,
        traceparent=traceparent,
        tracestate=tracestate,
        timeout_s=order.timeout_s,
        default_timeout_s=settings.graph_timeout_s,
        queued_max=settings.run_queued_max,
        state_ttl_s=settings.state_ttl_s,
        max_active=settings.max_active_graphs,
        stored=order.stored,
        room=room,
    )


def _beside(body: Mapping[str, Any]) -> list[Problem]:
    """Look at all but the graph."""
    found = [
        Problem(f"/{name}", "not_yet_supported", why, "Leave it out.")
        for name, why in _LATER.items()
        if body.get(name) is not None
    ]
    found += [
        Problem(f"/{name}", "wrong_type", f"{name} has to be an object", "Write an object.")
        for name in ("inputs", "metadata", "labels")
        if not isinstance(body.get(name, {}), dict | None)
    ]
    found += [
        Problem(f"/{name}", "nested_too_deeply", f"{name} is nested more than {MOST_DEPTH} deep", "Flatten it.")
        for name in ("inputs", "metadata")
        if is_deeper(body.get(name), MOST_DEPTH)
    ]
    labels = body.get("labels")
    if isinstance(labels, dict) and not all(isinstance(value, str) for value in labels.values()):
        found.append(Problem("/labels", "wrong_type", "labels have to be texts", "Put each value in quotes."))
    timeout = body.get("timeout")
    if timeout is not None and durations.seconds(timeout) is None:
        fix = "Write seconds, or a text such as 90s or 5m; 0 for none."
        found.append(Problem("/timeout", "wrong_type", "timeout is no duration", fix))
    priority = body.get("priority")
    if priority not in (None, 4):
        fix = "Leave it out."
        found.append(Problem("/priority", "not_yet_supported", "all runs have the same priority yet", fix))
    return found


def _refused(report: Report) -> Invalid:
    problems = [problem.as_dict() for problem in report.errors]
    details: dict[str, Any] = {"errors": problems, "warnings": [one.as_dict() for one in report.warnings]}
    if report.circles:
        return Invalid("Graph contains cycles", details={**details, "cycle": list(report.circles[0])})
    first = report.errors[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(f"{first.pointer or '/'}: {first.message}{more}", details=details)


def _digest(value: Any) -> str:
    """Name a JSON value, whatever the order of its keys and however it was written: 1.0 is 1, as RFC 8785 has it."""
    raw = _sorted(value)
    if _PERHAPS_WHOLE.search(raw):
        with suppress(RecursionError):  # so deep that it is told apart as it stands
            raw = _sorted(_whole(value))
    return hashlib.sha256(raw).hexdigest()


def _sorted(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _whole(value: Any) -> Any:
    """Write numbers that are whole as integers, at any depth."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
