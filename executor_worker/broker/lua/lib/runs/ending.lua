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

local PIECE = 8000 -- bytes; Lua puts as many together without a string in between

-- Write *parts* one after the other behind the first *at* bytes of *key*, which has no more. Each call costs, and each string
-- that is made costs by its length: short ones are put together, long ones go as they are.
function runs.write_parts(key, parts, at)
  for _, part in ipairs(parts) do at = at + #part end
  local to = #parts
  while to > 0 do -- the last one first: then the server makes room once
    local from, size = to, #parts[to]
    while from > 1 and size + #parts[from - 1] <= PIECE do
      from = from - 1
      size = size + #parts[from]
    end
    at = at - size
    redis.call('SETRANGE', key, at, table.concat(parts, '', from, to))
    to = from - 1
  end
end

-- An output: a text, or texts that it is made of, or none.
function runs.add_output(parts, output)
  if type(output) ~= 'table' or #output == 0 then
    parts[#parts + 1] = type(output) == 'string' and output or 'null'
    return
  end
  for _, part in ipairs(output) do parts[#parts + 1] = part end
end

-- One of several that are the run's.
function runs.add_sink(parts, id, output)
  parts[#parts + 1] = (#parts > 0 and ',' or '') .. runs.quoted(id) .. ':'
  runs.add_output(parts, output)
end

function runs.add_state(parts, id, node, output)
  local began = node.s == '0' and (node.st == 'completed' or node.st == 'failed') and node.d or node.s
  local err, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
  local name = runs.quoted(id)
  parts[#parts + 1] = name .. ':{"node_id":' .. name .. ',"status":"' .. node.st .. '","output":'
  runs.add_output(parts, output)
  parts[#parts + 1] = ',"error":' .. (err or 'null') .. ',"started_at":' .. runs.time_or_null(began)
    .. ',"completed_at":' .. runs.time_or_null(node.d) .. ',"metadata":' .. (metadata or '{}') .. '}'
end

-- Add the states of some nodes to *parts* of the document, from byte *at* of the run's ids on. Answers parts of what is the
-- run's output too, where it has several, and the byte of the rest; nil where they take more than *room* bytes.
function runs.add_states(run, parts, at, room)
  local ids, rest = runs.page(run.ids, '\t', at, DOCUMENT_NODES)
  local sinks, unknown, outputs = {}, {}, run.known
  local several = run.over_as == 'completed' and not run.has_output and string.find(run.sinks, '\t', 1, true)
  if several then runs.prefetch_places(run, ids) end
  runs.prefetch(run, ids)
  for _, id in ipairs(ids) do
    outputs[id] = run.outputs[id]
    if not outputs[id] then unknown[#unknown + 1] = id end
    room = room - runs.stored_size(run, id)
  end
  if room < 0 then return nil end
  if #unknown > 0 then
    for i, output in ipairs(redis.call('HMGET', run.outputs_key, unpack(unknown))) do outputs[unknown[i]] = output or nil end
  end
  for i, id in ipairs(ids) do
    local node, output = runs.node_of(run, id), outputs[id]
    node = node or {st = run.over_as == 'cancelled' and 'cancelled' or 'pending', s = '0', d = '0', rest = ''}
    local place = several and runs.place_of(run, id)
    if node.st == 'completed' then
      if not output then
        output = {}
        room = room - (runs.derive(run, id, output, room) or 0)
        if room < 0 then return nil end
      end
      if place and place.at > #place.raw then runs.add_sink(sinks, id, output) end
    end
    if i > 1 then parts[#parts + 1] = ',' end
    runs.add_state(parts, id, node, output)
  end
  return sinks, rest
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

-- Add what comes behind the states. *output*: the run's, a text or parts of it, nil where it has none.
function runs.add_end(run, parts, output)
  local message = string.match(run.error, '"error":("[^\n]*"),"error_code"')
  parts[#parts + 1] = '},"submitted_at":"' .. runs.rfc3339(run.submitted) .. '","started_at":'
    .. runs.time_or_null(runs.int(run.started)) .. ',"completed_at":"' .. runs.rfc3339(runs.now()) .. '","error":'
    .. (message or 'null') .. ',"output":'
  runs.add_output(parts, output)
  parts[#parts + 1] = '}'
end

-- Whether the run is over but for its document: then the first page of it is left to do.
function runs.has_to_document(run)
  if run.documented or run.completed + run.failed + run.skipped + run.cancelled + run.left <= DOCUMENT_NODES then return end
  run.cursors[#run.cursors + 1] = 'document\t\t1'
end

-- The outputs of the completed nodes without outgoing edges, a text or parts of it: of the only one itself, else by id.
function runs.default_output(run, sinks)
  local parts = {}
  for _, id in ipairs(sinks) do
    local node = runs.node_of(run, id)
    if node and node.st == 'completed' then
      local output = runs.output_text(run, id)
      if not output then
        output = {}
        runs.derive(run, id, output, DOCUMENT_MOST)
      end
      if #sinks == 1 then return output end
      runs.add_sink(parts, id, output)
    end
  end
  table.insert(parts, 1, '{')
  parts[#parts + 1] = '}'
  return parts
end

function runs.push_step(run, what)
  local entry = redis.call('XADD', run.shard .. 'steps', '*', 'data',
    '{"graph_id":' .. runs.quoted(run.id) .. ',"step":"' .. what .. '","v":' .. run.v .. '}')
  return run.shard .. 'steps ' .. entry
end

-- The last event of an epoch; of a run that failed it has the error as the head keeps it, of one whose own output could not
-- be made as a whole what of it could not. The output of a run that has none of its own is read off its nodes when it is over.
function runs.log_end(run)
  local ended_as = runs.ended_as(run)
  runs.begin_run(run)
  run.status, run.stopping = ended_as, ''
  local wrong = ended_as == 'completed' and run.unfilled
  runs.log_run(run, 'graph.' .. ended_as, ended_as == 'failed' and run.error or wrong and '{"output_errors":' .. wrong .. '}' or '{}')
end

function runs.whole_document(run, output)
  local parts, size = runs.document_begin(run)
  if not parts or not runs.add_states(run, parts, 1, DOCUMENT_MOST - size) then return nil end
  size = 0
  for _, part in ipairs(parts) do size = size + #part end
  if size > DOCUMENT_MOST then return nil end
  runs.add_end(run, parts, runs.result_of(run, output))
  return parts
end

-- What the run has come to, a text or parts of it: *output* is what its own template gave, else its nodes say it.
function runs.result_of(run, output)
  if run.status ~= 'completed' then return nil end
  if output then return output end
  local several = run.documented == 'paged' and redis.call('GET', run.base .. ':sinks')
  return several and {'{', several, '}'} or runs.default_output(run, runs.split(run.sinks, '\t'))
end

function runs.write_document(run, output)
  runs.read_for_document(run)
  if output and run.status == 'completed' then redis.call('HSET', run.base, 'result', output) end
  local key, pages, parts = STATE_PREFIX .. run.id, run.base .. ':document', {}
  if run.documented == 'paged' then
    runs.add_end(run, parts, runs.result_of(run, output))
    runs.write_parts(pages, parts, redis.call('STRLEN', pages))
    redis.call('RENAME', pages, key)
  else
    parts = run.documented ~= 'later' and runs.whole_document(run, output)
    if not parts then return runs.push_step(run, 'render') end
    redis.call('UNLINK', key)
    runs.write_parts(key, parts, 0)
  end
  redis.call('PEXPIRE', key, runs.int(run.ttl_ms))
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

runs.LISTED = {'runs', 'runs:running', 'runs:completed', 'runs:failed', 'runs:cancelled', 'expiries', 'looks', 'timers'}

function runs.must_be_endable(run)
  must_hold('list', run.base .. ':journals')
  for _, name in ipairs(runs.LISTED) do must_hold('zset', run.shard .. name) end
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
