"""Outputs of past nodes that one node names: read by pages, no more than a process can hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from executor_worker.broker.graphs.heads import large_hash_of, sizes_of
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import run_key
from executor_worker.errors import TemplateError

MIB = 2**20
MOST_BYTES = 64 * MIB
"""Of the outputs that one node's templates, conditions and mappings name; as values they may take a multiple of it."""


def past_outputs(graph_id: str, names: Sequence[str]) -> Steps[dict[str, bytes]]:
    """
    Read the outputs of *names*, as far as they are stored.

    Raises:
        TemplateError: They are larger than what is read for one node.
    """
    key = f"{run_key(graph_id)}:outputs"
    sizes = yield from sizes_of(key, names)
    check_size(sizes.values())
    return (yield from large_hash_of(key, sizes))


def check_size(sizes: Collection[int]) -> None:
    """
    Raises:
        TemplateError: Outputs of these bytes are too much for one node.
    """
    if sum(sizes) > MOST_BYTES:
        raise TemplateError(
            f"it names outputs of {sum(sizes) / MIB:.0f} MiB in all, of {len(sizes)} nodes; at most"
            f" {MOST_BYTES // MIB} MiB are read for one node: name fewer of them, or let those nodes return less"
        )
