"""The way of one item is as short and as straight as docs/DESIGN.md says."""

from __future__ import annotations

import re

from benchmarks.walk import Step, walk
from tests.kit.paths import ROOT

DESIGN = (ROOT / "docs" / "DESIGN.md").read_text()
MOST_FILES = 20


def test_plain_item_goes_the_way_that_is_told() -> None:
    """Few files, all named in the table; and the worker is re-entered once, when the node's outcome is there."""
    way = walk()
    calls = [step.path for step in way if step.event == "call"]
    files = sorted({path.removesuffix(".py").removesuffix("/__init__") for path in calls})
    assert len(files) <= MOST_FILES
    said = f"enters {len(files)} files on that way and makes {len(calls)} calls"
    assert said in " ".join(DESIGN.split()), f"docs/DESIGN.md tells something else; a plain item {said}"
    assert [sum(file.endswith(f"/{told}") for file in files) for told in told_files()] == [1] * len(files)
    (outcome,) = (step for step in way if step.re_enters)
    assert outcome == Step(
        "return", "executor_worker/nodes/executor.py", "Executor.execute", "executor_worker/worker/run.py"
    )


def test_each_call_from_outside_re_enters_the_worker() -> None:
    """Whatever calls it: a node, a tool, the broker; what it calls itself and what it gets back does not."""
    run, node, link = "executor_worker/worker/run.py", "executor_worker/nodes/tool.py", "executor_worker/broker/link.py"
    assert [Step("call", run, "check", by).re_enters for by in (node, link, run)] == [True, True, False]
    assert [Step("return", back, "do", run).re_enters for back in (node, link, run)] == [True, False, False]
    assert not Step("call", node, "run", run).re_enters and not Step("return", run, "check", node).re_enters


def told_files() -> list[str]:
    """The files that the table of rooms names, as it names them."""
    rows = DESIGN.partition("| room | files |")[2].partition("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[2])]
