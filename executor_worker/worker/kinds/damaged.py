"""Items of a run whose keys another program has changed: the run ends as failed, and holds no worker up."""

from __future__ import annotations

from executor_worker.broker import Settled, Settlement
from executor_worker.broker.graphs.giving_up import Damage, GiveUpCommit
from executor_worker.broker.queue.commit import Commit
from executor_worker.errors import Abandoned, StateInvalid
from executor_worker.outcome import Failed
from executor_worker.telemetry.run_ends import run_given_up
from executor_worker.worker.kinds.kind import Draft
from executor_worker.worker.stages import Conclusion, Work


class DamagedDraft(Draft):
    """
    Gives the run up.

    Args:
        instead_of: What Redis has refused; goes on where nothing is wrong with the run's keys. None: the item could not
            be read in the first place.
    """

    is_noted = True

    def __init__(self, work: Work, damage: Damage, instead_of: Draft | None = None) -> None:
        self._work = work
        self._damage = damage
        self._instead_of = instead_of
        self._sound: Draft | None = None
        node = "" if work.is_upkeep else work.node_id
        self.conclusion = Conclusion(Failed(damage.error, StateInvalid.code, work.mode) if node else None)
        self._commit = GiveUpCommit(work.graph_id, node, damage)

    def commit(self) -> Commit:
        return self._sound.commit() if self._sound is not None else self._commit

    def heed(self, answer: Settlement) -> bool:
        if self._sound is not None:
            return self._sound.heed(answer)
        if answer.ending is not Settled.judge:
            return False
        if self._instead_of is None:
            raise Abandoned("nothing is wrong with its run any more")
        self._sound, self.conclusion = self._instead_of, self._instead_of.conclusion
        return True

    def note(self, answer: Settlement) -> None:
        if self._sound is None and answer.ending is Settled.settled:
            run_given_up(self._work.graph_id, self._damage.said)
