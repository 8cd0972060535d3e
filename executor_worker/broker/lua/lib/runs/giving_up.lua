-- A run whose keys another program has changed so that it can't go on ends as failed, as far as its keys let it; what
-- others have put in their place is left alone. Used after ending.lua.

local KEPT = {[''] = 'hash', [':plan'] = 'hash', [':edges'] = 'hash', [':nodes'] = 'hash', [':outputs'] = 'hash',
  [':log'] = 'list', [':journals'] = 'list'}
local DROPPED = {[':joins'] = 'hash', [':open'] = 'hash', [':ready'] = 'list', [':todo'] = 'list', [':document'] = 'string',
  [':sinks'] = 'string'}

-- Which keys of the run hold something else than they should.
function runs.wrong_keys(base)
  local wrong = {}
  for _, parts in ipairs({KEPT, DROPPED}) do
    for part, kind in pairs(parts) do
      local there = redis.call('TYPE', base .. part).ok
      if there ~= kind and there ~= 'none' then wrong[part] = true end
    end
  end
  return wrong
end

-- The head's figures as they can be read by all, whatever stands there.
local function mend_figures(run)
  for i, name in ipairs(runs.HEAD) do
    if type(run[name]) == 'number' and not string.find(tostring(run[name]), '^%d+$') then run[name] = 0 end
    if type(run[name]) == 'number' then run.was[i] = nil end
  end
  for _, name in ipairs({'left', 'slots', 'running', 'todo', 'backlog'}) do run[name] = 0 end
  if not string.find(tostring(run.ttl_ms), '^%d+$') or run.ttl_ms == 0 then run.ttl_ms = 86400000 end
end

local function write_bare_document(run)
  runs.read_for_document(run)
  local parts = runs.document_begin(run)
  runs.add_end(run, parts)
  redis.call('SET', STATE_PREFIX .. run.id, table.concat(parts), 'PX', runs.int(run.ttl_ms))
end

local function expire(run, wrong)
  local ttl = runs.int(run.ttl_ms)
  for part in pairs(KEPT) do
    if not wrong[part] then redis.call('PEXPIRE', run.base .. part, ttl) end
  end
  for part in pairs(DROPPED) do
    if not wrong[part] then redis.call('UNLINK', run.base .. part) end
  end
  redis.call('PEXPIRE', STATE_PREFIX .. run.id, ttl)
  if wrong[':journals'] then return end
  for _, journal in ipairs(redis.call('LRANGE', run.base .. ':journals', 0, 999)) do redis.call('PEXPIRE', journal, ttl) end
end

local function write_head(run)
  pcall(write_bare_document, run)
  redis.call('HSET', run.base, 'ended', runs.int(runs.clock()), unpack(runs.changed_head(run)))
  runs.list_as(run, 'failed')
  redis.call('ZADD', run.shard .. 'expiries', runs.int(runs.clock() + run.ttl_ms), run.id)
  runs.ends[#runs.ends + 1] = 'failed ' .. runs.int(math.max(runs.clock() - run.started, 0)) .. ' ' .. run.id
end

-- *sure*: that it can't go on; else only where a key holds something else than it should. *problem*: the run's error as
-- JSON. *failed*: {node, data, mirror} of the event of the node that could not, or nil.
-- Answers 'sound' where nothing is wrong, 'late' where it was over before, 'ended'.
function runs.give_up(base, sure, problem, failed)
  local wrong = runs.wrong_keys(base)
  if not sure and not next(wrong) then return 'sound' end
  local headed = not wrong[''] and redis.call('EXISTS', base) == 1
  local run = runs.new_run(base, headed and redis.call('HMGET', base, unpack(runs.HEAD)) or {})
  for _, name in ipairs(runs.LISTED) do must_hold('zset', run.shard .. name) end
  if headed and runs.OVER[run.status] and run.stopping == '' then return 'late' end
  if not headed and not redis.call('ZSCORE', run.shard .. 'runs', run.id) then return 'late' end
  must_hold('stream', GRAPH_EVENTS, FAILED_STREAM)
  mend_figures(run)
  if not wrong[':log'] then run.seq = redis.call('LLEN', run.log_key) end
  if failed then runs.log(run, 'node.failed', failed[1], failed[2], FAILED_STREAM, failed[3]) end
  run.status, run.stopping, run.held, run.error = 'failed', '', '', problem
  runs.log_run(run, 'graph.failed', problem)
  if headed then
    write_head(run)
  else
    for _, name in ipairs(runs.LISTED) do redis.call('ZREM', run.shard .. name, run.id) end
  end
  if wrong[':log'] then run.events = {} end
  runs.write_log(run)
  redis.call('ZREM', run.shard .. 'looks', run.id)
  expire(run, wrong)
  return 'ended'
end
