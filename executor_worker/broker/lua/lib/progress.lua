-- Progress of nodes, told in scripts that workers call anyway: it never keeps one of them from its work.

local told_at = nil -- RFC 3339; a worker about to run what it takes says so

local function tell(event) redis.pcall('XADD', PROGRESS_STREAM, '*', 'data', event) end

-- Tell that a worker has an item, where its kind knows whose it is: one.names, {graph, execution, node} as JSON texts.
-- Returns whether it was told; else its worker does.
local function tell_start(one, uncounted)
  local names = one.names
  if not names or not told_at or one.how == 'again' then return false end
  local id = string.sub(redis.sha1hex(one.stream .. one.entry .. ' ' .. one.count), 1, 32)
  tell('{"id":"' .. id .. '","type":"node.started","timestamp":"' .. told_at .. '","graph_id":' .. names[1]
    .. ',"execution_id":' .. names[2] .. ',"node_id":' .. names[3] .. ',"data":{"graph_id":' .. names[1]
    .. ',"node_id":' .. names[3] .. ',"worker_id":' .. cjson.encode(one.consumer) .. ',"attempt":'
    .. (one.attempt or math.max(one.count - uncounted, 1)) .. '}}')
  return true
end

-- A name that stands in an item's text once, as JSON; nil if only a reader of the whole text can tell, false if it
-- does not stand there.
local LONGEST_TEXT = 262144
local function only(data, name)
  local at = string.find(data, name, 1, true)
  if not at then return false end
  local value = string.match(data, '^%s*:%s*("[^"\\%c\128-\255]+")', at + #name)
  return value and not string.find(data, name, at + #name, true) and value or nil
end

-- Names as they are, where no more than quotes is needed to make them JSON.
local function names_of(graph, execution, node)
  local all = {graph, execution, node}
  for i, name in ipairs(all) do
    if not string.find(name, '^[^"\\%c\128-\255]+$') then return nil end
    all[i] = '"' .. name .. '"'
  end
  return all
end

local function names_in(data)
  if #data > LONGEST_TEXT then return nil end
  local graph, node = only(data, '"graph_id"'), only(data, '"node_id"')
  local execution = graph and node and only(data, '"execution_id"')
  if execution == nil or not graph or not node then return nil end
  return {graph, execution or graph, node}
end
