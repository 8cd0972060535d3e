"""The schema of a function, from its hints and its docstring."""

from __future__ import annotations

import dataclasses
import enum
import socket
import sys
import typing
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypeAliasType

from executor_worker.tools.base import ToolContext
from executor_worker.tools.functions.signature import Signature, read_docstring


class Colour(enum.Enum):
    RED = "red"


class Point(TypedDict):
    x: int
    label: NotRequired[str]


class Filter(BaseModel):
    field: str
    least: int = 0


@dataclasses.dataclass
class Page:
    size: int = 10


def search(
    query: str,
    limit: Annotated[int, Field(ge=1, le=50)] = 10,
    *,
    order: Literal["up", "down"] = "up",
    colour: Colour | None = None,
    near: Optional[Point] = None,  # noqa: UP045 - the older spelling is understood too
    path: list[Point] | None = None,
    filters: list[Filter] = [],  # noqa: B006 - what authors write
    page: Page = Page(),  # noqa: B008 - likewise
    schema: Any = None,
) -> list[str]:
    """
    Search the archive.

    It is large.

    Args:
        query: Words
            to look for.
        limit (int): At most so many.
        unknown: Not there.

    Returns:
        Titles.
    """
    return [query]


def test_a_schema_says_what_hints_and_docstring_say() -> None:
    """Types, limits, choices, defaults, what is required, and what each parameter means."""
    signature = Signature.of(search)
    schema = signature.schema
    Draft202012Validator.check_schema(schema)
    properties = schema["properties"]
    assert signature.description == "Search the archive.\n\nIt is large."
    assert schema["required"] == ["query"]
    assert schema["additionalProperties"] is False
    assert properties["query"] == {"type": "string", "description": "Words to look for."}
    limit = {"type": "integer", "minimum": 1, "maximum": 50, "default": 10, "description": "At most so many."}
    assert properties["limit"] == limit
    assert properties["order"] == {"type": "string", "enum": ["up", "down"], "default": "up"}
    assert schema["$defs"]["Point"]["required"] == ["x"]
    assert properties["page"]["default"] == {"size": 10}
    assert "title" not in schema


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"query": "x", "near": {"x": 1}, "path": [{"x": 1, "label": "a"}], "filters": [{"field": "f"}]}, None),
        ({"query": "x", "limit": 51}, "maximum"),
        ({"limit": 5}, "required"),
        ({"query": "x", "colour": "blue"}, "anyOf"),
        ({"query": "x", "more": 1}, "additionalProperties"),
    ],
)
def test_a_schema_accepts_what_the_function_does(arguments: dict[str, Any], problem: str | None) -> None:
    """A JSON schema validator and the conversion agree."""
    signature = Signature.of(search)
    errors = [error.validator for error in Draft202012Validator(signature.schema).iter_errors(arguments)]
    assert errors == ([] if problem is None else [problem])
    if problem is None:
        _, named = signature.arranged(signature.validate(arguments))
        assert named["filters"] == [Filter(field="f")]
        assert "limit" not in named
    else:
        with pytest.raises(ValidationError):
            signature.validate(arguments)


def test_all_kinds_of_parameters_can_be_passed() -> None:
    """Positional only, `*args`, keyword only and `**kwargs`."""

    def mixed(a: int, /, b: int, *rest: float, c: str = "c", **more: Any) -> Any:
        return None

    signature = Signature.of(mixed)
    assert signature.schema["additionalProperties"] is True
    assert set(signature.schema["properties"]) == {"a", "b", "rest", "c"}
    assert signature.schema["required"] == ["a", "b"]
    positional, named = signature.arranged(signature.validate({"a": "1", "b": 2, "c": "x", "d": None}))
    assert (positional, named) == ([1, 2], {"c": "x", "d": None})


def test_spread_arguments_follow_the_positional_ones() -> None:
    """What stands before `*args` is passed by position, defaults and the context included."""

    def spread(a: int, context: ToolContext, b: int = 9, *rest: int, c: int = 8) -> list[Any]:
        return [a, context, b, *rest, c]

    signature = Signature.of(spread)
    for arguments, result in (({"a": 1, "rest": [2]}, [1, "it", 9, 2, 8]), ({"a": 1, "c": 3}, [1, "it", 9, 3])):
        positional, named = signature.arranged(signature.validate(arguments), "it")
        assert spread(*positional, **named) == result


