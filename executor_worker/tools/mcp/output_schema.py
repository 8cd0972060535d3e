"""Output schemas: does a tool's result follow the schema that its server has listed for it?"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from mcp_types import CallToolResult

_LONGEST = 200  # characters


class OutputSchema:
    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def problem(self, result: CallToolResult) -> str:
        """Say what is wrong with *result*, without quoting it; empty: nothing, or the schema itself can't be used."""
        if result.is_error:
            return ""
        if result.structured_content is None and "structured_content" not in result.model_fields_set:
            return "there is no structured content"
        if self._validator is None:
            return ""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(self._validator.iter_errors(result.structured_content))
        except (Unresolvable, RecursionError):
            return ""
        if error is None:
            return ""
        where = ".".join(str(part) for part in error.absolute_path) or "the whole"
        return f"{where} is not as `{error.validator}` {error.validator_value!r} wants it"[:_LONGEST]

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator  # as late as the first result that there is a schema for
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        kind = validator_for(self._schema, default=Draft202012Validator)
        try:
            kind.check_schema(self._schema)
        except SchemaError:
            return None
        return kind(self._schema, registry=Registry())  # nothing is fetched from anywhere
