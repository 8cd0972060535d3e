-- The transitions of a run: what follows when a node ends. Nothing is written here, see write.lua; `graph/advance.py`
-- does the same over Python's values, and a test compares both.

local decide_edges

-- The first node of it begins.
local function begin_run(run)
  if run.started > 0 or run.status ~= 'submitted' then return end
  run.started, run.status = clock(), 'running'
  log_run(run, 'graph.started', '{}')
end

local function set(run, id, node)
  run.nodes[id] = node
  run.changed[id] = true
  run.ops = run.ops + 1
end

local function make_ready(run, id)
  run.ops = run.ops + 1 -- its place is read too
  set(run, id, {st = 'ready', at = 1, r = run.seq, e = 0, q = 0, s = 0, d = 0, took = '-', rest = ''})
  close_join(run, id)
  if place_of(run, id).inline == 'w' then
    run.ready[#run.ready + 1] = id
  else
    run.work[#run.work + 1] = id
  end
end

-- End a node. *about*: {took, output or false, error and metadata each behind a line's end, data of its event, mirror}.
local function finish(run, id, status, about)
  local node = node_of(run, id) or {at = 0, r = run.seq, q = 0, s = 0}
  if node.st == 'running' then run.running = run.running - 1 end
  if node.st == 'queued' or node.st == 'running' or node.st == 'waiting' then
    run.slots = run.slots - 1
    run.closed[#run.closed + 1] = id
  end
  node.st, node.took, node.rest, node.d = status, about.took, about.rest or '', clock()
  log(run, 'node.' .. status, id, about.data or '{}', about.stream, about.mirror)
  node.e = run.seq
  set(run, id, node)
  close_join(run, id)
  if about.output then run.outputs[id] = about.output end
  run.left = run.left - 1
  run[status] = run[status] + 1
  run.now_ended[#run.now_ended + 1] = id
end

local function skip(run, id, reason)
  finish(run, id, 'skipped', {took = '-', data = '{"reason":' .. quoted(reason) .. '}'})
  run.work[#run.work + 1] = id
end

-- One edge is decided: taken ('1'), not taken ('0') or dead ('x').
local function decide(run, source, edge, taken)
  local id, need, edges = edge[1], edge[2], edge[3]
  run.ops = run.ops + 1
  if node_of(run, id) then return end
  local join = join_of(run, id, edges)
  join.open = join.open - 1
  if taken == '1' then join.taken = join.taken + 1 end
  run.joined[id] = 'kept'
  if need > 0 then
    if join.taken >= need then return make_ready(run, id) end
    if join.taken + join.open < need then return skip(run, id, 'no edge to it was taken, or too few') end
  elseif taken == 'x' then
    skip(run, id, source .. ' failed')
  elseif join.open == 0 then
    if join.taken > 0 then return make_ready(run, id) end
    skip(run, id, 'no edge to it was taken')
  end
end

function decide_edges(run, id, from)
  local took, out = node_of(run, id).took, out_of(place_of(run, id))
  prefetch(run, out, from)
  for i = from, #out do
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = 'edges\t' .. id .. '\t' .. i
      return
    end
    local taken = string.sub(took, i, i)
    if took == '*' then taken = '1' elseif took == '-' then taken = '0' elseif took == 'x' then taken = 'x' end
    decide(run, id, out[i], taken)
  end
end

-- Whether one of the nodes that a decision was made without had ended before the node became ready.
local function outdated(run, ready, assumed)
  for _, id in ipairs(assumed) do
    local node = node_of(run, id)
    if node and ENDED[node.st] and node.e <= ready then return true end
  end
  return false
end

local function output_text(run, id)
  return run.outputs[id] or redis.call('HGET', run.base .. ':outputs', id)
end

-- What a start or an end has for output is not stored twice: the inputs, or the outputs that led to it.
local derived_output
function derived_output(run, id, place)
  if place.kind == 'start' then return run.was.inputs or redis.call('HGET', run.base, 'inputs') or '{}' end
  if place.kind ~= 'end' then return nil end
  local led = {}
  local sources = split(place.names, '\t')
  for i = 1, #sources, 2 do
    local source, at = sources[i], tonumber(sources[i + 1])
    local one = node_of(run, source)
    if one and ENDED[one.st] and (one.took == '*' or string.sub(one.took, at, at) == '1') then led[#led + 1] = source end
  end
  if #led == 1 then return output_text(run, led[1]) or derived_output(run, led[1], place_of(run, led[1])) end
  local parts = {}
  for i, source in ipairs(led) do parts[i] = quoted(source) .. ':' .. (output_text(run, source) or 'null') end
  return #led > 0 and '{' .. table.concat(parts, ',') .. '}' or nil
end

-- A node that needs no worker is ready: it is done here if it was decided, else the caller has to decide it first.
local function do_inline(run, id)
  local node, place = node_of(run, id), place_of(run, id)
  begin_run(run)
  if place.inline == 'a' then
    local output = derived_output(run, id, place) or 'null'
    local about = {
      took = '*', data = '{"mode":' .. quoted(place.kind) .. '}', stream = COMPLETED_STREAM,
      mirror = '"type":"node.completed","graph_id":' .. quoted(run.id) .. ',"execution_id":' .. quoted(run.id)
        .. ',"node_id":' .. quoted(id) .. ',"data":{"graph_id":' .. quoted(run.id) .. ',"node_id":' .. quoted(id)
        .. ',"output":' .. output .. ',"mode":' .. quoted(place.kind) .. '}}',
    }
    return finish(run, id, 'completed', about)
  end
  local decision = run.given[id]
  if not decision or outdated(run, node.r, decision.assumed) then
    run.judge[#run.judge + 1] = {id, table.concat(run.now_ended, '\t')}
    return
  end
  for _, event in ipairs(decision.events) do log(run, event[1], id, event[2]) end
  finish(run, id, decision.status, decision)
end

local begin_stop

-- What follows from a node's end: its edges, or the end of the run it had to hold for.
local function follow(run, id)
  local node = node_of(run, id)
  if not ENDED[node.st] then return end -- it waits for its decision
  if node.st == 'failed' and not place_of(run, id).handled then
    if run.error == '' then
      local message, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
      local code = string.match(metadata or '', '"error_code":("[^"]*")')
      run.error = '{"node_id":' .. quoted(id) .. ',"error":' .. (message or 'null') .. ',"error_code":' .. (code or 'null') .. '}'
    end
    if run.was.failure ~= 'finish' then
      begin_stop(run, 'failed')
      return
    end
    node.took = 'x'
  end
  decide_edges(run, id, 1)
end

local function work_off(run)
  while #run.work > 0 do
    local id = table.remove(run.work)
    if run.stopping ~= '' then
      run.work = {}
      return
    end
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = 'node\t' .. id .. '\t1'
    else
      if node_of(run, id).st == 'ready' then do_inline(run, id) end
      follow(run, id)
    end
  end
end

local function enqueue(run, id)
  local node = node_of(run, id)
  node.st, node.q = 'queued', clock()
  set(run, id, node)
  run.slots = run.slots + 1
  run.queue[#run.queue + 1] = id
  log(run, 'node.queued', id, '{"attempt":' .. node.at .. '}')
end

-- Queue a node again that had been queued before, with the attempt it is at.
local function requeue(run, id)
  if run.held == '1' then
    local node = node_of(run, id)
    node.st = 'ready'
    set(run, id, node)
    run.ready[#run.ready + 1] = id
  else
    enqueue(run, id)
  end
end

-- Queue what is ready, the oldest first, as far as the run's window is open.
local function pump(run)
  local room = (run.held == '1' or run.stopping ~= '') and 0 or run.window - run.slots
  run.popped = 0
  if room > 0 and run.backlog > 0 then
    for _, id in ipairs(redis.call('LRANGE', run.base .. ':ready', 0, room - 1)) do
      run.popped = run.popped + 1
      enqueue(run, id)
    end
    room = room - run.popped
  end
  local rest = {}
  for _, id in ipairs(run.ready) do
    if room > 0 and run.backlog == run.popped then
      enqueue(run, id)
      room = room - 1
    else
      rest[#rest + 1] = id
    end
  end
  run.ready = rest
end

-- The place of a queued, parked or given back node is taken from it at once; what a worker holds is not. A step's ('')
-- always is: whoever holds it finds nothing left to do.
local function take_back(run, id, where)
  local stream, entry = string.match(where, '^(.*) (%S+)$')
  if not stream then return true end -- it waits for a time
  local rows = redis.pcall('XPENDING', stream, GROUP, entry, entry, 1)
  local row = not rows.err and rows[1]
  local node = id ~= '' and node_of(run, id)
  if row and row[3] < GIVEN_BACK_MS and node and node.st == 'running' then return false end
  run.removed[#run.removed + 1] = {stream, entry}
  return true
end

-- From now on nothing starts. *why*: cancelled, failed or timeout.
function begin_stop(run, why)
  run.stopping = why
  run.stopped = {queued = 0, running = 0}
  if why == 'cancelled' then run.status = 'cancelled' end
  local open = redis.call('HGETALL', run.base .. ':open')
  for i = 1, #open, 2 do
    local id, where = open[i], open[i + 1]
    local node = id ~= '' and node_of(run, id)
    if id == '' then
      take_back(run, id, where)
      run.closed[#run.closed + 1] = ''
    elseif node and not ENDED[node.st] then
      if take_back(run, id, where) then
        run.stopped.queued = run.stopped.queued + 1
        finish(run, id, 'cancelled', {took = '-'})
      else
        run.stopped.running = run.stopped.running + 1
      end
    end
  end
  run.work, run.ready, run.cursors, run.todo = {}, {}, {'cancel\t\t1'}, 0
  run.drop_todo, run.drop_ready = true, true
  if run.running > 0 then run.timers[#run.timers + 1] = {'', 'stop', clock() + STOP_MS, 0} end
end

-- What a worker still holds counts no longer, whether it can be reached or not.
local function end_held(run)
  local open = redis.call('HGETALL', run.base .. ':open')
  for i = 1, #open, 2 do
    local node = open[i] ~= '' and node_of(run, open[i])
    if node and not ENDED[node.st] then
      local stream, entry = string.match(open[i + 1], '^(.*) (%S+)$')
      if stream then run.removed[#run.removed + 1] = {stream, entry} end
      finish(run, open[i], 'cancelled', {took = '-'})
    end
  end
end

-- Write the nodes that never began as cancelled, from *from* on.
local function cancel_rest(run, from)
  local ids = split(redis.call('HGET', run.base, 'ids') or '', '\t')
  local at = from
  while at <= #ids and run.ops < MOST do
    local slice = {}
    for i = at, math.min(at + 499, #ids) do slice[#slice + 1] = {ids[i]} end
    prefetch(run, slice, 1)
    for _, one in ipairs(slice) do
      local node = node_of(run, one[1])
      if not node or node.st == 'ready' then finish(run, one[1], 'cancelled', {took = '-'}) end
    end
    at = at + #slice
  end
  if at <= #ids then run.cursors[#run.cursors + 1] = 'cancel\t\t' .. at end
end

-- The nodes without incoming edges are ready, from *from* on.
local function ready_roots(run, from)
  local roots = split(run.was.roots or redis.call('HGET', run.base, 'roots'), '\t')
  for i = from, #roots do
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = 'roots\t\t' .. i
      return
    end
    make_ready(run, roots[i])
  end
end

-- Go on where earlier calls had to stop.
local function resume_cursors(run)
  local cursors = run.cursors
  run.cursors = {}
  for _, cursor in ipairs(cursors) do
    local kind, id, at = string.match(cursor, '^(%a+)\t([^\t]*)\t(%d+)$')
    if run.ops >= MOST then
      run.cursors[#run.cursors + 1] = cursor
    elseif kind == 'cancel' then
      cancel_rest(run, tonumber(at))
    elseif run.stopping == '' then
      if kind == 'edges' then
        decide_edges(run, id, tonumber(at))
      elseif kind == 'root' then
        make_ready(run, id)
      elseif kind == 'roots' then
        ready_roots(run, tonumber(at))
      elseif kind == 'node' then
        run.work[#run.work + 1] = id
      end
    end
  end
end

-- Decide everything anew behind *ended* nodes, which keep their ends and the edges they took; *ids*: all nodes.
local function begin_anew(run, ended, ids)
  redis.call('UNLINK', run.base .. ':joins')
  local kept = {}
  for _, id in ipairs(ended) do kept[id] = true end
  run.cursors, run.ready, run.backlog, run.drop_ready = {}, {}, 0, true
  for _, id in ipairs(ids) do
    if not kept[id] and place_of(run, id).edges == 0 then run.cursors[#run.cursors + 1] = 'root\t' .. id .. '\t1' end
  end
  for _, id in ipairs(ended) do run.cursors[#run.cursors + 1] = 'edges\t' .. id .. '\t1' end
  resume_cursors(run)
end

-- All that follows from what was put into `work` and `cursors`; afterwards write.lua may write.
local function settle_down(run)
  work_off(run)
  if run.stopping ~= '' and #run.cursors > 0 then resume_cursors(run) end
  pump(run)
end
