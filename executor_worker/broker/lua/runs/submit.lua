-- Accept a run: its head, its key and its first items, in one step. Its plan and its document were written before, with
-- a TTL.
--
-- KEYS: the run's head, idempotency key (or the head where there is none), state document.
-- ARGV: the body's digest, most active runs (0: no limit), percents of its memory from which on the server is full (0: it
--       is not looked at), number of the head's words, those, number of decisions, those,
--       the run's output or ''. The document lacks its end: the time, and what closes it.
-- Reply: {'submitted', ms, runs that have ended (module.lua)}, {'replayed', graph_id, status, ms}, {'mismatch', graph_id},
--        {'active', n}, {'full', bytes used, bytes there may be}, {'judge', …}, {'unplanned'}: the plan or the document is not there (any more).

local base = KEYS[1]
local shard = string.match(base, '^(.*:)run:[^:]*$')
local digest, most, full_percent = word(), number(), number()
local words = {}
for i = 1, number() do words[i] = word() end

local function discard() redis.call('UNLINK', base .. ':plan', base .. ':edges', KEYS[3]) end

local there = redis.call('HMGET', base, 'status', 'submitted')
if there[1] then -- the reply to it was lost
  local ttl = redis.call('PTTL', base)
  for _, key in ipairs({base .. ':plan', base .. ':edges'}) do
    if ttl < 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ttl) end
  end
  return {'submitted', tonumber(there[2]), {}}
end
if KEYS[2] ~= base then
  local known = redis.call('GET', KEYS[2])
  if known then
    discard()
    local id, body, at = string.match(known, '^(%S+) (%S*) (%d+)$')
    if body ~= digest then return {'mismatch', id} end
    return {'replayed', id, redis.call('HGET', shard .. 'run:' .. id, 'status') or 'deleted', tonumber(at)}
  end
end
local active = most > 0 and redis.call('ZCARD', shard .. 'runs:running') or 0
if most > 0 and active >= most then
  discard()
  return {'active', active}
end
-- What counts against the server's memory and how much that may be, where it is full; a user who may not ask goes on: a
-- full server itself refuses what it must.
local function full()
  local about = redis.pcall('INFO', 'memory')
  if type(about) ~= 'string' then return nil end
  local function figure(name) return tonumber(string.match(about, '\n' .. name .. ':(%d+)')) or 0 end
  local limit, used = figure('maxmemory'), figure('used_memory') - figure('mem_not_counted_for_evict')
  return limit > 0 and used * 100 > limit * full_percent and {'full', used, limit}
end
local refusal = full_percent > 0 and full()
if refusal then
  discard()
  return refusal
end
local head = {}
for i = 1, #words, 2 do head[words[i]] = words[i + 1] end
if redis.call('HLEN', base .. ':edges') == 0 or redis.call('STRLEN', KEYS[3]) <= tonumber(head.prefix) then
  return {'unplanned'}
end

-- Seen as if it was there: nothing is written before all is decided.
local was = {}
for i, name in ipairs(runs.HEAD) do was[i] = head[name] or false end
local run = runs.new_run(base, was)
run.inputs, run.roots, run.ids = head.inputs, head.roots, head.ids
local output = read_decisions(run)
runs.log_run(run, 'graph.submitted', head.told)
runs.ready_roots(run, 1)
runs.settle_down(run)
local missing = runs.undecided(run, output)
if missing then return {'judge', missing} end

runs.must_be_writable(run, true)
redis.call('HSET', base, unpack(words))
redis.call('HSET', base, 'submitted', runs.int(runs.clock()))
redis.call('PERSIST', base .. ':plan')
redis.call('PERSIST', base .. ':edges')
redis.call('APPEND', KEYS[3], runs.rfc3339(runs.now()) .. '"}')
redis.call('PERSIST', KEYS[3])
redis.call('ZADD', shard .. 'runs', runs.int(runs.clock()), run.id)
redis.call('ZADD', shard .. 'runs:running', runs.int(runs.clock()), run.id)
redis.call('ZADD', shard .. 'looks', runs.int(runs.clock() + LOOK_MS), run.id)
if KEYS[2] ~= base then redis.call('SET', KEYS[2], run.id .. ' ' .. digest .. ' ' .. runs.int(runs.clock()), 'PX', 86400000) end
if tonumber(head.timeout) > 0 then run.timers[#run.timers + 1] = {'', 'timeout', runs.clock() + tonumber(head.timeout), 0} end
runs.write(run, output)
return {'submitted', runs.clock(), runs.ends}
