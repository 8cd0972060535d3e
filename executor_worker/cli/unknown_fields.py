"""Unknown fields of items: each is ignored by a worker, so a misspelt one is told with the name that was meant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from executor_worker.cli.display import one_line
from executor_worker.cli.parser import PROGRAM
from executor_worker.graph.fields import LISTED_NODE

SHOWN = 20  # warnings of one file

_FOR_PEOPLE = frozenset({"type", "name", "description", "label", "metadata"})
MODEL = frozenset(
    {"model", "prompt", "system", "system_prompt", "temperature", "max_tokens", "output_schema", "fallbacks"}
)
CONFIG = (
    frozenset({"tool_name", "tool_params", "parameters", "extract_params", "llm_config", "timeout", "queue", "retry"})
    | frozenset({"task", "tools", "max_iterations", "on_limit", "on_uncertain", "budget"})
    | MODEL
)
BUDGET = frozenset({"total_tokens", "usd"})
EXTRACT = frozenset({"from", "llm_config"})
FALLBACK = frozenset({"model", "provider"})
ITEM = frozenset(
    {"graph_id", "node_id", "node_type", "config", "inputs", "execution_id", "id", "deadline", "metadata"}
) | frozenset({"dependencies", "type", "timestamp"})
EVENT = ITEM | {"data", "source", "version"}
EVENT_DATA = ITEM | {"state", "node_state"}
NODE = ITEM | LISTED_NODE.fields.keys()
"""A graph's node, which `once` takes too."""

# What other programs call it, and no distance between words would find.
_MEANT = {
    **dict.fromkeys(("args", "arguments", "tool_args", "tool_input", "params"), "tool_params"),
    **dict.fromkeys(("max_steps", "max_turns", "recursion_limit"), "max_iterations"),
    **dict.fromkeys(("schema", "response_format", "response_schema", "json_schema"), "output_schema"),
    **dict.fromkeys(("instructions", "system_message"), "system"),
    "tool": "tool_name",
    "llm": "llm_config",
    "max_output_tokens": "max_tokens",
    "due": "deadline",
}


def unknown_fields(document: Any, *, run: bool = False) -> list[str]:
    """
    Tell which fields of an item no worker reads, a sentence each.

    Args:
        document: The item as parsed, in either envelope; not an object: nothing is said.
        run: Whether a graph's node and a bare config are items too, as for `once`.
    """
    if not isinstance(document, dict):
        return []
    if isinstance(document.get("data"), dict):
        body = document["data"]
        found = [*_unknown(document, EVENT, "", {}), *_unknown(body, EVENT_DATA, "data.", {"config": CONFIG})]
        return [*found, *_config(body.get("config"), "data.config.")]
    if run and "config" not in document and {"tool_name", "llm_config"} & document.keys():
        return list(_config(document, ""))
    known = NODE if run and "graph_id" not in document else ITEM
    return [*_unknown(document, known, "", {"config": CONFIG}), *_config(document.get("config"), "config.")]


def warn_of_unknown_fields(documents: Iterable[Any], *, run: bool = False, numbered: bool = True) -> list[str]:
    """Write the sentences to stderr, at most `SHOWN`; return them all."""
    said: list[str] = []
    for number, document in enumerate(documents, 1):
        said += [f"{f'item {number}: ' if numbered else ''}{one}" for one in unknown_fields(document, run=run)]
    for sentence in said[:SHOWN]:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    if len(said) > SHOWN:
        print(f"{PROGRAM}: And {len(said) - SHOWN} more unknown fields.", file=sys.stderr)
    return said


def parsed(raw: bytes) -> Any:
    """Parse *raw*, or None: what is wrong with it is told elsewhere."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _config(config: Any, within: str) -> Iterator[str]:
    if not isinstance(config, dict):
        return
    yield from _unknown(config, CONFIG, within, {"the item": ITEM - _FOR_PEOPLE})
    beside = {f"{within}".rstrip(".") or "config": CONFIG}
    yield from _model(config.get("llm_config"), f"{within}llm_config.", beside)
    yield from _within(config.get("budget"), BUDGET, f"{within}budget.")
    yield from _fallbacks(config.get("fallbacks"), f"{within}fallbacks")
    extract = config.get("extract_params")
    yield from _within(extract, EXTRACT, f"{within}extract_params.")
    if isinstance(extract, dict):
        yield from _model(extract.get("llm_config"), f"{within}extract_params.llm_config.", beside)


def _model(settings: Any, within: str, beside: Mapping[str, Iterable[str]]) -> Iterator[str]:
    if isinstance(settings, dict):
        yield from _unknown(settings, MODEL, within, beside)
        yield from _fallbacks(settings.get("fallbacks"), f"{within}fallbacks")


def _fallbacks(given: Any, where: str) -> Iterator[str]:
    for index, one in enumerate(given if isinstance(given, list) else ()):
        yield from _within(one, FALLBACK, f"{where}[{index}].")


def _within(value: Any, known: frozenset[str], within: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _unknown(value, known, within, {})


def _unknown(
    value: dict[str, Any], known: frozenset[str], within: str, elsewhere: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """
    Args:
        elsewhere: Other places, and the fields that are read there.
    """
    for name in value:
        if name not in known | _FOR_PEOPLE and not name.startswith(("_", "x-", "$")):
            yield f"{one_line(within + name, 120)} is not a field and is ignored{_hint(name, known, elsewhere)}"


def _hint(name: str, known: frozenset[str], elsewhere: Mapping[str, Iterable[str]]) -> str:
    for place, names in elsewhere.items():
        if name in names:
            return f"; did you mean it to stand in {place}?"
    every = dict.fromkeys(sorted(known), "")
    for place, names in elsewhere.items():
        every |= {word: f" in {place}" for word in names if word not in every}
    plain = name.lower().replace("-", "_").strip("_ ")
    meant = _MEANT.get(plain, "")
    near = [meant] if meant in every else get_close_matches(plain, every, n=1)
    if near:
        return f"; did you mean {near[0]}{every[near[0]]}?"
    return "."
