"""The published JSON Schema of a graph, made of the shapes that reading checks."""

from __future__ import annotations

from typing import Any

from executor_worker.graph import fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Answer the schema; what no schema can say (cycles, conditions, names) is for `validation.check`."""
    return {"$schema": DIALECT, "title": "Graph", **fields.GRAPH.schema()}
