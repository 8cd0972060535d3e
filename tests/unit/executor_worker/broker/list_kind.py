"""
A kind of work of another sort, in one file: items of a Redis list, which lie in a holding list while they are run.

An entry in a stream of the group stands for each that is held, so that leases, fences, deliveries and parking hold for
it as for all work; whoever puts items on the list sees the two lists alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker import Claim, Held, JournalKeys, Settlement
from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.names import MARKERS, RESETS
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.source import SettleScript, Source
from executor_worker.envelopes.work_item import UnreadableItem
from executor_worker.json_text import dumps, loads
from executor_worker.nodes.executor import Task
from executor_worker.outcome import Completed
from executor_worker.worker.kinds import Draft, Kind, Stamp
from executor_worker.worker.kinds.telling import letter_of
from executor_worker.worker.limits import Limits
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Work

LIST, HOLDING, ANSWERS, DEAD, STREAM = "jobs", "jobs:holding", "jobs:answers", "jobs:dead", "jobs:entries"

TAKING = LuaText(
    "jobs",
    f"""
kinds[#kinds + 1] = {{
  name = 'list',
  reads = function(one) return one.stream == '{STREAM}' end,
  open = function(one) return redis.call('LLEN', '{LIST}') end,
  feed = function(group)
    local rows = redis.pcall('XPENDING', '{STREAM}', group)
    if rows.err or redis.call('XLEN', '{STREAM}') > rows[1] then return end -- one is there to be taken
    local item = redis.call('LMOVE', '{LIST}', '{HOLDING}', 'LEFT', 'RIGHT')
    if item then redis.call('XADD', '{STREAM}', '*', 'data', item) end
  end,
}}
""",
)
# KEYS: stream, settled markers, group resets, holding list, list of answers or of dead items.
# ARGV: group, consumer, entry, count, item, what is put on that list, then those about the next entry.
SETTLING = LuaText(
    "settle-jobs",
    """
local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where == 'already' then return {'already', false, next_entry(7)} end
if where ~= 'ours' then return {'fenced'} end
redis.call('LREM', KEYS[4], 1, ARGV[5])
redis.call('RPUSH', KEYS[5], ARGV[6])
redis.call('HSET', KEYS[2], ARGV[2], KEYS[1] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return {'settled', false, next_entry(7)}
""",
)
SETTLE = SettleScript(SETTLING)


@dataclass(slots=True)
class ListCommit:
    """An answer, or what could not be run; instead of the item."""

    item: bytes
    target: str
    answer: bytes
    script: SettleScript = SETTLE

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        keys: list[Word] = [held.stream, MARKERS, RESETS, HOLDING, self.target]
        return keys, [terms.group, held.consumer, held.entry, held.count, self.item, self.answer]


class ListDraft(Draft):
    def __init__(self, work: Work, conclusion: Conclusion, stamp: Stamp) -> None:
        self.conclusion = conclusion
        self._item = work.claim.delivery.data or b""
        outcome = conclusion.outcome
        letter = letter_of(work, conclusion, stamp)
        self._target = ANSWERS if letter is None else DEAD
        self._answer = letter or (outcome.output if isinstance(outcome, Completed) else None)

    def commit(self) -> ListCommit:
        return ListCommit(self._item, self._target, dumps(self._answer))

    def heed(self, answer: Settlement) -> bool:
        return False


class ListKind(Kind[Work]):
    source = Source("list", (STREAM,), (TAKING,), (SETTLE,), polled_s=0.05)

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def begin(self, claim: Claim, taken_at: float, began: float) -> Work:
        return Work(claim, claim.held, claim.held.attempt, taken_at, began, node_id="job")

    def read(self, work: Work) -> None:
        try:
            work.config = loads(work.claim.delivery.data or b"")
        except ValueError as error:
            raise UnreadableItem(f"the job is not JSON: {error}") from None

    def decide(self, work: Work, failure_code: str) -> Decision:
        answer = answer_of_history(work.held.attempt, failure_code, self._limits)
        task = Task("", work.node_id, "", work.config or {}, {}, {})
        return answer or Run(task, self._limits.node_timeout_s)

    def give_up(self, work: Work, error: str) -> Conclusion:
        raise AssertionError(error)

    def journal(self, work: Work) -> JournalKeys:
        return work.claim.journal(ttl_s=60)

    def is_cancelled(self, work: Work) -> bool:
        return False

    def draft(self, work: Work, conclusion: Conclusion, stamp: Stamp) -> Draft:
        return ListDraft(work, conclusion, stamp)
