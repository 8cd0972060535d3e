-- The end of a run: its last event, its state document, how long it is kept. Used after write.lua.

local DOCUMENT_MOST = 1048576 -- bytes of a state document that is written with the run's end
local DOCUMENT_NODES = 100 -- of it that are written at once

function runs.expire_all(run)
  local ttl = runs.int(run.ttl_ms)
  for _, part in ipairs({'', ':plan', ':edges', ':nodes', ':outputs', ':log', ':journals'}) do
    redis.call('PEXPIRE', run.base .. part, ttl)
  end
  for _, journal in ipairs(redis.call('LRANGE', run.base .. ':journals', 0, 999)) do
    redis.call('PEXPIRE', journal, ttl)
  end
  local base = run.base
  redis.call('UNLINK', base .. ':joins', base .. ':open', base .. ':ready', base .. ':todo', base .. ':document', base .. ':sinks')
end

function runs.time_or_null(ms) return ms ~= '0' and '"' .. runs.rfc3339(ms) .. '"' or 'null' end

-- Texts are laid into *parts* and put together at once: each string that is made on the way costs by its length.
function runs.add_state(parts, id, node, output)
  local began = node.s == '0' and (node.st == 'completed' or node.st == 'failed') and node.d or node.s
  local err, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
  local name, count = runs.quoted(id), #parts
  parts[count + 1] = name .. ':{"node_id":' .. name .. ',"status":"' .. node.st .. '","output":'
  parts[count + 2] = output or 'null'
  parts[count + 3] = ',"error":' .. (err or 'null') .. ',"started_at":' .. runs.time_or_null(began)
    .. ',"completed_at":' .. runs.time_or_null(node.d) .. ',"metadata":' .. (metadata or '{}') .. '}'
end

