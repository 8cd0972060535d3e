"""Kinds of work, a file each: where its items come from, how they are read, what is committed, what its letters are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from executor_worker.broker.queue.source import UNLIMITED, PlaceLimits, Sources
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.stages import Stamp

Kinds: TypeAlias = Mapping[str, Kind[Any]]
"""Those that a pool serves, by name; if several would read an entry the first has it."""


def by_name(*kinds: Kind[Any]) -> Kinds:
    return {kind.source.kind: kind for kind in kinds}


def sources_of(kinds: Kinds, limits: PlaceLimits = UNLIMITED) -> Sources:
    return Sources(*(kind.source for kind in kinds.values()), limits=limits)


__all__ = ["Draft", "Kind", "Kinds", "Stamp", "by_name", "sources_of"]
