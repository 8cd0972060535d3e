-- Do what is due of a shard's runs, each once, whoever asks: timers that have run out, and looks at runs that have not
-- ended, whose items Redis may have lost. Runs that have expired leave the lists.
--
-- KEYS: the timers, the runs by when to look at them next, until which of these times all are to be looked at in a hurry.
-- ARGV: most timers to do in this call, most entries of items to look at, ms between two looks at a run,
--       '1': Redis may just have lost something, so a hurry begins.
-- Reply: {ms until the next timer, -1: there is none; ms until the next look, -1: none; timers done; items mended;
--         entries looked at; runs that have ended (module.lua); those that could not go on, each id and why}.

local shard = string.match(KEYS[1], '^(.*:)timers$')
local AGAIN_MS = 1000 -- until a timer is tried again that the server, or what stands under another key, did not let run out
local MOST_PASSED = 200 -- of the runs of a newer program, which are left to it
local passed = {[KEYS[1]] = 0, [KEYS[2]] = 0}

-- Some of what is due up to *until_ms*.
local function due_of(key, until_ms, most)
  return redis.call('ZRANGEBYSCORE', key, '-inf', runs.int(until_ms), 'LIMIT', passed[key], most)
end

local function passes(key, id)
  if passed[key] >= MOST_PASSED or (tonumber(redis.call('HGET', shard .. 'run:' .. id, 'v') or 0)) <= newest_layout then return false end
  passed[key] = passed[key] + 1
  return true
end

