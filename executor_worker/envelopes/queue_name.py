"""Names of queues: what a pool serves, and which of them a node's config names."""

from __future__ import annotations

import re

DEFAULT = "default"
NOTHING = "none"
WANTED = "a name of at most 64 letters, digits, - and _, other than dead, forgiven and none"
# Beside the plain work stream, `executor.work:dead` holds its dead letters and `executor.work:forgiven` its deliveries.
_TAKEN = frozenset({"dead", "forgiven", NOTHING})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_queue_name(name: object) -> bool:
    """Tell whether *name* may be a node's `queue`; `default` may."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name not in _TAKEN


def named_queue(config: object) -> str:
    """Read the queue that a node's config names; "" if it names none, the default one or what can't be one."""
    name = config.get("queue") if isinstance(config, dict) else None
    return name if isinstance(name, str) and is_queue_name(name) and name != DEFAULT else ""
