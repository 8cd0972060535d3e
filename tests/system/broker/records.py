"""What the oracle keeps of entries, their deliveries and their runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from executor_worker.worker.kinds.document import DocumentWork

Place = tuple[str, str]  # stream and entry
NodeName = tuple[str, str]  # graph and node


@dataclass(eq=False)
class Actor:
    """
    Whoever speaks to Redis: a worker process, or the keeper.

    Attributes:
        holds: What it works on.
        safe: Its lease is renewed: nobody may take its item.
        condemned: What its predecessor was ended for.
        counts: What it gives back is held against the entry.
    """

    name: str
    holds: Place | None = None
    safe: bool = False
    condemned: Place | None = None
    counts: bool = False

    @property
    def sure(self) -> bool:
        """It has had an answer to a take: what is pending for it and it does not know of never ran."""
        return False


@dataclass(slots=True)
class Delivery:
    """One delivery; `ran`: whoever it went to has seen it."""

    actor: Actor
    ran: bool = False
    uncounted: bool = False


@dataclass(slots=True)
class Record:
    """
    One submitted entry.

    Attributes:
        deliveries: Since its group was made last.
        row: Consumer and delivery count; None if nothing is pending.
        given_back: Stale at once for everybody; `was_given_back`: it was once.
        present: It is in the stream.
        commits: Marks of the runs that were committed.
        repeated_by: Who acknowledged it as a repetition.
        done: Committed, or acknowledged as a repetition.
        excused: May stay without a result: trimmed by a producer, or lost with the group of a kept stream.
    """

    node: NodeName
    work_id: str | None
    deliveries: list[Delivery] = field(default_factory=list)
    row: tuple[str, int] | None = None
    given_back: bool = False
    was_given_back: bool = False
    present: bool = True
    commits: list[str] = field(default_factory=list)
    repeated_by: Actor | None = None
    done: bool = False
    excused: bool = False

    @property
    def uncounted(self) -> int:
        return sum(delivery.uncounted for delivery in self.deliveries)


@dataclass(slots=True)
class Run:
    """A run of one delivery, recognised in what it writes by its mark."""

    place: Place
    work: DocumentWork