-- Queue a node again that had been queued before, with the attempt it is at.
local function requeue(run, id)
  if run.held == '1' then
    local node = runs.node_of(run, id)
    node.st = 'ready'
    runs.set(run, id, node)
    run.ready[#run.ready + 1] = id
  else
    runs.enqueue(run, id)
  end
end

local function fire_retry(run, node, attempt)
  local one = runs.node_of(run, node)
  if run.stopping ~= '' or not one or one.st ~= 'waiting' or one.at ~= attempt then return end
  run.slots = run.slots - 1
  run.closed[#run.closed + 1] = node
  requeue(run, node)
end

-- What a worker still holds counts no longer, whether it can be reached or not; and no step has to be waited for.
local function end_held(run)
  if run.todo > 0 then runs.resume_todo(run) end
  local open, rest = runs.open_from(run, '0')
  for i = 1, #open, 2 do
    local node = open[i] ~= '' and runs.node_of(run, open[i])
    if node and not runs.ENDED[node.st] then
      local stream, entry = string.match(open[i + 1], '^(.*) (%S+)$')
      if stream then run.removed[#run.removed + 1] = {stream, entry} end
      runs.finish(run, open[i], 'cancelled', {took = '-'})
    end
  end
  if rest ~= '0' or run.todo + #run.cursors > 0 then run.timers[1] = {'', 'stop', runs.clock(), 0} end
end

local function fire(member)
  local parts = runs.split(member, '\t')
  local id, node, kind, epoch, attempt = parts[1], parts[2], parts[3], tonumber(parts[4]), tonumber(parts[5])
  local run = runs.open_run(shard .. 'run:' .. id)
  if not run or run.epoch ~= epoch or (runs.OVER[run.status] and run.stopping == '') then return 0 end
  if kind == 'retry' then
    fire_retry(run, node, attempt)
  elseif kind == 'timeout' and run.stopping == '' then
    run.error = '{"error":"the run did not end within its time (graph_timeout); its graph\'s `timeout`, else '
      .. 'TIMEOUT_GRAPH_EXECUTION, gives it more","error_code":"graph_timeout"}'
    runs.begin_stop(run, 'failed')
  elseif kind == 'stop' then
    end_held(run)
  end
  runs.settle_down(run)
  runs.write(run)
  return run.ops
end

-- Whether an item is still on its way: it is pending, or the group has not come to it yet.
local delivered = {}
local function on_its_way(stream, entry)
  local rows = redis.pcall('XPENDING', stream, GROUP, entry, entry, 1)
  if not rows.err and rows[1] then return true end
  if delivered[stream] == nil then
    delivered[stream] = false
    local groups = redis.pcall('XINFO', 'GROUPS', stream)
    for _, fields in ipairs(groups.err and {} or groups) do
      local about = {}
      for i = 1, #fields, 2 do about[fields[i]] = fields[i + 1] end
      if about['name'] == GROUP then delivered[stream] = about['last-delivered-id'] end
    end
  end
  if delivered[stream] and not_after(entry, delivered[stream]) then return false end
  return #redis.call('XRANGE', stream, entry, entry) == 1
end

local function mend(run, id, where)
  local stream, entry = string.match(where, '^(.*) (%S+)$')
  if id == '' then
    if on_its_way(stream, entry) then return false end
    run.closed[#run.closed + 1] = ''
    run.step_lost = true
    return true
  end
  local node = runs.node_of(run, id)
  if not node or runs.ENDED[node.st] then
    run.closed[#run.closed + 1] = id
    return true
  end
  if not stream and node.st == 'waiting' then
    local member = run.id .. '\t' .. id .. '\tretry\t' .. run.epoch .. '\t' .. node.at
    if redis.call('ZSCORE', KEYS[1], member) then return false end
    redis.call('ZADD', KEYS[1], runs.int(runs.clock()), member)
    return true
  end
  if stream and on_its_way(stream, entry) then return false end
  if node.st == 'running' then run.running = run.running - 1 end
  run.slots = run.slots - 1
  if run.stopping ~= '' then
    run.slots = run.slots + 1
    if node.st == 'running' then run.running = run.running + 1 end
    runs.finish(run, id, 'cancelled', {took = '-'})
  else
    requeue(run, id)
  end
  return true
end

-- Nothing of it is on its way though it has not ended: all but what has ended is begun anew, page by page, by who takes
-- the step; a router may have to be decided for it.
local function rebuild(run)
  run.slots, run.running, run.ready, run.backlog, run.drop_ready = 0, 0, {}, 0, true
  run.cursors = {'forget\t0 0 0 0 0\t1'}
end

local function unlist(id)
  for _, list in ipairs({'runs', 'runs:running', 'runs:completed', 'runs:failed', 'runs:cancelled', 'expiries'}) do
    redis.call('ZREM', shard .. list, id)
  end
end

local function look(id)
  local run = runs.open_run(shard .. 'run:' .. id)
  if not run then unlist(id) end -- it was deleted by others
  if not run or (runs.OVER[run.status] and run.stopping == '') then
    redis.call('ZREM', KEYS[2], id)
    return 0, 0
  end
  -- What still runs of a run that stops ends with its timer.
  if run.stopping ~= '' and redis.call('ZSCORE', KEYS[1], run.id .. '\t\tstop\t' .. run.epoch .. '\t0') then return 1, 0 end
  local open, rest = runs.open_from(run, redis.call('HGET', run.base, 'looked') or '0')
  local mended, step_open = 0, redis.call('HEXISTS', run.open_key, '') == 1
  for i = 1, #open, 2 do
    if mend(run, open[i], open[i + 1]) then mended = mended + 1 end
  end
  if rest ~= '0' then
    redis.call('HSET', run.base, 'looked', rest)
    redis.call('ZADD', KEYS[2], runs.int(runs.clock()), id)
  elseif #open > 0 then
    redis.call('HDEL', run.base, 'looked')
  end
  if run.todo > 0 and (run.step_lost or not step_open) then
    mended = math.max(mended, 1)
    run.waiting_step = true
  -- A run that is held has nothing on its way but what ran, and is well.
  elseif run.todo == 0 and run.left > 0 and run.stopping == '' and not (run.held == '1' and run.backlog > 0)
    and redis.call('EXISTS', run.open_key) == 0 then
    mended = mended + 1
    rebuild(run)
  end
  if run.stopping ~= '' and run.todo == 0 and #run.cursors == 0 then
    run.timers[#run.timers + 1] = {'', 'stop', runs.clock(), 0}
  end
  if mended > 0 then
    runs.log_run(run, 'run.mended', '{"items":' .. mended .. '}')
    runs.settle_down(run)
    runs.write(run)
  end
  return #open / 2 + 1, mended
end

-- Do *work* for a run. One whose keys others have changed so that it can't be read ends with that, and holds no other up.
local given_up = {}
local function for_run(id, work, ...)
  local fine, one, two = pcall(work, ...)
  if fine then return one, two end
  local damage = runs.damage(one, id)
  local nameless = damage and string.find(damage, '^WRONGTYPE Operation')
  local error_json = damage and '{"error":' .. runs.quoted('the keys of the run were changed by another program: ' .. damage)
    .. ',"error_code":"state_invalid"}'
  local ended = damage and runs.give_up(shard .. 'run:' .. id, not nameless, error_json)
  if not damage or ended == 'sound' then error(one, 0) end
  if ended == 'ended' then given_up[#given_up + 1], given_up[#given_up + 2] = id, damage end
  redis.call('ZREM', KEYS[2], id)
  return nil, 0
end

local done, looked, mended, ops = 0, 0, 0, 0
for _, member in ipairs(due_of(KEYS[1], runs.clock(), tonumber(ARGV[1]))) do
  if ops >= runs.most_ops then break end
  local id = string.match(member, '^[^\t]*')
  if not for_run(id, passes, KEYS[1], id) then
    redis.call('ZREM', KEYS[1], member)
    local fine, spent = pcall(for_run, id, fire, member)
    if not fine then
      redis.call('ZADD', KEYS[1], runs.int(runs.clock() + AGAIN_MS), member)
      error(spent, 0)
    end
    ops = ops + (spent or 0)
    done = done + 1
  end
end

-- In a hurry each run is looked at once before its time: none is due later than this.
local active = redis.call('ZCARD', KEYS[2])
local again, until_ms = math.max(tonumber(ARGV[3]), active), runs.clock()
if active > 0 and ARGV[4] == '1' then redis.call('SET', KEYS[3], runs.int(runs.clock() + again), 'NX', 'PX', runs.int(again)) end
if active > 0 then until_ms = math.max(until_ms, tonumber(redis.call('GET', KEYS[3]) or 0)) end
while looked < tonumber(ARGV[2]) do
  local id = due_of(KEYS[2], until_ms, 1)[1]
  if not id then break end
  if not for_run(id, passes, KEYS[2], id) then
    redis.call('ZADD', KEYS[2], runs.int(math.max(runs.clock() + again, until_ms + 1)), id)
    local rows, lost = for_run(id, look, id)
    looked, mended = looked + math.max(rows or 1, 1), mended + lost
  end
end

-- What has expired by itself stands in no list any more.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', shard .. 'expiries', '-inf', runs.int(runs.clock()), 'LIMIT', 0, 100)) do
  unlist(id)
end

local function until_first(key, until_ms)
  local first = tonumber(redis.call('ZRANGE', key, passed[key], passed[key], 'WITHSCORES')[2])
  return not first and -1 or first <= until_ms and 0 or first - runs.clock()
end
return {until_first(KEYS[1], runs.clock()), until_first(KEYS[2], until_ms), done, mended, looked, runs.ends, given_up}
