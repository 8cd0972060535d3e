"""`graph validate` and `graph draw`, as a shell sees them; the examples are good graphs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from executor_worker.cli.graph import checking, reading
from tests.kit.commands import run_program
from tests.kit.paths import ROOT

EXAMPLES = sorted((ROOT / "examples" / "graphs").iterdir())


def graph(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program("graph", *arguments, env={})


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.name for file in EXAMPLES])
def test_an_example_is_a_good_graph_with_inputs(file: Path) -> None:
    document = reading.read_value(str(file))
    report = checking.checked(document)
    assert (report.errors, report.warnings) == ((), ())
    assert document["inputs"]


def test_the_six_examples_are_there() -> None:
    assert [file.stem for file in EXAMPLES] == ["agent", "fan_out", "research", "retry", "review", "triage"]


def test_validate_tells_all_problems_as_json_in_a_pipe_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("graph:\n  nodes: {a: {type: tool}}\n  edges: [{from: a, to: b, on: failure}]\ninputs: {}\n")
    done = graph("validate", str(file))
    report = json.loads(done.stdout)
    assert done.returncode == 1 and not report["valid"]
    assert {(one["pointer"], one["code"]) for one in report["errors"]} == {
        ("/graph/edges/0/to", "unknown_node"),
        ("/graph/nodes/a", "invalid_node"),
    }


def test_validate_of_a_good_graph_succeeds_with_its_order() -> None:
    done = graph("validate", str(ROOT / "examples" / "graphs" / "research.yaml"))
    assert done.returncode == 0
    assert json.loads(done.stdout)["order"] == [["plan"], ["for", "against"], ["report"]]


@pytest.mark.parametrize(("name", "status"), [("missing.yaml", 2), ("broken.yaml", 1)])
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    done = graph("validate", str(tmp_path / name))
    assert done.returncode == status
    assert name in done.stderr


def test_draw_shows_the_graph_as_text_and_writes_it_as_svg(tmp_path: Path) -> None:
    example = str(ROOT / "examples" / "graphs" / "review.yaml")
    assert "├─╮" in graph("draw", example).stdout
    assert graph("draw", example, "--svg", str(tmp_path / "review.svg")).returncode == 0
    assert ElementTree.parse(tmp_path / "review.svg").getroot().tag.endswith("svg")
