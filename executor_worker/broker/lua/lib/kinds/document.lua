-- Items of graphs that others schedule; whatever no other kind reads. Their graph's document is brought along.

-- The document at *key*: a string, false if there is none, '' if the key holds something else.
local function document(key)
  local state = redis.pcall('GET', key)
  if type(state) == 'table' then return '' end
  return state
end

local function data_field(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'data' then return fields[i + 1] end
  end
end

-- How often it was given back to be run again, as its node's policy says; nil if that was never.
local function repeats_of(one)
  return one.count > 1 and redis.call('HGET', one.stream .. UNCOUNTED, one.entry .. ' repeats') or nil
end

-- {key of the document, the document}; nil if no graph is named. A guess without decoding: the caller checks the name
-- again after it has decoded the item. One that comes late with no row another worker had time to settle: where the state,
-- which would tell, is gone as well it is let go.
local function bring_state(one)
  local data = data_field(one.fields)
  local graph = data and string.match(data, '"graph_id"%s*:%s*"([^"\\]+)"')
  if graph and #graph <= 512 then
    local key = STATE_PREFIX .. graph
    local state = document(key)
    one.names = names_in(data)
    return (one.how ~= 'late' or state) and {key, state, repeats_of(one)}
  end
  if one.how == 'late' then return false end
  local repeats = repeats_of(one)
  return repeats and {'', false, repeats}
end

kinds[#kinds + 1] = {name = 'document', reads = function() return true end, open = bring_state}

if node_limits_kept then
  local function node_in(nodes, id)
    if type(nodes) ~= 'table' then return nil end
    if type(nodes[id]) == 'table' then return nodes[id] end
    for _, node in ipairs(nodes) do
      if type(node) == 'table' and (node.id == id or node.node_id == id) then return node end
    end
  end

  -- The config stands in the item, or in its graph's document.
  kinds[#kinds].limits = function(one)
    local decoded = gates.limit.decoded
    local item = decoded(data_field(one.fields) or '')
    if not item then return nil end
    local names = type(item.data) == 'table' and item.data or item
    local graph, id = names.graph_id or item.graph_id, names.node_id or item.node_id
    if type(graph) ~= 'string' then return nil end
    local config, key = type(item.config) == 'table' and item.config or names.config, STATE_PREFIX .. graph
    if type(config) ~= 'table' then
      local state = document(key)
      state = state and string.find(state, '"limit"', 1, true) and decoded(state)
      local node = state and type(state.graph) == 'table' and node_in(state.graph.nodes, id)
      config = node and node.config
    end
    return gates.limit.needs_of(config, key)
  end
end
