"""Go on with a run that had more to do than one script may."""

from __future__ import annotations

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.deciding import Deciding, Render
from executor_worker.broker.graphs.requests import ScriptCall, Steps
from executor_worker.broker.graphs.scripts import step_script
from executor_worker.broker.names import GROUP, MARKERS, run_key, shard_of, steps_stream
from executor_worker.graph.ends import RunEnd, run_ends


def step(
    graph_id: str, render: Render, *, consumer: str = "", entry: str = "", count: int = 1, group: str = GROUP
) -> Steps[tuple[RunEnd, ...]]:
    """
    Do all that is left in slices, each one script.

    Args:
        consumer, entry, count: Who holds the step's entry, in which delivery, so that it is acknowledged in the end.

    Returns:
        The run's end, if it is over with this.
    """
    keys = [run_key(graph_id), steps_stream(shard_of(graph_id)), MARKERS]
    deciding = Deciding(graph_id, render)
    while True:
        words = [group, consumer, entry, count, *deciding.words()]
        (reply,) = checked((yield [ScriptCall(step_script(), keys, words)]))
        if reply[0] == b"done":
            return run_ends(reply[1])
        if reply[0] == b"judge":
            yield from deciding.decide(reply[1])
        else:
            deciding = Deciding(graph_id, render)
