"""Descriptors (open files, `ulimit -n`) that a pool needs: with fewer its workers could only be replaced."""

from __future__ import annotations

import math
import os
import resource
from dataclasses import dataclass

from executor_worker.errors import ConfigError
from executor_worker.settings import Settings
from executor_worker.worker.recycling import DESCRIPTORS_IN_USE

A_SLOT = 3  # the supervisor's, which its workers have as well
A_WORKER = 32  # its own, and what a first item opens


@dataclass(frozen=True, slots=True)
class Descriptors:
    """
    Attributes:
        open: Those this process had at its start.
    """

    open: int

    @classmethod
    def at_start(cls) -> Descriptors:
        """Count by the lowest that is free: numbers are given out from there."""
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(lowest)
        return cls(lowest)

    def require(self, settings: Settings) -> None:
        """
        See that a worker in the last slot has some to spare.

        Raises:
            ConfigError: It would be replaced before its first item, and so would the next.
        """
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # up to which the supervisor raises its own limit
        slots = settings.workers.most + (settings.api_processes if settings.api else 0)
        needed = math.ceil((self.open + A_SLOT * slots + A_WORKER) / DESCRIPTORS_IN_USE)
        if allowed == resource.RLIM_INFINITY or needed <= allowed:
            return
        raise ConfigError(
            "WORKERS" if settings.workers.most else "API_PROCESSES",
            f"{slots} processes need {needed} descriptors, and this one may open {allowed} at most.",
            f"Allow more (`ulimit -n {max(1024, needed)}`, LimitNOFILE= of a unit, --ulimit nofile= of a container),"
            " or set fewer.",
        )
