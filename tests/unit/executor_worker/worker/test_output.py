"""A run's own output, made of what its nodes have made."""

from __future__ import annotations

import time
from typing import Any

from executor_worker.graph.judging import Seen
from executor_worker.graph.scopes import NodeEnd
from executor_worker.json_text import dumps
from executor_worker.nodes.templates import MAX_CHARS
from executor_worker.worker.output import rendered


def seen(**outputs: Any) -> Seen:
    return Seen("g", {"q": 1}, {name: NodeEnd("completed", output) for name, output in outputs.items()})


def test_output_of_many_parts_that_can_not_be_made_takes_no_long_time() -> None:
    """The scope of all is made once: it holds all nodes, and is looked through."""
    many = {f"n{number}": {"a": 1} for number in range(3000)}
    template = {name: "{{" + name + (".a}}" if number % 2 else ".no}}") for number, name in enumerate(many)}
    started = time.process_time()
    output, wrong = rendered(template, seen(**many))
    assert time.process_time() - started < 5
    assert list(output.values()) == [None, 1] * 1500 and len(wrong) == 20


def test_parts_of_an_output_are_bounded_in_all() -> None:
    """Those that there is room for are made, each as often as it is named; the rest is null, and told."""
    text = "x" * 1_000_000
    for part in ("{{a}}", "<{{a}}>"):
        output, wrong = rendered([part] * 100, seen(a=text))
        assert MAX_CHARS * 0.9 < len(dumps(output)) < MAX_CHARS * 1.1
        assert output[60] is not None and output[70] is None and len(wrong) == 20
        assert wrong["output[70]"] == f"renders to more than {MAX_CHARS:,} characters"


def test_parts_that_were_tried_in_vain_take_no_room_from_others() -> None:
    """The whole is tried, then each of its parts."""
    text = "x" * (MAX_CHARS * 2 // 3)
    template: Any = {"good": "<{{a}}>", "in": {"deeper": {"bad": "{{a.nothing}}"}}}
    output, wrong = rendered(template, seen(a=text))
    assert output == {"good": f"<{text}>", "in": {"deeper": {"bad": None}}}
    assert list(wrong) == ["output.in.deeper.bad"]
