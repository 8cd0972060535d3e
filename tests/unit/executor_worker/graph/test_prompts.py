"""Prompts of routers: the original's blocks and helpers, without its escapes and traps."""

from __future__ import annotations

import contextlib
from time import process_time
from typing import Any

import pytest

from executor_worker.errors import TemplateError
from executor_worker.graph import prompts
from executor_worker.nodes.templates import Scope

INPUTS: dict[str, Any] = {
    "name": "Ann & Bob",
    "tags": ["a", "b"],
    "score": 5,
    "ratio": 5.0,
    "items": [{"n": 1}, {"n": 2, "tags": ["x"]}],
    "len": 7,
    "my key": "spaced",
    "point": {"x": 1, "y": 2},
    "title": "T",
    "empty": [],
    "no": None,
}
STATE = {**INPUTS, "inputs": INPUTS, "graph_id": "g-1", "status": "running"}


def rendered(template: str, **more: Any) -> str:
    return prompts.render(template, Scope({**INPUTS, **more}, {"a": {"text": "hi"}}), STATE)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{name}} {{{name}}} {{&name}}", "Ann & Bob Ann & Bob Ann & Bob"),
        ("{{state.name}} {{state.inputs.score}} {{state.graph_id}}", "Ann & Bob 5 g-1"),
        ("{{nodes.a.text}} {{a.text}} {{inputs.score}} {{my key}}", "hi hi 5 spaced"),
        ("{{point}} {{tags}} {{point.x}} {{tags.1}}", '{"x":1,"y":2} ["a","b"] 1 b'),
        ("{{len}} but {{len tags}}", "7 but 2"),
        ("{{uppercase name}}|{{lowercase name}}|{{trim '  x '}}", "ANN & BOB|ann & bob|x"),
        ('{{default nope "free"}} {{default no "none"}} {{default name "x"}}', "free none Ann & Bob"),
        ("{{eq score 5}} {{eq score 5.0}} {{eq ratio 5}} {{eq score '5'}} {{ne score 6}}", "true true true false true"),
        ("{{gt score 4}} {{gt score 5.0}} {{lt score 6}} {{gt nope 1}} {{gt name 1}}", "true false true false false"),
        ("{{eq point point}} {{eq tags point}}", "true false"),
        ("{{contains name 'Bob'}} {{contains tags 'b'}} {{contains name 'zz'}}", "true true false"),
        ("{{join tags ', '}}", "a, b"),
        ("{{len name}} {{len point}} {{len nope}}", "9 2 0"),
        ("{{lookup tags 1}} {{lookup point 'x'}} {{log name}}", "b 1 "),
        ("{{#if (gt score 4)}}many{{else}}few{{/if}}", "many"),
        ("{{#if nope}}1{{else if empty}}2{{else if score}}3{{else}}4{{/if}}", "3"),
        ("{{#if no}}1{{else}}2{{/if}}{{#unless no}}3{{/unless}}{{#unless score}}4{{else}}5{{/unless}}", "235"),
        ("{{#eq score 5}}five{{else}}other{{/eq}}", "five"),
        (
            "{{#each items}}{{@index}}:{{this.n}}{{n}}/{{../title}}{{title}}{{#unless @last}}, {{/unless}}{{/each}}",
            "0:11/TT, 1:22/TT",
        ),
        ("{{#each items}}{{#each tags}}{{this}}{{/each}};{{/each}}", "ab;x;"),
        ("{{#each tags as |tag number|}}{{number}}={{tag}} {{/each}}", "0=a 1=b "),
        ("{{#each point}}{{@key}}={{this}}{{#if @first}}&{{/if}}{{/each}}", "x=1&y=2"),
        ("{{#each empty}}x{{else}}none{{/each}}{{#each nope}}x{{/each}}", "none"),
        ("{{#with point}}{{x}}-{{y}}-{{@root.title}}{{/with}}", "1-2-T"),
        ("{{#with nope}}x{{else}}without{{/with}}", "without"),
        ("a {{~name~}} b", "aAnn & Bobb"),
        ("{{! said }}{{!-- {{name}} --}}ok", "ok"),
        ("{ {{ } {{name", "{ {{ } {{name"),
        ("no template", "no template"),
    ],
)
def test_a_prompt_is_rendered(template: str, text: str) -> None:
    assert rendered(template) == text


def test_what_was_put_in_is_not_rendered_again() -> None:
    assert rendered("{{name}}", name="{{score}}") == "{{score}}"


def test_an_input_called_state_goes_before_the_state() -> None:
    assert rendered("{{state.name}}", state={"name": "mine"}) == "mine"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{nope}}", "unknown name {{nope}}"),
        ("{{#each items}}{{this.zz}}{{/each}}", "unknown name"),
        ("{{#if name}}", "not closed"),
        ("{{/if}}", "closes nothing"),
        ("{{else}}", "closes nothing"),
        ("{{> part}}", "no partials"),
        ("{{#loop tags}}{{/loop}}", "there is no block 'loop'"),
        ("{{eq score}}", "eq takes 2 arguments, found 1"),
        ("{{eq score 1 2}}", "eq takes 2 arguments, found 3"),
        ("{{#if (gt score)}}{{/if}}", "gt takes 2"),
        ("{{#if (nope score)}}{{/if}}", "there is no helper 'nope'"),
        ("{{#if}}{{/if}}", "an argument is missing"),
        ("{{#if a b}}{{/if}}", "unexpected 'b'"),
        ("{{#if x}}" * 40 + "{{/if}}" * 40, "nested more than"),
        ("{{len " + "(len " * 40 + "x" + ")" * 40 + "}}", "nested more than"),
    ],
)
def test_a_prompt_that_cannot_be_rendered_says_why(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        rendered(template)
    assert message in str(caught.value)


def test_loops_in_loops_end_soon() -> None:
    began = process_time()
    with pytest.raises(TemplateError, match=r"steps|characters"):
        rendered("{{#each big}}{{#each ../big}}{{#each ../../big}}x{{/each}}{{/each}}{{/each}}", big=[0] * 10_000)
    assert process_time() - began < 5


@pytest.mark.parametrize(
    "text", ["{{" * 50_000, "{{#if x}}" * 20_000, "{{a " * 20_000 + "}}", "}}" * 50_000, "{{'" * 20_000, "{{!" * 20_000]
)
def test_a_hostile_prompt_is_answered_at_once(text: str) -> None:
    began = process_time()
    with contextlib.suppress(TemplateError):
        prompts.parsed(text)
    assert process_time() - began < 6
