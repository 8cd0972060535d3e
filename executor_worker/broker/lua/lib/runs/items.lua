-- How items of runs look in a stream.

local ITEM = '^{"graph_id":"([^"]+)","run":{"v":(%d+),"epoch":(%d+),"attempt":(%d+)},"node_type":"[^"]*","node_id":(".*")}$'
local STEP = '^{"graph_id":"([^"]+)","step":"(%a+)","v":(%d+)}$'

local function data_of(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'data' then return fields[i + 1] end
  end
  return ''
end

-- What an entry says: {id, v, epoch, attempt, node as JSON} of a node's item, {id, v, step = what} of a step's; nil where it
-- is no run's.
local function item_of(fields)
  local data = data_of(fields)
  if string.sub(data, 1, 13) ~= '{"graph_id":"' then return nil end
  local id, v, epoch, attempt, json = string.match(data, ITEM)
  if id then return {id, tonumber(v), tonumber(epoch), tonumber(attempt), json} end
  local what
  id, what, v = string.match(data, STEP)
  return id and {id, tonumber(v), step = what}
end

local function drop(stream, group, entry, count)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  if count > 1 then redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' repeats', entry .. ' since') end
end
