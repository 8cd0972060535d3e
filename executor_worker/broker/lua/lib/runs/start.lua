-- Start a run's node, in the same step in which a worker gets its entry. Used by take, settle and confirm.

function runs.text_of(json)
  if not string.find(json, '\\', 1, true) then return string.sub(json, 2, -2) end
  return cjson.decode('[' .. json .. ']')[1]
end

-- The base of a run's keys: its shard is the last three digits of its id.
function runs.base_of(id)
  local shard = tonumber(string.sub(id, -3), 16) or 0
  return 'dago:' .. (shard == 0 and '{executor.work}' or '{' .. shard .. '}') .. ':run:' .. id
end

local COME_ALONG = 262144 -- bytes of outputs, of at most so many nodes
local NODES_ALONG = 100

-- What a node's config and conditions name: {id, its field or false, its output or false}, only as far as it is its past;
-- outputs are 1 where they are more than what may come along: the worker reads them by itself.
function runs.past_of(run, node, place)
  local found = {}
  if place.names == '' then return found end
  local reads = runs.split(place.names, '\t')
  local fields = runs.values_of(run.nodes_key, reads)
  local few, size = #reads <= NODES_ALONG, 0
  for i = 1, few and #reads or 0 do size = size + runs.stored_size(run, reads[i]) end
  local outputs = few and size <= COME_ALONG and runs.values_of(run.outputs_key, reads)
  for i, id in ipairs(reads) do
    local text, output = fields[i], not outputs and 1 or run.outputs[id] or outputs[i]
    if run.changed[id] then text = runs.node_text(run.nodes[id]) end -- it has ended in this very script
    local one = text and runs.parse_node(text)
    local seen = one and runs.ENDED[one.st] and one.e <= node.r
    found[i] = {id, seen and text or false, seen and output or false} -- a nil would cut the reply off
  end
  return found
end

-- A node begins with what a worker holds of it.
function runs.start(run, id, node, count, consumer)
  runs.begin_run(run)
  if node.st == 'queued' then
    node.st, node.s = 'running', runs.now()
    run.running = run.running + 1
    runs.set(run, id, node)
  end
  if count == 0 then return end -- it was started before, and is only to be answered
  runs.log_node(run, 'node.started', id, '{"attempt":' .. node.at .. ',"delivery":' .. count .. ',"worker_id":'
    .. runs.quoted(consumer) .. '}', GRAPH_EVENTS)
end

-- Redis has lost the start of a node whose holder comes to settle it. Where it was queued again meanwhile that entry goes.
function runs.start_again(run, id, stream, entry, count, consumer)
  local where = redis.call('HGET', run.open_key, id)
  local there, other = string.match(where or '', '^(.*) (%S+)$')
  if there and where ~= stream .. ' ' .. entry then run.removed[#run.removed + 1] = {there, other} end
  runs.start(run, id, runs.node_of(run, id), count, consumer)
end

-- {kind, …} of a run's item: 'node' with all that is needed to run it, 'step', 'late' where it must not be run, or
-- 'version' with the layout and the run's head where a newer program has to run it.
function runs.started(one)
  local item = one.item
  local id = item[1]
  if item.step then
    if item[2] > newest_layout then return {'version', item[2], runs.base_of(id)} end
    if not string.find(id, '%x%x%x$') then return {'late'} end -- of no shard: somebody else has written it
    return {'step', id, runs.base_of(id), item.step}
  end
  local run = runs.open_run(runs.base_of(id), true)
  if not run then return {'late'} end
  local newest = math.max(item[2], run.v)
  if newest > newest_layout then return {'version', newest, run.base} end
  local name = runs.text_of(item[5])
  local node = runs.node_of(run, name)
  if run.epoch ~= item[3] or not node or node.at ~= item[4] or run.stopping ~= '' or runs.OVER[run.status]
    or (node.st ~= 'queued' and node.st ~= 'running')
    or (run.opened[name] or redis.call('HGET', run.open_key, name)) ~= one.stream .. ' ' .. one.entry then
    return {'late'}
  end
  local place, plan = runs.place_of(run, name), redis.call('HGET', run.base .. ':plan', name)
  if not plan then error({err = 'ERR the run ' .. id .. ' has no plan of ' .. name}) end
  local inputs = place.inputs and redis.call('HGET', run.base, 'inputs')
  local past = runs.past_of(run, node, place)
  runs.start(run, name, node, one.how ~= 'again' and one.count or 0, one.consumer)
  if run ~= runs.deferred then runs.write(run) end
  return {
    'node', id, name, run.epoch, node.at, runs.node_text(node), plan, inputs, past, run.was[21], run.was[22], run.base,
    place.edges,
  }
end

-- What an error says, where it says that another program has changed keys of the run: it names the run or one of them,
-- meets a type that it did not ask for, or something that can't be read. Else it is about the server, or other keys.
function runs.damage(problem, id)
  local text = type(problem) == 'table' and problem.err or tostring(problem)
  local named = string.find(text, id, 1, true) or string.find(text, '^WRONGTYPE Operation')
  return (named or string.find(text, 'user_script:%d+: ')) and text
end
