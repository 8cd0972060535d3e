-- Write what a run's transitions have changed, and its end. Used after advance.lua.

local DOCUMENT_MOST = 1048576 -- bytes of a state document that is written with the run's end
local DOCUMENT_NODES = 1500

local function expire_all(run)
  local ttl = int((tonumber(run.was.ttl) or 86400) * 1000)
  for _, part in ipairs({'', ':plan', ':edges', ':nodes', ':outputs', ':log', ':journals'}) do
    redis.call('PEXPIRE', run.base .. part, ttl)
  end
  for _, journal in ipairs(redis.call('LRANGE', run.base .. ':journals', 0, 999)) do
    redis.call('PEXPIRE', journal, ttl)
  end
  redis.call('UNLINK', run.base .. ':joins', run.base .. ':open', run.base .. ':ready', run.base .. ':todo')
end

local function time_or_null(ms) return ms > 0 and '"' .. rfc3339(ms) .. '"' or 'null' end

local function state_of_node(id, node, output)
  local err, metadata = string.match(node.rest, '^\n([^\n]*)\n(.*)$')
  return '{"node_id":' .. quoted(id) .. ',"status":"' .. node.st .. '","output":' .. (output or 'null') .. ',"error":'
    .. (err or 'null') .. ',"started_at":' .. time_or_null(node.s) .. ',"completed_at":' .. time_or_null(node.d)
    .. ',"metadata":' .. (metadata or '{}') .. '}'
end

