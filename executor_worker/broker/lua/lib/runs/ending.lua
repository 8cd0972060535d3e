-- The end of a run: its last event, its state document, how long it is kept. Used after write.lua.

local DOCUMENT_MOST = 1048576 -- bytes of a state document that is written with the run's end
local DOCUMENT_NODES = 1500

function runs.expire_all(run)
  local ttl = runs.int(run.ttl_ms)
  for _, part in ipairs({'', ':plan', ':edges', ':nodes', ':outputs', ':log', ':journals'}) do
    redis.call('PEXPIRE', run.base .. part, ttl)
  end
  for _, journal in ipairs(redis.call('LRANGE', run.base .. ':journals', 0, 999)) do
    redis.call('PEXPIRE', journal, ttl)
  end
  redis.call('UNLINK', run.base .. ':joins', run.base .. ':open', run.base .. ':ready', run.base .. ':todo')
end

function runs.time_or_null(ms) return ms > 0 and '"' .. runs.rfc3339(ms) .. '"' or 'null' end

function runs.state_of_node(id, node, output)
  local began = node.s == 0 and (node.st == 'completed' or node.st == 'failed') and node.d or node.s
  local err, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
  return '{"node_id":' .. runs.quoted(id) .. ',"status":"' .. node.st .. '","output":' .. (output or 'null') .. ',"error":'
    .. (err or 'null') .. ',"started_at":' .. runs.time_or_null(began) .. ',"completed_at":' .. runs.time_or_null(node.d)
    .. ',"metadata":' .. (metadata or '{}') .. '}'
end

-- The whole document, or nil where it is too large to be made here.
function runs.document_of(run, about)
  local ids = runs.split(about.ids, '\t')
  if #ids > DOCUMENT_NODES then return nil end
  local prefix = redis.pcall('GETRANGE', STATE_PREFIX .. run.id, 0, tonumber(about.prefix) - 1)
  if type(prefix) ~= 'string' or #prefix ~= tonumber(about.prefix) then return nil end
  local parts, size = {}, #prefix
  for from = 1, #ids, 500 do
    local last = math.min(from + 499, #ids)
    local fields = redis.call('HMGET', run.base .. ':nodes', unpack(ids, from, last))
    local outputs = redis.call('HMGET', run.base .. ':outputs', unpack(ids, from, last))
    for i = from, last do
      local raw, output = fields[i - from + 1], outputs[i - from + 1]
      local node = raw and runs.parse_node(raw) or {st = run.status == 'cancelled' and 'cancelled' or 'pending', s = 0, d = 0, rest = ''}
      if not output and node.st == 'completed' then output = runs.derived_output(run, ids[i], runs.place_of(run, ids[i])) end
      local text = runs.quoted(ids[i]) .. ':' .. runs.state_of_node(ids[i], node, output)
      size = size + #text + 1
      if size > DOCUMENT_MOST then return nil end
      parts[#parts + 1] = text
    end
  end
  return prefix .. ',"status":"' .. run.status .. '","node_states":{' .. table.concat(parts, ',') .. '},"submitted_at":"'
    .. runs.rfc3339(tonumber(about.submitted)) .. '","started_at":' .. runs.time_or_null(run.started) .. ',"completed_at":"'
    .. runs.rfc3339(runs.clock()) .. '","error":' .. (about.message or 'null') .. ',"output":'
    .. (about.output or 'null') .. '}'
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
  local ended_as = run.stopping == 'cancelled' and 'cancelled' or run.error ~= '' and 'failed' or 'completed'
  runs.begin_run(run)
  run.status, run.stopping = ended_as, ''
  runs.log_run(run, 'graph.' .. ended_as, ended_as == 'failed' and runs.event_of_error(run.error) or '{}')
end

function runs.write_document(run, output)
  local found = redis.call('HMGET', run.base, 'ids', 'prefix', 'submitted', 'sinks')
  local about = {ids = found[1], prefix = found[2], submitted = found[3]}
  about.message = string.match(run.error, '"error":("[^\n]*"),"error_code"')
  if run.status == 'completed' then about.output = output or runs.default_output(run, runs.split(found[4], '\t')) end
  if output then redis.call('HSET', run.base, 'result', output) end
  local document = runs.document_of(run, about)
  if document then
    redis.call('SET', STATE_PREFIX .. run.id, document, 'PX', runs.int(run.ttl_ms))
  else
    runs.push_step(run, 'render')
  end
end

function runs.list_as(run, status)
  local score = redis.call('ZSCORE', run.shard .. 'runs', run.id)
  for _, other in ipairs({'running', 'completed', 'failed', 'cancelled'}) do
    if other ~= status then redis.call('ZREM', run.shard .. 'runs:' .. other, run.id) end
  end
  redis.call('ZADD', run.shard .. 'runs:' .. status, score or runs.int(runs.clock()), run.id)
end

function runs.write_removed(run)
  for _, one in ipairs(run.removed) do
    local stream, entry = one[1], one[2]
    redis.pcall('XACK', stream, GROUP, entry)
    redis.call('XDEL', stream, entry)
    redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' repeats', entry .. ' since')
    unpark(stream .. ' ' .. entry)
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
