-- Start a run's node, in the same step in which a worker gets its entry. Used by take, settle and confirm.

local function text_of(json)
  if not string.find(json, '\\', 1, true) then return string.sub(json, 2, -2) end
  return cjson.decode('[' .. json .. ']')[1]
end

-- The base of a run's keys: its shard is the last three digits of its id.
local function base_of(id)
  local shard = tonumber(string.sub(id, -3), 16) or 0
  return 'dago:' .. (shard == 0 and '{executor.work}' or '{' .. shard .. '}') .. ':run:' .. id
end

-- What a node's config and conditions name: {id, its field or false, its output or false}, only as far as it is its past.
local function past_of(run, node, place)
  local found = {}
  if place.names == '' then return found end
  local reads = split(place.names, '\t')
  local fields = values_of(run.base .. ':nodes', reads)
  local outputs = values_of(run.base .. ':outputs', reads)
  for i, id in ipairs(reads) do
    local one = fields[i] and parse_node(fields[i])
    local seen = one and ENDED[one.st] and one.e <= node.r
    found[i] = {id, seen and fields[i], seen and outputs[i]}
  end
  return found
end

-- {kind, …} of a run's item: 'node' with all that is needed to run it, 'step', 'late' where it must not be run, or
-- 'version' with the layout and the run's head where a newer program has to run it; false where the item is no run's. *quiet*: it was started before, and is only to be answered.
local function started(stream, entry, count, fields, consumer, quiet)
  local data = data_of(fields)
  if string.sub(data, 1, 13) ~= '{"graph_id":"' then return false end
  local id, what, layout = string.match(data, STEP)
  if id and tonumber(layout) > LAYOUT then return {'version', layout, base_of(id)} end
  if id then return {'step', id, base_of(id), what} end
  local v, epoch, attempt, json
  id, v, epoch, attempt, json = string.match(data, ITEM)
  if not id then return false end
  local run = open_run(base_of(id), true)
  if not run then return {'late'} end
  local newest = math.max(tonumber(v), run.v)
  if newest > LAYOUT then return {'version', newest, run.base} end
  local name = text_of(json)
  local node = node_of(run, name)
  if run.epoch ~= tonumber(epoch) or not node or node.at ~= tonumber(attempt) or run.stopping ~= '' or OVER[run.status]
    or (node.st ~= 'queued' and node.st ~= 'running')
    or redis.call('HGET', run.base .. ':open', name) ~= stream .. ' ' .. entry then
    return {'late'}
  end
  begin_run(run)
  if node.st == 'queued' then
    node.st, node.s = 'running', clock()
    run.running = run.running + 1
    set(run, name, node)
  end
  if not quiet then log_node(run, 'node.started', name, '{"attempt":' .. node.at .. ',"delivery":' .. count .. ',"worker_id":' .. quoted(consumer) .. '}',
    GRAPH_EVENTS) end
  local place = place_of(run, name)
  local about = redis.call('HMGET', run.base, 'traceparent', 'tracestate', place.inputs and 'inputs' or 'v')
  write(run)
  return {
    'node', id, name, run.epoch, node.at, node_text(node), redis.call('HGET', run.base .. ':plan', name),
    place.inputs and about[3], past_of(run, node, place), about[1], about[2], run.base, place.edges,
  }
end