-- Add the states of some nodes to *parts* of the document, from byte *at* of the run's ids on. Answers the outputs of those
-- that are the run's own too, where it has several, and the byte of the rest; nil where they take more than *room* bytes.
function runs.add_states(run, parts, at, room)
  local ids, rest = runs.page(run.ids, '\t', at, DOCUMENT_NODES)
  local sinks = {}
  local several = run.over_as == 'completed' and not run.has_output and string.find(run.sinks, '\t', 1, true)
  if several then runs.prefetch_places(run, ids) end
  runs.prefetch(run, ids)
  for _, id in ipairs(ids) do room = room - redis.call('HSTRLEN', run.outputs_key, id) end
  if room < 0 then return nil end
  local outputs = redis.call('HMGET', run.outputs_key, unpack(ids))
  for i, id in ipairs(ids) do
    local node, output = runs.node_of(run, id), run.outputs[id] or outputs[i]
    node = node or {st = run.over_as == 'cancelled' and 'cancelled' or 'pending', s = '0', d = '0', rest = ''}
    local place = several and runs.place_of(run, id)
    if node.st == 'completed' then
      output = output or runs.derived_output(run, id, runs.place_of(run, id))
      if place and place.at > #place.raw then sinks[#sinks + 1] = runs.quoted(id) .. ':' .. (output or 'null') end
    end
    if i > 1 then parts[#parts + 1] = ',' end
    runs.add_state(parts, id, node, output)
  end
  return table.concat(sinks, ','), rest
end

function runs.ended_as(run)
  return run.stopping == 'cancelled' and 'cancelled' or run.error ~= '' and 'failed' or 'completed'
end

-- What of the head the document is made of.
function runs.read_for_document(run)
  if run.over_as then return end
  local found = redis.call('HMGET', run.base, 'ids', 'prefix', 'submitted', 'sinks')
  run.ids, run.prefix, run.submitted, run.sinks = found[1], tonumber(found[2]), found[3], found[4]
  run.over_as = runs.OVER[run.status] and run.stopping == '' and run.status or runs.ended_as(run)
end

-- Parts of the document up to its first state, and the bytes of what never changes; nil where that is not there.
function runs.document_begin(run)
  local prefix = run.prefix <= DOCUMENT_MOST and redis.pcall('GETRANGE', STATE_PREFIX .. run.id, 0, run.prefix - 1)
  if type(prefix) ~= 'string' or #prefix ~= run.prefix then return nil end
  return {prefix, ',"status":"' .. run.over_as .. '","node_states":{'}, #prefix
end

function runs.document_end(run, output)
  local message = string.match(run.error, '"error":("[^\n]*"),"error_code"')
  return '},"submitted_at":"' .. runs.rfc3339(run.submitted) .. '","started_at":' .. runs.time_or_null(runs.int(run.started))
    .. ',"completed_at":"' .. runs.rfc3339(runs.now()) .. '","error":' .. (message or 'null') .. ',"output":'
    .. (output or 'null') .. '}'
end

-- Whether the run is over but for its document: then the first page of it is left to do.
function runs.has_to_document(run)
  if run.documented or run.completed + run.failed + run.skipped + run.cancelled + run.left <= DOCUMENT_NODES then return end
  run.cursors[#run.cursors + 1] = 'document\t\t1'
end

-- The outputs of the completed nodes without outgoing edges: of the only one itself, else by id.
function runs.default_output(run, sinks)
  local function output_of(id)
    local node = runs.node_of(run, id)
    if not (node and node.st == 'completed') then return nil end
    return runs.output_text(run, id) or runs.derived_output(run, id, runs.place_of(run, id)) or 'null'
  end
  if #sinks == 1 then return output_of(sinks[1]) or '{}' end
  local parts = {}
  for _, id in ipairs(sinks) do
    local output = output_of(id)
    if output then parts[#parts + 1] = runs.quoted(id) .. ':' .. output end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- The data of `graph.failed`: as the head keeps the error.
function runs.event_of_error(text) return text end

function runs.push_step(run, what)
  local entry = redis.call('XADD', run.shard .. 'steps', '*', 'data',
    '{"graph_id":' .. runs.quoted(run.id) .. ',"step":"' .. what .. '","v":' .. run.v .. '}')
  return run.shard .. 'steps ' .. entry
end

-- The last event of an epoch. The output of a run that has none of its own is read off its nodes when it is over.
function runs.log_end(run)
  local ended_as = runs.ended_as(run)
  runs.begin_run(run)
  run.status, run.stopping = ended_as, ''
  runs.log_run(run, 'graph.' .. ended_as, ended_as == 'failed' and runs.event_of_error(run.error) or '{}')
end

function runs.whole_document(run, output)
  local parts, before = runs.document_begin(run)
  if not parts or not runs.add_states(run, parts, 1, DOCUMENT_MOST - before) then return nil end
  local tail = runs.document_end(run, output)
  parts[#parts + 1] = tail
  local whole = table.concat(parts)
  return #whole - #tail <= DOCUMENT_MOST and whole
end

-- What the run has come to: *output* is what its own template gave, else its nodes say it.
function runs.result_of(run, output)
  if run.status ~= 'completed' then return nil end
  if output then
    redis.call('HSET', run.base, 'result', output)
    return output
  end
  local several = run.documented == 'paged' and redis.call('GET', run.base .. ':sinks')
  return several and '{' .. several .. '}' or runs.default_output(run, runs.split(run.sinks, '\t'))
end

function runs.write_document(run, output)
  runs.read_for_document(run)
  if run.documented == 'later' then
    if output and run.status == 'completed' then redis.call('HSET', run.base, 'result', output) end
    return runs.push_step(run, 'render')
  end
  output = runs.result_of(run, output)
  local key, ttl = STATE_PREFIX .. run.id, runs.int(run.ttl_ms)
  if run.documented == 'paged' then
    redis.call('APPEND', run.base .. ':document', runs.document_end(run, output))
    redis.call('RENAME', run.base .. ':document', key)
    redis.call('PEXPIRE', key, ttl)
    return
  end
  local document = runs.whole_document(run, output)
  if not document then return runs.push_step(run, 'render') end
  redis.call('SET', key, document, 'PX', ttl)
end

function runs.list_as(run, status)
  local score = redis.call('ZSCORE', run.shard .. 'runs', run.id)
  for _, other in ipairs({'running', 'completed', 'failed', 'cancelled'}) do
    if other ~= status then redis.call('ZREM', run.shard .. 'runs:' .. other, run.id) end
  end
  redis.call('ZADD', run.shard .. 'runs:' .. status, score or runs.int(runs.clock()), run.id)
end

function runs.write_removed(run)
  local streams, members = {}, {}
  for i, one in ipairs(run.removed) do
    local entries = streams[one[1]] or {}
    streams[one[1]], entries[#entries + 1] = entries, one[2]
    members[i] = one[1] .. ' ' .. one[2]
  end
  for stream, entries in pairs(streams) do
    redis.pcall('XACK', stream, GROUP, unpack(entries))
    redis.call('XDEL', stream, unpack(entries))
    if redis.call('EXISTS', stream .. UNCOUNTED) == 1 then
      local fields = {}
      for _, entry in ipairs(entries) do
        for _, about in ipairs({'', ' refused', ' repeats', ' since'}) do fields[#fields + 1] = entry .. about end
      end
      redis.call('HDEL', stream .. UNCOUNTED, unpack(fields))
    end
  end
  if redis.call('EXISTS', PARKED) == 1 then
    for i, about in ipairs(runs.values_of(PARKED, members)) do
      if about then waits.unpark(members[i]) end
    end
  end
end

local LISTED = {'runs', 'runs:running', 'runs:completed', 'runs:failed', 'runs:cancelled', 'expiries', 'looks', 'timers'}

function runs.must_be_endable(run)
  must_hold('list', run.base .. ':journals')
  for _, name in ipairs(LISTED) do must_hold('zset', run.shard .. name) end
end

-- Write what a run's end needs beside its last event.
function runs.write_end(run, output)
  local began = tonumber(redis.call('HGET', run.base, 'retried_at') or run.started)
  runs.ends[#runs.ends + 1] = run.status .. ' ' .. runs.int(math.max(runs.clock() - began, 0)) .. ' ' .. run.id
  redis.call('HSET', run.base, 'ended', runs.int(runs.clock()))
  redis.call('ZREM', run.shard .. 'looks', run.id)
  redis.call('ZREM', run.shard .. 'timers', run.id .. '\t\tstop\t' .. run.epoch .. '\t0',
    run.id .. '\t\ttimeout\t' .. run.epoch .. '\t0')
  redis.call('ZADD', run.shard .. 'expiries', runs.int(runs.clock() + run.ttl_ms), run.id)
  runs.list_as(run, run.status)
  runs.write_document(run, output)
  runs.expire_all(run)
end
