"""The source of runs' nodes: the plain work stream, and before it a stream of what runs have left to do."""

from __future__ import annotations

from executor_worker.broker.names import WORK_STREAMS, steps_stream
from executor_worker.broker.queue.source import SettleScript, Source

SETTLE_NODE = SettleScript("runs/settle", ("runs/arguments",))
ACKNOWLEDGE = SettleScript("acknowledge")
RUNS = Source(
    "run",
    WORK_STREAMS,
    ("runs/items", "runs/lazy", "runs/model", "runs/advance", "runs/write", "runs/start", "runs/lazy_end", "kinds/run"),
    (SETTLE_NODE, ACKNOWLEDGE),
    urgent=(steps_stream(),),
)
