-- Write what a run's transitions have changed. Used after advance.lua.

function runs.is_over(run)
  if runs.OVER[run.was[14]] and (run.was[15] or '') == '' or run.todo + #run.cursors > 0 then return false end
  if run.stopping ~= '' then return run.running == 0 end
  return run.left == 0
end

function runs.write_queue(run)
  for _, id in ipairs(run.queue) do
    local place, node = runs.place_of(run, id), run.nodes[id]
    local stream = place.queue == '' and 'executor.work' or 'executor.work:' .. place.queue
    local entry = redis.call('XADD', stream, '*', 'data', '{"graph_id":"' .. run.id .. '","run":{"v":' .. run.v
      .. ',"epoch":' .. run.epoch .. ',"attempt":' .. node.at .. '},"node_type":"' .. place.kind .. '","node_id":'
      .. runs.quoted(id) .. '}')
    if place.queue ~= '' then redis.call('SADD', QUEUES, place.queue) end
    run.opened[id] = stream .. ' ' .. entry
  end
end

-- The counters of joins.
function runs.write_joins(run)
  local kept, gone = {}, {}
  for id, what in pairs(run.joined) do
    if what == 'gone' then
      gone[#gone + 1] = id
    elseif what == 'kept' then
      kept[#kept + 1] = id
      kept[#kept + 1] = run.joins[id].open .. ' ' .. run.joins[id].taken
    end
  end
  runs.sliced('HSET', run.joins_key, kept)
  runs.sliced('HDEL', run.joins_key, gone)
end

function runs.write_nodes(run)
  local fields, outputs = {}, {}
  for id in pairs(run.changed) do
    fields[#fields + 1] = id
    fields[#fields + 1] = runs.node_text(run.nodes[id])
  end
  runs.sliced('HSET', run.nodes_key, fields)
  if next(run.joined) then runs.write_joins(run) end
  for id, output in pairs(run.outputs) do
    outputs[#outputs + 1] = id
    outputs[#outputs + 1] = output
  end
  runs.sliced('HSET', run.outputs_key, outputs)
end

-- What is left to do. Whoever leaves the first of it asks for a step; *step_open*: see step.lua.
function runs.write_cursors(run)
  local stepping = run.step_open or run.step_open == nil and run.todo > 0
  if run.drop_todo then
    redis.call('UNLINK', run.base .. ':todo')
  elseif run.trimmed then
    redis.call('LTRIM', run.base .. ':todo', run.trimmed, -1)
  end
  if #run.cursors > 0 then
    runs.sliced('RPUSH', run.base .. ':todo', run.cursors)
    run.todo = run.todo + #run.cursors
  end
  if (run.todo > 0 and not stepping) or run.waiting_step then run.opened[''] = runs.push_step(run, 'step') end
end

function runs.write_log(run)
  runs.sliced('RPUSH', run.log_key, run.events)
  for _, event in ipairs(run.mirrored) do redis.call('XADD', event[1], '*', 'data', event[2]) end
  redis.pcall('PUBLISH', run.shard .. 'live:' .. run.id, runs.int(run.seq))
end

function runs.write_head(run)
  local words = runs.changed_head(run)
  if #words > 0 then redis.call('HSET', run.base, unpack(words)) end
end

-- Refuse what would be refused in the middle of writing, see types.lua. *over*: the run ends with it.
function runs.must_be_writable(run, over)
  local base, shard = run.base, run.shard
  must_hold('hash', run.nodes_key, run.open_key)
  must_hold('list', run.log_key)
  if over or next(run.joined) then must_hold('hash', run.joins_key) end
  if over or next(run.outputs) then must_hold('hash', run.outputs_key) end
  if #run.ready > 0 or run.popped > 0 then must_hold('list', base .. ':ready') end
  if #run.cursors > 0 or run.trimmed then must_hold('list', base .. ':todo') end
  if over or run.todo + #run.cursors > 0 or run.waiting_step then must_hold('stream', shard .. 'steps') end
  if run.page then must_hold('string', base .. ':document', base .. ':sinks') end
  if #run.timers > 0 then must_hold('zset', shard .. 'timers') end
  if over then
    runs.must_be_endable(run)
  elseif run.had_slots == 0 then
    must_hold('zset', shard .. 'looks')
  end
  for _, event in ipairs(run.mirrored) do must_hold('stream', event[1]) end
  for _, id in ipairs(run.queue) do
    local queue = runs.place_of(run, id).queue
    must_hold('stream', queue == '' and 'executor.work' or 'executor.work:' .. queue)
  end
  for _, one in ipairs(run.removed) do must_hold('hash', one[1] .. UNCOUNTED, PARKED) end
end

-- Write entries, and what is ready behind them. Answers whether the run is over.
function runs.write_entries(run)
  local over = runs.is_over(run)
  if over then
    run.left, run.drop_ready = 0, true
    runs.log_end(run)
  end
  runs.must_be_writable(run, over)
  if run.page then runs.write_page(run) end
  if #run.removed > 0 then runs.write_removed(run) end
  if #run.forgotten > 0 then runs.sliced('HDEL', run.nodes_key, run.forgotten) end
  runs.write_queue(run)
  if run.drop_ready then
    redis.call('UNLINK', run.base .. ':ready')
    run.backlog = 0
  elseif run.popped and run.popped > 0 then
    redis.call('LTRIM', run.base .. ':ready', run.popped, -1)
    run.backlog = run.backlog - run.popped
  end
  if #run.ready > 0 then runs.sliced('RPUSH', run.base .. ':ready', run.ready) end
  run.backlog = run.backlog + #run.ready
  runs.write_cursors(run)
  return over
end

-- Write the rest: what nodes have come to, the log, the head, and the run's end.
function runs.write_states(run, over, output)
  runs.write_nodes(run)
  local opened = {}
  for _, id in ipairs(run.queue) do
    opened[#opened + 1] = id
    opened[#opened + 1] = run.opened[id]
  end
  if run.opened[''] then
    opened[#opened + 1] = ''
    opened[#opened + 1] = run.opened['']
  end
  for _, id in ipairs(run.waiting) do
    opened[#opened + 1] = id
    opened[#opened + 1] = '-'
  end
  if #run.closed > 0 then runs.sliced('HDEL', run.open_key, run.closed) end
  runs.sliced('HSET', run.open_key, opened)
  if #run.events > 0 then runs.write_log(run) end
  runs.write_head(run)
  for _, timer in ipairs(run.timers) do
    redis.call('ZADD', run.shard .. 'timers', runs.int(timer[3]),
      run.id .. '\t' .. timer[1] .. '\t' .. timer[2] .. '\t' .. run.epoch .. '\t' .. timer[4])
    redis.pcall('PUBLISH', run.shard .. 'timers', runs.int(timer[3] - runs.clock()))
  end
  if over then
    runs.write_end(run, output)
  elseif #opened > 0 and run.had_slots == 0 then
    redis.call('ZADD', run.shard .. 'looks', 'NX', runs.int(runs.clock() + LOOK_MS), run.id)
  end
end

-- Write all that has changed. *output*: what the run's own template gave, where it has one and is over.
function runs.write(run, output)
  runs.write_states(run, runs.write_entries(run), output)
end

-- Write all that has changed around *take*, which may start another node of the run: what is queued before it, the rest
-- with what it has changed. Answers what *take* does.
function runs.write_around(run, output, take)
  local over = runs.write_entries(run)
  if over then
    runs.write_states(run, over, output)
    return take()
  end
  must_hold('stream', GRAPH_EVENTS)
  runs.deferred = run
  local taken = take()
  runs.deferred = false
  runs.write_states(run, false)
  return taken
end

-- Whether all that is needed is decided: else what is not, for the caller to decide and ask again.
local LATER = '\0' -- for an output: the caller can't make it, a worker will
function runs.undecided(run, output)
  local names = {}
  for _, one in ipairs(run.judge) do
    names[#names + 1] = one[1]
    names[#names + 1] = one[2]
  end
  if run.has_output and run.left == 0 and run.stopping == '' and run.error == '' and runs.is_over(run) then
    if output == LATER then
      run.cursors[1] = 'end\t\t1'
    elseif #names == 0 and not output then
      names = {'', runs.ended_here(run, {})}
    end
  end
  return #names > 0 and names
end
