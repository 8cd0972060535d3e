-- Items of graphs that others schedule; whatever no other kind reads. Their graph's document is brought along.

-- The document at *key*: a string, false where there is none, '' where the key holds something else.
local function document(key)
  local state = redis.pcall('GET', key)
  if type(state) == 'table' then return '' end
  return state
end

-- {key of the document, the document}; nil where no graph is named. A guess without decoding: the caller checks the name
-- again after it has decoded the item. One that comes late with no row somebody else had time to settle: where the state,
-- which would tell, is gone as well it is let go.
local function bring_state(one)
  for i = 1, #one.fields, 2 do
    if one.fields[i] == 'data' then
      local graph = string.match(one.fields[i + 1], '"graph_id"%s*:%s*"([^"\\]+)"')
      if not graph or #graph > 512 then break end
      local key = STATE_PREFIX .. graph
      local state = document(key)
      return (one.how ~= 'late' or state) and {key, state}
    end
  end
  if one.how == 'late' then return false end
end

kinds[#kinds + 1] = {name = 'document', reads = function() return true end, open = bring_state}
