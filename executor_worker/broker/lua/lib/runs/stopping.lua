-- The end of a run before its time. Used after advance.lua.

local TAKEN_BACK = 250 -- entries at once

-- Some of what is open of a run, as pairs, from *cursor* on, and the cursor of the rest, '0' where that was all.
function runs.open_from(run, cursor)
  local reply = redis.call('HSCAN', run.open_key, cursor, 'COUNT', TAKEN_BACK)
  local open, ids = reply[2], {}
  for i = 1, #open, 2 do
    if open[i] ~= '' then ids[#ids + 1] = open[i] end
  end
  runs.prefetch(run, ids)
  return open, reply[1]
end

-- Whether a worker holds a node that it has started, and has not given it back.
function runs.is_held(node, stream, entry)
  if node.st ~= 'running' then return false end
  local rows = redis.pcall('XPENDING', stream, GROUP, entry, entry, 1)
  return not rows.err and rows[1] and rows[1][3] < GIVEN_BACK_MS
end

-- The entries of queued, parked or given back nodes are taken from them at once, from *cursor* on; what a worker holds is
-- not. A step's ('') is too, but one that is being done: whoever takes it finds nothing left to do.
function runs.take_back(run, cursor)
  local open, rest = runs.open_from(run, cursor)
  local stopped = run.stopped or {queued = 0, running = 0}
  for i = 1, #open, 2 do
    local id, stream, entry = open[i], string.match(open[i + 1], '^(.*) (%S+)$')
    local node = id ~= '' and runs.node_of(run, id)
    if id == '' and not run.step_open then
      run.removed[#run.removed + 1] = {stream, entry}
      run.closed[#run.closed + 1] = ''
    elseif node and not (stream and runs.is_held(node, stream, entry)) then
      if stream then run.removed[#run.removed + 1] = {stream, entry} end
      run.closed[#run.closed + 1] = id
      if node.st == 'running' then
        stopped.running, stopped.queued = stopped.running - 1, stopped.queued + 1
        runs.finish(run, id, 'cancelled', {took = '-'})
      end
    end
  end
  run.ops = run.ops + #open / 2
  if rest == '0' then return runs.cancel_rest(run, 1) end
  run.cursors[#run.cursors + 1] = 'open\t\t' .. rest
end

-- From now on nothing starts. *why*: cancelled, failed or timeout.
function runs.begin_stop(run, why)
  run.stopping = why
  run.stopped = {queued = run.slots - run.running, running = run.running}
  if why == 'cancelled' then run.status = 'cancelled' end
  run.work, run.ready, run.cursors, run.todo = {}, {}, {}, 0
  run.drop_todo, run.drop_ready = true, true
  runs.take_back(run, '0')
  if run.running > 0 or #run.cursors > 0 then
    run.timers[#run.timers + 1] = {'', 'stop', runs.clock() + STOP_MS, 0}
  end
end

-- Write the nodes that nobody holds as cancelled, from byte *at* of the run's ids on.
function runs.cancel_rest(run, at)
  local all, ids = run.ids or redis.call('HGET', run.base, 'ids'), nil
  while at and run.ops < runs.most_ops do
    ids, at = runs.page(all, '\t', at, math.min(runs.most_ops, 100))
    runs.prefetch(run, ids)
    for _, id in ipairs(ids) do
      local node = runs.node_of(run, id)
      run.ops = run.ops + 1
      if not node or node.st ~= 'running' and not runs.ENDED[node.st] then
        runs.finish(run, id, 'cancelled', {took = '-'})
      end
    end
  end
  if at then run.cursors[#run.cursors + 1] = 'cancel\t\t' .. at end
end
