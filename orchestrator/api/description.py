"""The API's own description: OpenAPI 3.1 from `openapi.yaml`, as JSON and as a page that needs nothing from outside."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import yaml

from executor_worker.graph.schema import schema
from executor_worker.json_text import dumps
from executor_worker.version import program_version

_STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article { border-top: 1px solid #8886; padding: .5rem 0 }
code, pre { font: .9em ui-monospace, monospace }
pre { overflow: auto; padding: .5rem; background: #8882 }
h3 code { font-size: 1em }
.method { display: inline-block; min-width: 4.5em; font-weight: bold }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 }"""


@cache
def document() -> dict[str, Any]:
    """Read the description."""
    text = files("orchestrator.api").joinpath("openapi.yaml").read_text("utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read: dict[str, Any] = yaml.load(text, loader)
    read["info"]["version"] = program_version()
    return read


@cache
def as_json() -> bytes:
    return dumps(document())


@cache
def graph_schema() -> bytes:
    """Write the schema of graphs."""
    return dumps(schema())


@cache
def as_page() -> str:
    """Write the description for people."""
    about = document()["info"]
    paths = document()["paths"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(about['title'])}</title>",
        f"<style>{_STYLE}</style><h1>{escape(about['title'])} {escape(about['version'])}</h1>",
        f"<p>{escape(about['description'])}</p><p>For programs: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for path, item in paths.items():
        for method, operation in item.items():
            if method != "parameters":
                parts.append(_operation(path, method, operation, item.get("parameters", [])))
    return "\n".join(parts) + "</html>\n"


def _operation(path: str, method: str, operation: dict[str, Any], shared: list[dict[str, Any]]) -> str:
    parameters = [_resolved(one) for one in (*shared, *operation.get("parameters", []))]
    answers = [(status, _resolved(one)) for status, one in operation["responses"].items()]
    head = f"<span class=method>{method.upper()}</span><code>{escape(path)}</code>"
    told = f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
    rows = [(f"<code>{escape(one['name'])}</code> ({one['in']})", one.get("description", "")) for one in parameters]
    rows += [(f"<b>{status}</b>", one["description"]) for status, one in answers]
    table = "".join(f"<tr><td>{name}<td>{escape(text)}" for name, text in rows)
    return f"<article><h3>{head}</h3>{told}<table>{table}</table></article>"


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a `$ref` within the document."""
    found: Any = part
    while "$ref" in found:
        where = found["$ref"].removeprefix("#/").split("/")
        found = document()
        for key in where:
            found = found[key]
    resolved: dict[str, Any] = found
    return resolved
