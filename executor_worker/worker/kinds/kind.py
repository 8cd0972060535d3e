"""A kind of work: how a worker reads, drafts and commits its items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from executor_worker.broker import Claim, JournalKeys, Settlement
from executor_worker.broker.queue.commit import Commit
from executor_worker.broker.queue.source import Source
from executor_worker.errors import StreamRefused
from executor_worker.graph.ends import RunEnd
from executor_worker.worker.stages import Conclusion, Decision, Stamp, Work

W = TypeVar("W", bound=Work)


class Draft(ABC):
    """
    One conclusion's commit, drawn up anew until it fits.

    Attributes:
        conclusion: As it is committed in the end.
        ends: Of runs that were over before the commit, with what drawing it up takes.
        is_noted: Whether `note` is to be called.
        forced: It is committed though the item has lost its place: trimmed away by a producer, say.
    """

    conclusion: Conclusion
    ends: tuple[RunEnd, ...] = ()
    is_noted = False
    forced = False

    @abstractmethod
    def commit(self) -> Commit:
        """Draw up what is to be written."""

    @abstractmethod
    def heed(self, answer: Settlement) -> bool:
        """Take up what the settle script found instead of writing; answers whether to commit again."""

    def instead(self, error: StreamRefused) -> Draft | None:
        """Answer what to commit where Redis refuses this one for good; None: it waits until Redis takes it."""
        return None

    def note(self, answer: Settlement) -> None:
        """Take note that it is committed; called if it `is_noted`."""


class Kind(ABC, Generic[W]):
    """
    A kind of work. Its methods are called in the order in which they stand here.

    Attributes:
        source: Where its items come from, and what Redis does in the step that takes one.
    """

    source: Source

    @abstractmethod
    def begin(self, claim: Claim, taken_at: float, began: float) -> W:
        """Make the value that `read` fills in; never fails."""

    @abstractmethod
    def read(self, work: W) -> None:
        """
        Read what the item says, and what is needed to decide about it.

        Raises:
            StreamUnavailable: What it needs could not be read; the item stays held.
        """

    @abstractmethod
    def decide(self, work: W, failure_code: str) -> Decision:
        """
        Decide whether the item runs.

        Args:
            failure_code: Under which the worker that held this entry before was ended; "" if it was not.

        Raises:
            NodeError: That is its answer.
        """

    @abstractmethod
    def give_up(self, work: W, error: str) -> Conclusion:
        """Answer an item that an unforeseen error kept from being read or decided about; never fails."""

    @abstractmethod
    def journal(self, work: W) -> JournalKeys:
        """Give access to the journal of its run."""

    @abstractmethod
    def is_cancelled(self, work: W) -> bool:
        """
        Ask Redis whether it is still wanted, if the keeper can't look.

        Raises:
            StreamUnavailable: No reply.
        """

    def repeats_in_s(self, work: W, conclusion: Conclusion) -> float | None:
        """Answer in how many seconds it is to be run again instead of being settled; None: it is over."""
        return None

    @abstractmethod
    def draft(self, work: W, conclusion: Conclusion, stamp: Stamp) -> Draft:
        """Begin to draw up its commit."""
