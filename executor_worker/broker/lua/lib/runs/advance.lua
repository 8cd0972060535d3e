-- The transitions of a run: what follows when a node ends. Nothing is written here, see write.lua; `graph/advance.py`
-- does the same over Python's values, and a test compares both.

local EDGES_READ = 100 -- at once
local QUEUED = 100 -- nodes that a call queues

-- The first node of it begins.
function runs.begin_run(run)
  if run.started > 0 or run.status ~= 'submitted' then return end
  run.started, run.status = runs.clock(), 'running'
  runs.log_run(run, 'graph.started', '{}')
end

function runs.set(run, id, node)
  run.nodes[id] = node
  run.changed[id] = true
  run.ops = run.ops + 1
end

function runs.make_ready(run, id)
  run.ops = run.ops + 1 -- its place is read too
  runs.set(run, id, {st = 'ready', at = 1, r = run.seq, e = 0, q = '0', s = '0', d = '0', took = '-', rest = ''})
  runs.close_join(run, id)
  if runs.place_of(run, id).inline == 'w' then
    run.ready[#run.ready + 1] = id
  else
    run.work[#run.work + 1] = id
  end
end

-- End a node. *about*: {took, output or false, error and metadata each behind a line's end, data of its event, mirror, tail,
-- told: the output between those where it is not stored}.
function runs.finish(run, id, status, about)
  local node = runs.node_of(run, id) or {at = 0, r = run.seq, q = '0', s = '0'}
  if node.st == 'running' then run.running = run.running - 1 end
  if node.st == 'queued' or node.st == 'running' or node.st == 'waiting' then
    run.slots = run.slots - 1
    run.closed[#run.closed + 1] = id
  end
  node.st, node.took, node.rest, node.d = status, about.took, about.rest or '', runs.now()
  runs.log(run, 'node.' .. status, id, about.data or '{}', about.stream, about.mirror, about.told or about.output, about.tail)
  node.e = run.seq
  runs.set(run, id, node)
  runs.close_join(run, id)
  if about.output then run.outputs[id] = about.output end
  run.left = run.left - 1
  run[status] = run[status] + 1
  run.now_ended[#run.now_ended + 1] = id
end

function runs.skip(run, id, reason)
  runs.finish(run, id, 'skipped', {took = '-', data = '{"reason":' .. runs.quoted(reason) .. '}'})
  run.work[#run.work + 1] = id
end

-- One edge is decided: taken ('1'), not taken ('0') or dead ('x').
function runs.decide(run, source, edge, taken)
  local id, need, edges = edge[1], edge[2], edge[3]
  run.ops = run.ops + 1
  if runs.node_of(run, id) then return end
  local join = runs.join_of(run, id, edges)
  join.open = join.open - 1
  if taken == '1' then join.taken = join.taken + 1 end
  run.joined[id] = 'kept'
  if need > 0 then
    if join.taken >= need then return runs.make_ready(run, id) end
    if join.taken + join.open < need then return runs.skip(run, id, 'no edge to it was taken, or too few') end
  elseif taken == 'x' then
    runs.skip(run, id, source .. ' failed')
  elseif join.open == 0 then
    if join.taken > 0 then return runs.make_ready(run, id) end
    runs.skip(run, id, 'no edge to it was taken')
  end
end

-- The edges of an ended node are decided, from number *from* on, which stands at byte *at* of its place.
function runs.decide_edges(run, id, from, at)
  local took, place, out = runs.node_of(run, id).took, runs.place_of(run, id), nil
  at = at or place.at
  while at <= #place.raw do
    out, at = runs.edges_from(place, at, EDGES_READ)
    local targets = {}
    for i, edge in ipairs(out) do targets[i] = edge[1] end
    runs.prefetch(run, targets)
    for i, edge in ipairs(out) do
      if run.ops >= runs.most_ops then
        run.cursors[#run.cursors + 1] = 'edges\t' .. id .. '\t' .. from .. '\t' .. edge[4]
        return
      end
      local taken = string.sub(took, from, from)
      if took == '*' then taken = '1' elseif took == '-' then taken = '0' elseif took == 'x' then taken = 'x' end
      runs.decide(run, id, edge, taken)
      from = from + 1
    end
  end
end

-- Whether one of the nodes that a decision was made without had ended before the node became ready.
function runs.outdated(run, ready, assumed)
  for _, id in ipairs(assumed) do
    local node = runs.node_of(run, id)
    if node and runs.ENDED[node.st] and node.e <= ready then return true end
  end
  return false
end

-- An output as it is stored, a start's is the inputs; and its bytes, 0 where there is none.
function runs.output_text(run, id)
  local text = run.outputs[id] or run.known[id] or redis.call('HGET', run.outputs_key, id)
  if text or runs.place_of(run, id).kind ~= 'start' then return text end
  run.inputs = run.inputs or redis.call('HGET', run.base, 'inputs') or '{}'
  return run.inputs
end

function runs.stored_size(run, id)
  local known = run.outputs[id]
  return known and #known or redis.call('HSTRLEN', run.outputs_key, id)
end

function runs.output_size(run, id)
  local size = runs.stored_size(run, id)
  return size == 0 and #(runs.output_text(run, id) or '') or size
end

-- The nodes that led to an end, whose outputs are its own.
function runs.led_to(run, id)
  local place, led, names = runs.place_of(run, id), {}, {}
  if place.kind == 'start' then return {id} end
  local sources = runs.split(place.names, '\t')
  for i = 1, #sources, 2 do names[#names + 1] = sources[i] end
  runs.prefetch(run, names)
  for i, source in ipairs(names) do
    local one, at = runs.node_of(run, source), tonumber(sources[2 * i])
    if one and runs.ENDED[one.st] and (one.took == '*' or string.sub(one.took, at, at) == '1') and not names[source] then
      led[#led + 1], names[source] = source, true -- once, however many edges lead there
    end
  end
  local only = #led == 1 and runs.output_size(run, led[1]) == 0 and runs.place_of(run, led[1]).kind == 'end'
  return only and runs.led_to(run, led[1]) or led
end

-- What a start or an end has for output is not stored twice: it is laid into *parts*, text by text. Answers its bytes, nil
-- where it has none; where it has more than *most* nothing is laid in.
function runs.derive(run, id, parts, most)
  local kind = runs.place_of(run, id).kind
  if kind ~= 'start' and kind ~= 'end' then return nil end
  local led, before = runs.led_to(run, id), {}
  local size = #led > 1 and 1 or 0
  for i, source in ipairs(led) do
    local own = runs.output_size(run, source)
    size = size + (own > 0 and own or 4)
    if #led > 1 then
      before[i] = (i > 1 and ',' or '{') .. runs.quoted(source) .. ':'
      size = size + #before[i]
    end
  end
  if size > most then return size end
  for i, source in ipairs(led) do
    parts[#parts + 1] = before[i]
    parts[#parts + 1] = runs.output_text(run, source) or 'null'
  end
  if #led > 1 then parts[#parts + 1] = '}' end
  return #led > 0 and size or nil
end

-- For who decides: *lines* and those of the nodes that have ended in this very call, each a node, its status, and its output
-- where it was made here.
function runs.ended_here(run, lines)
  for _, id in ipairs(run.now_ended) do
    lines[#lines + 1] = id .. '\t' .. runs.node_of(run, id).st .. '\t' .. (run.derived[id] or '')
  end
  return table.concat(lines, '\n')
end

-- An output that is told again with the event of a start or an end; of larger ones, which were told, only the bytes are.
local TOLD_AGAIN = 524288

-- A node that needs no worker is ready: it is done here if it was decided, else the caller has to decide it first.
function runs.do_inline(run, id)
  local node, place, decision = runs.node_of(run, id), runs.place_of(run, id), run.given[id]
  local stored, parts = place.inline == 's', {}
  runs.begin_run(run)
  local size = place.inline ~= 'i' and not decision and runs.derive(run, id, parts, TOLD_AGAIN)
  if place.inline == 'a' or stored and not decision and (size or 0) <= TOLD_AGAIN then
    local output, kind, name = parts[1] and table.concat(parts) or 'null', runs.quoted(place.kind), runs.quoted(id)
    run.derived[id] = stored and output
    return runs.finish(run, id, 'completed', {
      output = stored and output, told = output, took = '*', data = '{"mode":' .. kind .. '}', stream = COMPLETED_STREAM,
      mirror = '"type":"node.completed","graph_id":' .. run.quoted .. ',"execution_id":' .. run.quoted .. ',"node_id":' .. name
        .. ',"data":{"graph_id":' .. run.quoted .. ',"node_id":' .. name .. ',"output":',
      tail = (size and not parts[1] and ',"output_bytes":' .. size or '') .. ',"mode":' .. kind .. '}}',
    })
  end
  if not decision or runs.outdated(run, node.r, decision.assumed) then
    local own = {}
    if place.kind == 'end' then own[1] = id .. '\tled\t' .. cjson.encode(runs.led_to(run, id)) end
    run.judge[#run.judge + 1] = {id, runs.ended_here(run, own)}
    return
  end
  for _, event in ipairs(decision.events) do runs.log(run, event[1], id, event[2]) end
  runs.finish(run, id, decision.status, decision)
end

-- What follows from a node's end: its edges, or the end of the run it had to hold for.
function runs.follow(run, id)
  local node = runs.node_of(run, id)
  if not runs.ENDED[node.st] then return end -- it waits for its decision
  if node.st == 'failed' and not runs.place_of(run, id).handled then
    if run.error == '' then
      local message, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
      local code = string.match(metadata or '', '"error_code":("[^"]*")')
      run.error = '{"node_id":' .. runs.quoted(id) .. ',"error":' .. (message or 'null') .. ',"error_code":' .. (code or 'null') .. '}'
    end
    if run.failure ~= 'finish' then
      runs.begin_stop(run, 'failed')
      return
    end
    node.took = 'x'
  end
  runs.decide_edges(run, id, 1)
end

function runs.work_off(run)
  while #run.work > 0 do
    local id = table.remove(run.work)
    if run.stopping ~= '' then
      run.work = {}
      return
    end
    if run.ops >= runs.most_ops then
      run.cursors[#run.cursors + 1] = 'node\t' .. id .. '\t1'
    else
      if runs.node_of(run, id).st == 'ready' then runs.do_inline(run, id) end
      runs.follow(run, id)
    end
  end
end

function runs.enqueue(run, id)
  local node = runs.node_of(run, id)
  node.st, node.q = 'queued', runs.now()
  runs.set(run, id, node)
  run.slots = run.slots + 1
  run.queue[#run.queue + 1] = id
  runs.log(run, 'node.queued', id, '{"attempt":' .. node.at .. '}')
end

-- Queue what is ready, the oldest first, as far as the run's window is open.
function runs.pump(run)
  local open = (run.held == '1' or run.stopping ~= '') and 0 or run.window - run.slots
  local room = math.min(open, QUEUED)
  run.popped = 0
  if room > 0 and run.backlog > 0 then
    local key = run.base .. ':ready'
    local oldest = redis.call('LRANGE', key, 0, room - 1)
    held[key] = 'list'
    if #oldest > 1 then
      runs.prefetch(run, oldest)
      runs.prefetch_places(run, oldest)
    end
    for _, id in ipairs(oldest) do runs.enqueue(run, id) end
    run.popped = #oldest
    room = room - run.popped
  end
  local rest = {}
  for _, id in ipairs(run.ready) do
    if room > 0 and run.backlog == run.popped then
      runs.enqueue(run, id)
      room = room - 1
    else
      rest[#rest + 1] = id
    end
  end
  run.ready = rest
  if open > QUEUED and room == 0 and (#rest > 0 or run.backlog > run.popped) then
    run.cursors[#run.cursors + 1] = 'pump\t\t1'
  end
end

-- All that follows from what was put into `work` and `cursors`; afterwards write.lua may write.
function runs.settle_down(run)
  runs.work_off(run)
  runs.pump(run)
  if runs.is_over(run) then runs.has_to_document(run) end
end
