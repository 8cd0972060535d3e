"""
Chat of the sibling system: a list of messages, whose answers are published; all of it in this file, Lua included.

A message lies in a holding list while it is run, and an entry of a stream of ours stands for it, so that leases,
fences, deliveries and throttles hold for it as for all work. What can't be answered is kept in a list of its own: an
error is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from executor_worker.broker import Claim, Held, JournalKeys, Settlement
from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.names import MARKERS, RESETS
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.source import SettleScript, Source
from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import InvalidItem
from executor_worker.json_text import dumps, loads
from executor_worker.nodes.executor import Task
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.limits import Limits
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Stamp, Work

LIST, HOLDING, DEAD, CHANNEL = "chat.jobs", "chat.jobs:holding", "chat.jobs:dead", "AI.RESPONSE"
STREAM = "dago:executor:chat"
POLLED_S = 0.2

TAKING = LuaText(
    "chat",
    f"""
kinds[#kinds + 1] = {{
  name = 'chat',
  reads = function(one) return one.stream == '{STREAM}' end,
  open = function(one)
    if one.how == 'lost' or one.how == 'late' then return false end
    one.names = names_of('chat', 'chat', one.entry)
  end,
  feed = function(group)
    local rows, standing_for = redis.pcall('XPENDING', '{STREAM}', group), redis.call('XLEN', '{STREAM}')
    if rows.err or standing_for > rows[1] then return end -- one is there to be taken
    if standing_for == 0 then -- what is held all the same has lost its entry: somebody has deleted the stream
      local held = redis.call('LRANGE', '{HOLDING}', 0, 999)
      for _, item in ipairs(held) do redis.call('XADD', '{STREAM}', '*', 'data', item) end
      if held[1] then return end
    end
    local item = redis.call('LMOVE', '{LIST}', '{HOLDING}', 'LEFT', 'RIGHT')
    if item then redis.call('XADD', '{STREAM}', '*', 'data', item) end
  end,
}}
""",
)
# KEYS: stream, settled markers, group resets, holding list, list of what could not be answered.
# ARGV: group, consumer, entry, count, message, what is kept or '', channel, what is published or '', take ('1'), then
# what take.lua takes. Reply: as acknowledge.lua.
SETTLING = LuaText(
    "settle-chat",
    """
local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where == 'already' then return {'already', false, next_entry(9)} end
if where ~= 'ours' then return {'fenced'} end
redis.call('LREM', KEYS[4], 1, ARGV[5])
if ARGV[6] ~= '' then redis.call('RPUSH', KEYS[5], ARGV[6]) end
if ARGV[8] ~= '' then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
redis.call('HSET', KEYS[2], ARGV[2], KEYS[1] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[1] .. UNCOUNTED, ARGV[3], ARGV[3] .. ' refused')
return {'settled', false, next_entry(9)}
""",
)
SETTLE = SettleScript(SETTLING)


@dataclass(slots=True)
class ChatCommit:
    """An answer to be published, or what could not be answered to be kept; empty: nothing."""

    message: bytes
    answer: bytes = b""
    kept: bytes = b""
    script: SettleScript = SETTLE

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of the script; see `Commit`."""
        keys: list[Word] = [held.stream, MARKERS, RESETS, HOLDING, DEAD]
        words: list[Word] = [
            terms.group,
            held.consumer,
            held.entry,
            held.count,
            self.message,
            self.kept,
            CHANNEL,
            self.answer,
        ]
        return keys, words


@dataclass(slots=True)
class ChatWork(Work):
    """A message, and the connection that its answer goes to."""

    connection_id: str = ""
    text: str = ""


class ChatKind(Kind[ChatWork]):
    """
    Args:
        model_of: Names the model for a node level; "" stands for none.
    """

    source = Source("chat", (STREAM,), (TAKING,), (SETTLE,), polled_s=POLLED_S)

    def __init__(self, limits: Limits, ttl_s: float, model_of: Callable[[str], str]) -> None:
        self._limits = limits
        self._ttl_s = ttl_s
        self._model_of = model_of

    def begin(self, claim: Claim, taken_at: float, began: float) -> ChatWork:
        held = claim.held
        return ChatWork(
            claim, held, held.attempt, taken_at, began, graph_id="chat", node_id=held.entry, node_type="chat"
        )

    def read(self, work: ChatWork) -> None:
        data = work.claim.delivery.data or b""
        if len(data) > self._limits.max_item_bytes:
            raise InvalidItem(f"the message has {len(data)} bytes, the limit is {self._limits.max_item_bytes}")
        try:
            job: Any = loads(data)
        except ValueError as error:
            raise InvalidItem(f"the message is not JSON: {error}") from None
        if not isinstance(job, dict):
            raise InvalidItem("the message must be an object")
        work.connection_id, work.text = _text(job, "ConnectionId"), _text(job, "Message")
        model = _text(job, "Model") or self._model_of(_text(job, "NodeLevel").lower())
        work.config = {"llm_config": {"prompt": "{{message}}", **({"model": model} if model else {})}}

    def decide(self, work: ChatWork, failure_code: str) -> Decision:
        if not work.text.strip():
            raise InvalidItem("the message has no text in `Message`")
        answer = answer_of_history(work.held.attempt, failure_code, self._limits)
        task = Task("chat", work.node_id, "chat", work.config or {}, {"message": work.text}, {})
        return answer or Run(task, self._limits.node_timeout_s)

    def give_up(self, work: ChatWork, error: str) -> Conclusion:
        return Conclusion(Failed(error, "internal"))

    def journal(self, work: ChatWork) -> JournalKeys:
        return work.claim.journal(ttl_s=self._ttl_s)

    def is_cancelled(self, work: ChatWork) -> bool:
        return False

    def draft(self, work: ChatWork, conclusion: Conclusion, stamp: Stamp) -> Draft:
        return _ChatDraft(work, conclusion, stamp)


class _ChatDraft(Draft):
    def __init__(self, work: ChatWork, conclusion: Conclusion, stamp: Stamp) -> None:
        self.conclusion = conclusion
        self._commit = ChatCommit(work.claim.delivery.data or b"")
        outcome = conclusion.outcome
        if isinstance(outcome, Completed):
            content = outcome.output["content"]
            self._commit.answer = dumps({"ConnectionId": work.connection_id, "Content": content})
        elif isinstance(outcome, Failed):
            told = {"error": outcome.error, "error_code": outcome.code, "failed_at": rfc3339(stamp.now)}
            message = (work.claim.delivery.data or b"").decode("utf-8", "backslashreplace")
            self._commit.kept = dumps({"message": message, **told})

    def commit(self) -> ChatCommit:
        return self._commit

    def heed(self, answer: Settlement) -> bool:
        return False


def _text(job: dict[str, Any], name: str) -> str:
    value = job.get(name)
    return value if isinstance(value, str) else ""
