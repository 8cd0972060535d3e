"""Settings of the pool itself: its name, its slots, its Redis."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from executor_worker.settings import kinds
from executor_worker.settings.control import default_worker_id
from executor_worker.settings.kinds import Shown
from executor_worker.settings.parts.part import Part, Secret, Text

MAX_SLOTS = 1024


class PoolFields(Part):
    """The pool's part of `Settings`."""

    worker_id: Annotated[
        str,
        kinds.text("a name of at most 128 ASCII characters without spaces", "executor-a", r"[!-~]{1,128}"),
        Shown("executor-<hostname>"),
    ] = Field(
        default_factory=default_worker_id,
        description="Name of this supervisor; must be unique among all that read the same Redis",
    )
    workers: Annotated[kinds.Span, kinds.span(1, MAX_SLOTS, 5)] = Field(
        kinds.Span(5, 5),
        description="Slots: items run at the same time; `2-20`: as many as there is work for, between the two",
        validation_alias=AliasChoices("WORKERS", "WORKER_POOL_SIZE"),
    )
    redis_addr: Annotated[str, kinds.redis_address()] = Field(
        "localhost:6379",
        description="`host:port`, a `redis://`, `rediss://`, `unix://` or `redis+sentinel://h1:p,h2:p/name/db` URL,"
        " or `embedded` (a private server of its own, for trying things out)",
        repr=False,
    )
    redis_user: Text = Field("", description="ACL user; what it has to be allowed: docs/SECURITY.md")
    redis_pass: Secret = Field("", description="Password", repr=False)
    redis_db: Annotated[int, kinds.whole(0, 65535, 0)] = Field(0, description="Database number")