@pytest.mark.parametrize("named", list(dict.fromkeys([TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)])))
def test_a_named_type_is_what_it_stands_for(named: Any) -> None:
    """As `type Kelvin = float` makes one: the context by another name is filled in all the same."""

    def heat(to: float, call: ToolContext, maybe: ToolContext | None, also: ToolContext | None = None) -> None: ...

    call = named("Call", ToolContext)
    heat.__annotations__ = {
        "to": named("Kelvin", Annotated[float, Field(ge=0)]),
        "call": call,
        "maybe": call | None,
        "also": named("MaybeCall", call | None),
    }
    signature = Signature.of(heat)
    assert signature.context == ("call", "maybe", "also")
    assert list(signature.schema["properties"]) == ["to"]
    assert not Draft202012Validator(signature.schema).is_valid({"to": -1})
    assert signature.arranged(signature.validate({"to": "5"}), "it")[1] == {
        "to": 5.0,
        "call": "it",
        "maybe": "it",
        "also": "it",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=5),
    max_leaves=8,
)


@given(JSON)
@settings(deadline=None, max_examples=200)
def test_what_surely_fits_fits_the_schema(arguments: Any) -> None:
    """The quick look never says yes where a JSON schema validator finds something wrong."""

    def plain(a: int, b: float | None = None, c: str = "", d: dict[str, int] | None = None, e: list[Any] = []) -> None:  # noqa: B006
        """A function of plain types."""

    signature = Signature.of(plain)
    if signature.surely_fits(arguments):
        assert list(Draft202012Validator(signature.schema).iter_errors(arguments)) == []


def test_the_quick_look_knows_plain_types_alone() -> None:
    """It says yes to what most calls bring; where hints say more than a type it leaves the answer to the schema."""

    def plain(text: str, times: int = 1, ratio: float = 1.0, more: dict[str, Any] | None = None) -> None:
        """A function of plain types."""

    def limited(times: Annotated[int, Field(ge=1)]) -> None:
        """A function with a limit."""

    sure = Signature.of(plain).surely_fits
    assert sure({"text": "x"}) and sure({"text": "x", "times": 10**30, "ratio": 1, "more": {"a": [1]}})
    assert not any(sure({"text": "x", "times": wrong}) for wrong in ("1", 1.0, True, None))
    assert not sure({}) and not sure({"text": "x", "other": 1}) and not sure([])
    assert not Signature.of(limited).surely_fits({"times": 2})


def test_a_function_without_hints_takes_anything() -> None:
    """It has names and defaults all the same."""

    def plain(a, b=1):  # type: ignore[no-untyped-def]
        return a

    schema = Signature.of(plain).schema
    assert schema["properties"] == {"a": {}, "b": {"default": 1}}
    assert Signature.of(lambda: None).schema == {"type": "object", "properties": {}, "additionalProperties": False}


def takes_socket(connection: socket.socket) -> None: ...
def takes_unknown(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point of it


NO_SCHEMA = [takes_socket, takes_unknown]
if sys.version_info >= (3, 12):  # whose `type` statements are evaluated when somebody asks what they stand for
    _written: dict[str, Any] = {}
    exec("type Loop = Loop\ndef takes_loop(value: Loop): ...", _written)
    exec("type Lost = Nowhere\ndef takes_lost(value: Lost): ...", _written)
    NO_SCHEMA += [_written["takes_loop"], _written["takes_lost"]]


@pytest.mark.parametrize("function", NO_SCHEMA)
def test_hints_that_have_no_schema_are_refused(function: Any) -> None:
    """The author hears which."""
    with pytest.raises(TypeError, match=r"socket|Nowhere|Loop"):
        Signature.of(function)


@pytest.mark.parametrize(
    ("text", "description", "about"),
    [
        ("", "", {}),
        ("Do it.", "Do it.", {}),
        ("Do it.\n\n:param x: The x.\n:param int y: The y.\n:returns: z", "Do it.", {"x": "The x.", "y": "The y."}),
        (
            "Do it.\n\nArgs:\n    x: See: there.\n        More: of it.\nRaises:\n    A: b",
            "Do it.",
            {"x": "See: there. More: of it."},
        ),
        (
            "Do it.\n\nParameters\n----------\nx : str\n    The x,\n    all of it.\n",
            "Do it.",
            {"x": "The x, all of it."},
        ),
        (
            "Do it.\n\nArgs:\n    *rest (int): The rest.\n    **more: Others.",
            "Do it.",
            {"rest": "The rest.", "more": "Others."},
        ),
    ],
)
def test_docstrings_are_read(text: str, description: str, about: dict[str, str]) -> None:
    """Google's and NumPy's sections and Sphinx' fields."""
    found_description, found = read_docstring(text)
    assert found == about
    assert found_description.startswith(description)
