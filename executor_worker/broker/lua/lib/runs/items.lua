-- How items of runs look in a stream.

local ITEM = '^{"graph_id":"([^"]+)","run":{"v":(%d+),"epoch":(%d+),"attempt":(%d+)},"node_type":"[^"]*","node_id":(".*")}$'
local STEP = '^{"graph_id":"([^"]+)","step":"(%a+)","v":(%d+)}$'

local function data_of(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'data' then return fields[i + 1] end
  end
  return ''
end

local function drop(stream, group, entry, count)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  if count > 1 then redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' repeats', entry .. ' since') end
end
