"""A function's signature as a JSON schema, and a model's arguments as what the function wants."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import griffe
import typing_extensions
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from executor_worker.errors import ToolFailed
from executor_worker.tools.base import ToolContext, unsure

_Kind = inspect._ParameterKind
_PLAIN = (str, int, float, bool, type(None), list, dict)
_ALIASES = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))
_OF_PLAIN = (list, dict, Union, types.UnionType)
_TypedDict: Any = typing_extensions.TypedDict
_BackportedMeta = type(_TypedDict("_Backported", {}))


class _Plain(GenerateJsonSchema):
    """Without the titles, which tell a model nothing that the names do not."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Signature:
    """
    The signature of a function: what can be passed to it.

    Attributes:
        schema: For a model; only what it has to fill in.
        context: The parameters that take a `ToolContext`, which the caller fills in.
        validate: Converts arguments by the hints, or raises pydantic's ValidationError.
        surely_fits: Tells at once whether arguments fit the schema; it never says so of some that don't.
        all_by_name: What `validate` returns can be passed as it is: there is nothing to be arranged.
    """

    description: str
    schema: dict[str, Any]
    context: tuple[str, ...]
    validate: Callable[[dict[str, Any]], dict[str, Any]]
    surely_fits: Callable[[Any], bool]
    all_by_name: bool
    _positional: tuple[inspect.Parameter, ...]
    _spread: str | None

    @classmethod
    @functools.cache  # a worker that is forked anew finds here what its parent has read
    def of(cls, function: Callable[..., Any]) -> Signature:
        """
        Read *function*'s type hints and docstring.

        Raises:
            TypeError: A hint can't be resolved or has no JSON schema.
        """
        try:
            parameters = inspect.signature(function).parameters
            hints = typing.get_type_hints(function, include_extras=True)
            context = tuple(name for name in parameters if _is_context(hints.get(name)))
        except Exception as error:  # whatever evaluating foreign annotations raises
            raise TypeError(f"its type hints can't be read: {error}") from error
        description, about = read_docstring(inspect.getdoc(function) or "")
        shown = {name: parameter for name, parameter in parameters.items() if name not in context}
        adapter = _adapter_of(function.__name__, shown, hints, about)
        positional = _by_position(list(parameters.values()))
        spread = next((name for name, p in shown.items() if p.kind is _Kind.VAR_POSITIONAL), None)
        return cls(
            description=description,
            schema=_schema_of(adapter, shown, hints),
            context=context,
            validate=adapter.validator.validate_python,
            surely_fits=_strictly(adapter) if all(_is_plain(hints.get(name, Any)) for name in shown) else unsure,
            all_by_name=not (context or positional or spread),
            _positional=positional,
            _spread=spread,
        )

    def arranged(self, values: dict[str, Any], context: Any = None) -> tuple[list[Any], dict[str, Any]]:
        """
        Arrange what `validate` has returned, and add *context* if it is asked for.

        Returns:
            Positional and keyword arguments for the call.
        """
        values |= dict.fromkeys(self.context, context)
        spread = values.pop(self._spread, []) if self._spread is not None else []
        positional = [values.pop(parameter.name, parameter.default) for parameter in self._positional]
        return [*positional, *spread], values


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring (Google's, NumPy's or Sphinx' form) into its description and what it says of each parameter."""
    docstring = griffe.Docstring(text)
    style, _ = griffe.infer_docstring_style(docstring)
    sections = griffe.parse(docstring, style or griffe.Parser.google, warnings=False)
    description = [part.value for part in sections if isinstance(part, griffe.DocstringSectionText)]
    listed = [part.value for part in sections if isinstance(part, griffe.DocstringSectionParameters)]
    about = {one.name.lstrip("*"): " ".join(one.description.split()) for some in listed for one in some}
    return "\n\n".join(description).strip(), about


def _by_position(parameters: list[inspect.Parameter]) -> tuple[inspect.Parameter, ...]:
    """Those that must be passed by position: by their kind, or because `*args` follows them."""
    kinds = {_Kind.POSITIONAL_ONLY}
    if any(parameter.kind is _Kind.VAR_POSITIONAL for parameter in parameters):
        kinds.add(_Kind.POSITIONAL_OR_KEYWORD)
    return tuple(parameter for parameter in parameters if parameter.kind in kinds)


def _adapter_of(
    name: str, parameters: dict[str, inspect.Parameter], hints: dict[str, Any], about: dict[str, str]
) -> TypeAdapter[dict[str, Any]]:
    # A TypedDict and not a model: any parameter name is allowed in it, `schema`, `json` and `copy` too.
    fields: dict[str, Any] = {}
    extra = False
    for parameter in parameters.values():
        if parameter.kind is _Kind.VAR_KEYWORD:
            extra = True
            continue
        hint = _portable(hints.get(parameter.name, Any))
        if parameter.kind is _Kind.VAR_POSITIONAL:
            hint = list[hint]  # type: ignore[valid-type]
        if parameter.name in about:
            hint = Annotated[hint, Field(description=about[parameter.name])]
        required = parameter.default is parameter.empty and parameter.kind is not _Kind.VAR_POSITIONAL
        fields[parameter.name] = hint if required else typing_extensions.NotRequired[hint]
    shape = _TypedDict(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="allow" if extra else "forbid", arbitrary_types_allowed=False)
    try:
        return TypeAdapter(shape)
    except Exception as error:  # pydantic's own errors, and whatever a foreign type's hooks raise
        raise TypeError(f"a parameter's type has no JSON form: {error}") from error


def _schema_of(
    adapter: TypeAdapter[dict[str, Any]], parameters: dict[str, inspect.Parameter], hints: dict[str, Any]
) -> dict[str, Any]:
    try:
        schema = adapter.json_schema(schema_generator=_Plain)
    except Exception as error:
        raise TypeError(f"a parameter's type has no JSON schema: {error}") from error
    schema.pop("title", None)
    schema.pop("description", None)
    properties = schema.setdefault("properties", {})
    for name, parameter in parameters.items():
        if name in properties and parameter.default is not parameter.empty:
            properties[name] |= _default(_portable(hints.get(name, Any)), parameter.default)
    return schema


def _default(hint: Any, value: Any) -> dict[str, Any]:
    """The `default` of a property; nothing if it has no JSON form."""
    try:
        return {"default": TypeAdapter(hint).dump_python(value, mode="json", warnings=False)}
    except Exception:  # noqa: BLE001 - a default no serializer knows
        return {}


def _strictly(adapter: TypeAdapter[dict[str, Any]]) -> Callable[[Any], bool]:
    """Check without converting anything: many times faster than to walk through the schema."""
    return functools.partial(adapter.validator.isinstance_python, strict=True)


def _is_plain(hint: Any) -> bool:
    """Tell whether a value that is strictly of the type *hint* fits its JSON schema: nothing converts it before."""
    if hint in _PLAIN or hint is Any:
        return True
    return get_origin(hint) in _OF_PLAIN and all(map(_is_plain, get_args(hint)))


def _is_context(hint: Any) -> bool:
    return any(_without_aliases(one) is ToolContext for one in (hint, *get_args(_without_aliases(hint))))


def _without_aliases(hint: Any) -> Any:
    """Resolve the names that `type` statements give; one that stands for itself is left as it is."""
    met: list[Any] = []
    while isinstance(hint, _ALIASES) and not any(hint is one for one in met):
        met.append(hint)
        hint = hint.__value__
    return hint


def _portable(hint: Any) -> Any:
    """Replace `typing.TypedDict` by its backport inside *hint*: before Python 3.12 pydantic takes no other."""
    if typing.is_typeddict(hint) and not isinstance(hint, _BackportedMeta):
        fields = typing.get_type_hints(hint, include_extras=True)
        shape = {name: _portable(_bare(field)) for name, field in fields.items()}
        for name, field in fields.items():
            # Its own record of optional keys misses `NotRequired` where annotations are postponed.
            if get_origin(field) is typing.NotRequired or (
                name in hint.__optional_keys__ and get_origin(field) is not typing.Required
            ):
                shape[name] = typing_extensions.NotRequired[shape[name]]
        replaced = _TypedDict(hint.__name__, shape)
        replaced.__doc__ = hint.__doc__
        return replaced
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None or not arguments or origin is typing.Literal:
        return hint
    if origin is Annotated:
        return Annotated[(_portable(arguments[0]), *arguments[1:])]
    changed = tuple(argument if isinstance(argument, list) else _portable(argument) for argument in arguments)
    if changed == arguments:
        return hint
    generic: Any = Union if origin is types.UnionType else origin
    return generic[changed]


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (typing.Required, typing.NotRequired) else hint


def unfitting(error: ValidationError) -> ToolFailed:
    """Say what was wrong with arguments."""
    return ToolFailed(f"parameters that do not fit: {_sentence(error)}")


def _sentence(error: ValidationError) -> str:
    """The first few problems, without the values: those can be long or secret."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems[:3]]
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    return "; ".join(shown) + more
