"""Templates: what is put in is what the names stand for, once; or the author is told which name is unknown."""

from __future__ import annotations

from typing import Any

from benchmarks.fuzz.material import Material
from executor_worker.errors import TemplateError
from executor_worker.nodes.templates import Scope, as_json

LITERALS = ("", " ", "a", "{", "}", "{ {", "x}y", "é", "\n", "\x00", "{n}", "\ud800", "}} ", "%s")
NAMES = ("a", "n", "a b", "é", "a-b", "0", "deep")
PIECES = (
    "{{",
    "}}",
    "{",
    "}",
    "{{{",
    "}}}",
    "a",
    "n",
    ".",
    "..",
    " ",
    "inputs",
    "nodes",
    "inputs.a",
    "n.0",
    "\x00",
    "{{a}}",
)


def case(material: Material) -> str:
    """Half of them made of names that are known, half of whatever looks like a template."""
    random = material.random
    inputs = {name: material.value(2) for name in random.sample(NAMES, 3)}
    outputs = {name: material.value(2) for name in random.sample(NAMES, 2)}
    scope = Scope(inputs, outputs, {"late": "running"})
    if material.chance(0.5):
        return _known(material, scope, inputs, outputs)
    text = "".join(random.choice(PIECES) for _ in range(random.randint(1, 12)))
    where = random.choice((text, [text], {"a": {"b": text}}, {text: 1}, material.value()))
    try:
        rendered = scope.text(text, "prompt")
        scope.value(where, "params")
    except TemplateError:
        return "template_error"
    if "}}" not in text or "{{" not in text:
        assert rendered == text, "what is no placeholder stays"
    return "rendered"


def _known(material: Material, scope: Scope, inputs: dict[str, Any], outputs: dict[str, Any]) -> str:
    random = material.random
    places = [(f"inputs.{name}", value) for name, value in inputs.items()]
    places += [(f"nodes.{name}", value) for name, value in outputs.items()] + list(inputs.items())
    template = expected = ""
    try:
        for _ in range(random.randint(1, 5)):
            literal = random.choice([one for one in LITERALS if one != "{"])
            name, value = random.choice(places)
            template += literal + random.choice(("{{", "{{ ")) + name + random.choice(("}}", " }}", "\n}}"))
            expected += literal + (value if isinstance(value, str) else as_json(value))
        rendered = scope.text(template, "prompt")
    except TemplateError:
        # How deep is too deep depends on how much of the stack is in use already.
        assert any(deep(value) for _, value in places), "what can be written is rendered"
        return "too deep"
    assert rendered == expected, (template, expected)
    alone, value = random.choice(places)
    whole = scope.value({"x": ["{{" + alone + "}}"]}, "params")["x"][0]
    assert whole is value or whole == value, "one placeholder alone keeps its type"
    return "known"


def deep(value: Any) -> bool:
    """Tell whether a value has more levels than everybody can take."""
    level, levels = [value], 0
    while level and levels <= 150:
        inner = [one for one in level if isinstance(one, dict | list)]
        level = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
        levels += 1
    return levels > 150
