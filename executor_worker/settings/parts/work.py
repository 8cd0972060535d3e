"""Settings of the work that is taken: its queues, its limits, its results."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.settings import kinds
from executor_worker.settings.kinds import Shown
from executor_worker.settings.parts.part import Part


class WorkFields(Part):
    """The work's part of `Settings`."""

    max_iterations: Annotated[int, kinds.whole(1, 10_000, 10)] = Field(10, description="Model calls of one agent run")
    node_timeout: Annotated[float, kinds.duration(0.1, "15m")] = Field(
        900.0, description="Hard limit for one item, whatever it is stuck in"
    )
    queues: Annotated[tuple[str, ...], kinds.queues()] = Field(
        (DEFAULT,),
        description="Queues this pool serves, in order of preference: `default` (the two plain work streams), a name"
        " `q` (`executor.work:q`, for nodes whose config says so), or `none`",
    )
    lease: Annotated[float, kinds.duration(0.1, "30s")] = Field(
        30.0, description="An item of a vanished host is taken over after this"
    )
    max_deliveries: Annotated[int, kinds.whole(1, 10_000, 5)] = Field(
        5, description="An item is run at most this often"
    )
    drain_timeout: Annotated[float, kinds.duration(0.0, "60s")] = Field(
        60.0, description="From SIGTERM to the last worker killed"
    )
    max_items_per_worker: Annotated[int, kinds.whole(0, 10**12, 1000)] = Field(
        0, description="A worker is replaced after so many items; 0 = never"
    )
    max_rss_mb: Annotated[int, kinds.whole(0, 10**8, 512)] = Field(
        0, description="A worker is replaced when it has grown beyond this; 0 = never"
    )
    max_item_bytes: Annotated[int, kinds.size("4MiB"), Shown("4MiB")] = Field(
        4 * 2**20, description="Larger items go to the dead-letter stream"
    )
    state_ttl: Annotated[float, kinds.duration(1.0, "24h")] = Field(
        86400.0, description="How long a graph's state is kept after its last change"
    )
    event_content: Annotated[bool, kinds.switch("0")] = Field(
        False, description="Progress events also tell what models answered, tools were given and tools answered"
    )
    delete_settled: Annotated[bool, kinds.switch("1")] = Field(
        True, description="Delete a work entry when it is settled; 0 if other groups read it too"
    )
    results_maxlen: Annotated[int, kinds.whole(1, 10**12, 100_000)] = Field(
        100_000, description="Result streams are trimmed to about this, never what is still unread"
    )
    failures_to_completed: Annotated[str, kinds.choice("auto", "always", "never")] = Field(
        "auto",
        description="Whether failures are also written to `node.completed`;"
        " auto: where a group named `dago-workers` reads it",
    )
