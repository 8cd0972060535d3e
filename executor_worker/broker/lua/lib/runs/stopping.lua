-- The end of a run before its time, and going on from cursors. Used after advance.lua.

-- Queue a node again that had been queued before, with the attempt it is at.
function runs.requeue(run, id)
  if run.held == '1' then
    local node = runs.node_of(run, id)
    node.st = 'ready'
    runs.set(run, id, node)
    run.ready[#run.ready + 1] = id
  else
    runs.enqueue(run, id)
  end
end

-- The place of a queued, parked or given back node is taken from it at once; what a worker holds is not. A step's ('')
-- always is: whoever holds it finds nothing left to do.
function runs.take_back(run, id, where)
  local stream, entry = string.match(where, '^(.*) (%S+)$')
  if not stream then return true end -- it waits for a time
  local rows = redis.pcall('XPENDING', stream, GROUP, entry, entry, 1)
  local row = not rows.err and rows[1]
  local node = id ~= '' and runs.node_of(run, id)
  if row and row[3] < GIVEN_BACK_MS and node and node.st == 'running' then return false end
  run.removed[#run.removed + 1] = {stream, entry}
  return true
end

-- From now on nothing starts. *why*: cancelled, failed or timeout.
function runs.begin_stop(run, why)
  run.stopping = why
  run.stopped = {queued = 0, running = 0}
  if why == 'cancelled' then run.status = 'cancelled' end
  local open = redis.call('HGETALL', run.base .. ':open')
  for i = 1, #open, 2 do
    local id, where = open[i], open[i + 1]
    local node = id ~= '' and runs.node_of(run, id)
    if id == '' then
      runs.take_back(run, id, where)
      run.closed[#run.closed + 1] = ''
    elseif node and not runs.ENDED[node.st] then
      if runs.take_back(run, id, where) then
        run.stopped.queued = run.stopped.queued + 1
        runs.finish(run, id, 'cancelled', {took = '-'})
      else
        run.stopped.running = run.stopped.running + 1
      end
    end
  end
  run.work, run.ready, run.cursors, run.todo = {}, {}, {'cancel\t\t1'}, 0
  run.drop_todo, run.drop_ready = true, true
  if run.running > 0 then run.timers[#run.timers + 1] = {'', 'stop', runs.clock() + STOP_MS, 0} end
end

-- What a worker still holds counts no longer, whether it can be reached or not.
function runs.end_held(run)
  local open = redis.call('HGETALL', run.base .. ':open')
  for i = 1, #open, 2 do
    local node = open[i] ~= '' and runs.node_of(run, open[i])
    if node and not runs.ENDED[node.st] then
      local stream, entry = string.match(open[i + 1], '^(.*) (%S+)$')
      if stream then run.removed[#run.removed + 1] = {stream, entry} end
      runs.finish(run, open[i], 'cancelled', {took = '-'})
    end
  end
end

-- Write the nodes that never began as cancelled, from *from* on.
function runs.cancel_rest(run, from)
  local ids = runs.split(redis.call('HGET', run.base, 'ids') or '', '\t')
  local at = from
  while at <= #ids and run.ops < MOST do
    local slice = {}
    for i = at, math.min(at + 499, #ids) do slice[#slice + 1] = {ids[i]} end
    runs.prefetch(run, slice, 1)
    for _, one in ipairs(slice) do
      local node = runs.node_of(run, one[1])
      if not node or node.st == 'ready' then runs.finish(run, one[1], 'cancelled', {took = '-'}) end
    end
    at = at + #slice
  end
  if at <= #ids then run.cursors[#run.cursors + 1] = 'cancel\t\t' .. at end
end

-- The nodes without incoming edges are ready, from *from* on.
function runs.ready_roots(run, from)
  local roots = runs.split(run.roots or redis.call('HGET', run.base, 'roots'), '\t')
  for i = from, #roots do
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = 'roots\t\t' .. i
      return
    end
    runs.make_ready(run, roots[i])
  end
end

-- Go on where earlier calls had to stop.
function runs.resume_cursors(run)
  local cursors = run.cursors
  run.cursors = {}
  for _, cursor in ipairs(cursors) do
    local kind, id, at = string.match(cursor, '^(%a+)\t([^\t]*)\t(%d+)$')
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = cursor
    elseif kind == 'cancel' then
      runs.cancel_rest(run, tonumber(at))
    elseif run.stopping == '' then
      if kind == 'edges' then
        runs.decide_edges(run, id, tonumber(at))
      elseif kind == 'root' then
        runs.make_ready(run, id)
      elseif kind == 'roots' then
        runs.ready_roots(run, tonumber(at))
      elseif kind == 'node' then
        run.work[#run.work + 1] = id
      end
    end
  end
end

-- Decide everything anew behind *ended* nodes, which keep their ends and the edges they took; *ids*: all nodes.
function runs.begin_anew(run, ended, ids)
  redis.call('UNLINK', run.base .. ':joins')
  local kept = {}
  for _, id in ipairs(ended) do kept[id] = true end
  run.cursors, run.ready, run.backlog, run.drop_ready = {}, {}, 0, true
  for _, id in ipairs(ids) do
    if not kept[id] and runs.place_of(run, id).edges == 0 then run.cursors[#run.cursors + 1] = 'root\t' .. id .. '\t1' end
  end
  for _, id in ipairs(ended) do run.cursors[#run.cursors + 1] = 'edges\t' .. id .. '\t1' end
  runs.resume_cursors(run)
end
