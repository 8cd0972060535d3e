"""The source of runs' nodes: the plain work stream, and before it a stream of what runs have left to do."""

from __future__ import annotations

from executor_worker.broker.connection.script import Made, Part
from executor_worker.broker.names import WORK_STREAMS, steps_stream
from executor_worker.broker.queue.source import SettleScript, Source

LIBRARY: tuple[Part, ...] = (
    "calendar",
    "runs/items",
    "runs/module",
    *(Made(f"runs/{name}", "runs") for name in ("model", "advance", "write", "start", "stopping", "ending")),
)
"""Parts of `lua/lib` that know runs; the last are seldom needed."""

SETTLE_NODE = SettleScript("runs/settle", ("runs/arguments",))
ACKNOWLEDGE = SettleScript("acknowledge")
GIVE_UP = SettleScript("runs/give_up", (Made("runs/giving_up", "runs"),))
"""Seldom needed: put together when it is."""
RUNS = Source(
    "run",
    WORK_STREAMS,
    (*LIBRARY, "kinds/run"),
    (SETTLE_NODE, ACKNOWLEDGE),
    urgent=(steps_stream(),),
)