-- The whole document, or nil where it is too large to be made here.
local function document_of(run, about)
  local ids = split(about.ids, '\t')
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
      local node = raw and parse_node(raw) or {st = run.status == 'cancelled' and 'cancelled' or 'pending', s = 0, d = 0, rest = ''}
      if not output and node.st == 'completed' then output = derived_output(run, ids[i], place_of(run, ids[i])) end
      local text = quoted(ids[i]) .. ':' .. state_of_node(ids[i], node, output)
      size = size + #text + 1
      if size > DOCUMENT_MOST then return nil end
      parts[#parts + 1] = text
    end
  end
  return prefix .. ',"status":"' .. run.status .. '","node_states":{' .. table.concat(parts, ',') .. '},"submitted_at":"'
    .. rfc3339(tonumber(about.submitted)) .. '","started_at":' .. time_or_null(run.started) .. ',"completed_at":"'
    .. rfc3339(clock()) .. '","error":' .. (about.message or 'null') .. ',"output":'
    .. (about.output or 'null') .. '}'
end

-- The outputs of the completed nodes without outgoing edges: of the only one itself, else by id.
local function default_output(run, sinks)
  local function output_of(id)
    local node = node_of(run, id)
    if not (node and node.st == 'completed') then return nil end
    return output_text(run, id) or derived_output(run, id, place_of(run, id)) or 'null'
  end
  if #sinks == 1 then return output_of(sinks[1]) or '{}' end
  local parts = {}
  for _, id in ipairs(sinks) do
    local output = output_of(id)
    if output then parts[#parts + 1] = quoted(id) .. ':' .. output end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- The data of `graph.failed`: as the head keeps the error.
local function event_of_error(text) return text end

local function push_step(run, what)
  local entry = redis.call('XADD', run.shard .. 'steps', '*', 'data',
    '{"graph_id":' .. quoted(run.id) .. ',"step":"' .. what .. '","v":' .. run.v .. '}')
  return run.shard .. 'steps ' .. entry
end

-- The last event of an epoch. The output of a run that has none of its own is read off its nodes when it is over.
local function log_end(run)
  local ended_as = run.stopping == 'cancelled' and 'cancelled' or run.error ~= '' and 'failed' or 'completed'
  begin_run(run)
  run.status, run.stopping = ended_as, ''
  log_run(run, 'graph.' .. ended_as, ended_as == 'failed' and event_of_error(run.error) or '{}')
end

local function is_over(run)
  if OVER[run.was.status] and (run.was.stopping or '') == '' or run.put_off then return false end
  if run.stopping ~= '' then return run.running == 0 and run.todo == 0 and #run.cursors == 0 end
  return run.left == 0
end

local function write_document(run, output)
  local found = redis.call('HMGET', run.base, 'ids', 'prefix', 'submitted', 'sinks')
  local about = {ids = found[1], prefix = found[2], submitted = found[3]}
  about.message = string.match(run.error, '"error":("[^\n]*"),"error_code"')
  if run.status == 'completed' then about.output = output or default_output(run, split(found[4], '\t')) end
  if output then redis.call('HSET', run.base, 'result', output) end
  local document = document_of(run, about)
  if document then
    redis.call('SET', STATE_PREFIX .. run.id, document, 'PX', int(tonumber(run.was.ttl) * 1000))
  else
    push_step(run, 'render')
  end
end

local function list_as(run, status)
  local score = redis.call('ZSCORE', run.shard .. 'runs', run.id)
  for _, other in ipairs({'running', 'completed', 'failed', 'cancelled'}) do
    if other ~= status then redis.call('ZREM', run.shard .. 'runs:' .. other, run.id) end
  end
  redis.call('ZADD', run.shard .. 'runs:' .. status, score or int(clock()), run.id)
end

local function write_queue(run)
  local opened = {}
  for _, id in ipairs(run.queue) do
    local place, node = place_of(run, id), run.nodes[id]
    local stream = place.queue == '' and 'executor.work' or 'executor.work:' .. place.queue
    local entry = redis.call('XADD', stream, '*', 'data', '{"graph_id":"' .. run.id .. '","run":{"v":' .. run.v
      .. ',"epoch":' .. run.epoch .. ',"attempt":' .. node.at .. '},"node_type":"' .. place.kind .. '","node_id":'
      .. quoted(id) .. '}')
    if place.queue ~= '' then redis.call('SADD', QUEUES, place.queue) end
    opened[#opened + 1] = id
    opened[#opened + 1] = stream .. ' ' .. entry
  end
  return opened
end

local function write_removed(run)
  for _, one in ipairs(run.removed) do
    local stream, entry = one[1], one[2]
    redis.pcall('XACK', stream, GROUP, entry)
    redis.call('XDEL', stream, entry)
    redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' repeats', entry .. ' since')
    unpark(stream .. ' ' .. entry)
  end
end

local function write_nodes(run)
  local fields, kept, gone, outputs = {}, {}, {}, {}
  for id in pairs(run.changed) do
    fields[#fields + 1] = id
    fields[#fields + 1] = node_text(run.nodes[id])
  end
  for id, what in pairs(run.joined) do
    if what == 'gone' then
      gone[#gone + 1] = id
    elseif what == 'kept' then
      kept[#kept + 1] = id
      kept[#kept + 1] = run.joins[id].open .. ' ' .. run.joins[id].taken
    end
  end
  for id, output in pairs(run.outputs) do
    outputs[#outputs + 1] = id
    outputs[#outputs + 1] = output
  end
  sliced('HSET', run.base .. ':nodes', fields)
  sliced('HSET', run.base .. ':joins', kept)
  sliced('HDEL', run.base .. ':joins', gone)
  sliced('HSET', run.base .. ':outputs', outputs)
end

local function write_cursors(run)
  if run.drop_todo then redis.call('DEL', run.base .. ':todo') end
  if #run.cursors > 0 then
    sliced('RPUSH', run.base .. ':todo', run.cursors)
    run.todo = run.todo + #run.cursors
  end
  if (#run.cursors > 0 and run.step_open ~= true) or run.waiting_step then return {'', push_step(run, 'step')} end
  return {}
end

local function write_log(run)
  sliced('RPUSH', run.base .. ':log', run.events)
  for _, event in ipairs(run.mirrored) do redis.call('XADD', event[1], '*', 'data', event[2]) end
  redis.pcall('PUBLISH', run.shard .. 'live:' .. run.id, int(run.seq))
end

local TEXTS = {'status', 'stopping', 'held', 'error'}

local function write_head(run)
  local words, count = {}, 0
  for _, name in ipairs(TEXTS) do
    if run[name] ~= (run.was[name] or '') then
      words[count + 1], words[count + 2], count = name, run[name], count + 2
    end
  end
  for name, value in pairs(run.old) do
    if run[name] ~= value then words[count + 1], words[count + 2], count = name, run[name], count + 2 end
  end
  if count > 0 then redis.call('HSET', run.base, unpack(words)) end
end

local LISTED = {'runs', 'runs:running', 'runs:completed', 'runs:failed', 'runs:cancelled', 'expiries', 'looks', 'timers'}

-- Refuse what would be refused in the middle of writing, see types.lua. *over*: the run ends with it.
local function must_be_writable(run, over)
  local base, shard = run.base, run.shard
  must_hold('hash', base .. ':nodes', base .. ':open')
  must_hold('list', base .. ':log')
  if over or next(run.joined) then must_hold('hash', base .. ':joins') end
  if over or next(run.outputs) then must_hold('hash', base .. ':outputs') end
  if #run.ready > 0 or run.popped then must_hold('list', base .. ':ready') end
  if over then must_hold('list', base .. ':journals') end
  if #run.cursors > 0 then must_hold('list', base .. ':todo') end
  if over or #run.cursors > 0 or run.waiting_step then must_hold('stream', shard .. 'steps') end
  if #run.timers > 0 then must_hold('zset', shard .. 'timers') end
  if over then
    for _, name in ipairs(LISTED) do must_hold('zset', shard .. name) end
  elseif run.old.slots == 0 then
    must_hold('zset', shard .. 'looks')
  end
  for _, event in ipairs(run.mirrored) do must_hold('stream', event[1]) end
  for _, id in ipairs(run.queue) do
    local queue = place_of(run, id).queue
    must_hold('stream', queue == '' and 'executor.work' or 'executor.work:' .. queue)
  end
  for _, one in ipairs(run.removed) do must_hold('hash', one[1] .. UNCOUNTED, PARKED) end
end

-- Write all that has changed. *output*: what the run's own template gave, where it has one and is over.
local function write(run, output)
  local over = is_over(run)
  if over then
    run.left, run.drop_todo, run.drop_ready, run.todo = 0, true, true, 0
    log_end(run)
  end
  must_be_writable(run, over)
  write_removed(run)
  if #run.forgotten > 0 then sliced('HDEL', run.base .. ':nodes', run.forgotten) end
  local opened = write_queue(run)
  write_nodes(run)
  if run.drop_ready then
    redis.call('DEL', run.base .. ':ready')
    run.backlog = 0
  elseif run.popped and run.popped > 0 then
    redis.call('LTRIM', run.base .. ':ready', run.popped, -1)
    run.backlog = run.backlog - run.popped
  end
  if #run.ready > 0 then sliced('RPUSH', run.base .. ':ready', run.ready) end
  run.backlog = run.backlog + #run.ready
  for _, word in ipairs(write_cursors(run)) do opened[#opened + 1] = word end
  for _, id in ipairs(run.waiting) do
    opened[#opened + 1] = id
    opened[#opened + 1] = '-'
  end
  if #run.closed > 0 then sliced('HDEL', run.base .. ':open', run.closed) end
  sliced('HSET', run.base .. ':open', opened)
  if #run.events > 0 then write_log(run) end
  write_head(run)
  for _, timer in ipairs(run.timers) do
    redis.call('ZADD', run.shard .. 'timers', int(timer[3]),
      run.id .. '\t' .. timer[1] .. '\t' .. timer[2] .. '\t' .. run.epoch .. '\t' .. timer[4])
    redis.pcall('PUBLISH', run.shard .. 'timers', int(timer[3] - clock()))
  end
  if over then
    redis.call('HSET', run.base, 'ended', int(clock()))
    redis.call('ZREM', run.shard .. 'looks', run.id)
    redis.call('ZREM', run.shard .. 'timers', run.id .. '\t\tstop\t' .. run.epoch .. '\t0',
      run.id .. '\t\ttimeout\t' .. run.epoch .. '\t0')
    redis.call('ZADD', run.shard .. 'expiries', int(clock() + tonumber(run.was.ttl) * 1000), run.id)
    list_as(run, run.status)
    write_document(run, output)
    expire_all(run)
  elseif #opened > 0 and run.old.slots == 0 then
    redis.call('ZADD', run.shard .. 'looks', 'NX', int(clock() + LOOK_MS), run.id)
  end
  return over
end

-- Whether all that is needed is decided: else what is not, for the caller to decide and ask again.
local LATER = '\0' -- for an output: the caller can't make it, a worker will
local function undecided(run, output)
  local names = {}
  for _, one in ipairs(run.judge) do
    names[#names + 1] = one[1]
    names[#names + 1] = one[2]
  end
  if output == LATER and run.left == 0 and run.was.output == '1' and run.stopping == '' and run.error == '' then
    run.put_off = true
    run.cursors = {'end\t\t1'}
  end
  if #names == 0 and not output and run.was.output == '1' and run.stopping == '' and run.left == 0 and run.error == '' then
    names = {'', table.concat(run.now_ended, '\t')}
  end
  return #names > 0 and names
end
