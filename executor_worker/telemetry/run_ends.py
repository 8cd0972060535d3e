"""Tell of the end of a run: counted and logged by the process that has committed it, and by no other."""

from __future__ import annotations

from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder


def run_ended(recorder: Recorder, status: str, seconds: float, graph_id: str) -> None:
    """Count and log the end of a run, or of one of its epochs."""
    recorder.count("dago_graphs_completed_total", status)
    if status == "failed":
        recorder.count("dago_graphs_failed_total")
    recorder.observe("dago_graph_duration_seconds", seconds)
    logs.info("run.ended", graph=graph_id, status=status, seconds=round(seconds, 3))


def run_given_up(graph_id: str, said: str) -> None:
    """Tell that a run has ended as failed for what another program has done to its keys."""
    advice = "another program writes into keys of ours: let it leave dago:* alone, and submit the graph again"
    logs.error("run.given_up", graph=graph_id, reason=said, advice=advice)
