"""Parts of `lua/lib` that let items wait, and those that say when they may go on."""

from __future__ import annotations

from executor_worker.broker.connection.script import Made, Part

WAITING: tuple[Part, ...] = ("module", "waits", Made("parking", "waits"))
"""The list of items that wait: the way in, and the way out."""

THROTTLE: tuple[Part, ...] = (Made("gates/throttle", "gates"),)
BREAKERS: tuple[Part, ...] = (*THROTTLE, Made("gates/breakers", "gates"))
PLACES: tuple[Part, ...] = ("limits", Made("gates/limits", "gates"))
"""Places of limits."""

GATES: tuple[Part, ...] = (
    *WAITING,
    "versions",
    *PLACES,
    *BREAKERS,
    *(Made(f"gates/{name}", "gates") for name in ("offers", "versions", "time")),
)
"""Parts for whoever takes an entry, or looks after those that wait."""
