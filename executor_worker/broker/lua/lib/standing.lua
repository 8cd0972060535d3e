-- The holder of an entry, and where it went if it has none. Used by settle, release and renew.

-- Settled markers: hash, consumer → "<stream> <entry> <count>" of what it settled last.
local function marked(markers, stream, entry)
  local start = stream .. ' ' .. entry .. ' '
  for _, mark in ipairs(redis.call('HVALS', markers)) do
    if string.sub(mark, 1, #start) == start then return true end
  end
  return false
end

-- The worker that settled an entry: kept where its graph's state can't tell one that comes late.
local function settled_key(stream, entry)
  return SETTLED_PREFIX .. stream .. '/' .. entry
end

local function id_parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return ms, seq
end

-- Decimal strings: doubles hold no more than 53 bits of them.
local function not_after(a, b)
  local a_ms, a_seq = id_parts(a)
  local b_ms, b_seq = id_parts(b)
  if a_ms ~= b_ms then
    if #a_ms ~= #b_ms then return #a_ms < #b_ms end
    return a_ms < b_ms
  end
  if #a_seq ~= #b_seq then return #a_seq < #b_seq end
  return a_seq <= b_seq
end

-- The group was made anew and never delivered this entry: no other worker has it, though it has no pending row.
local function row_was_lost(stream, group, entry, resets)
  local reset = redis.call('HGET', resets, stream)
  if reset and not_after(entry, reset) then return true end
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return true end
  for _, fields in ipairs(groups) do
    local about = {}
    for i = 1, #fields, 2 do about[fields[i]] = fields[i + 1] end
    if about['name'] == group then return not not_after(entry, about['last-delivered-id']) end
  end
  return true
end

-- ours: pending for this consumer, in this very delivery.   fenced: another worker has it or has settled it.
-- already: this consumer has settled this delivery.         gone: the row is lost and no worker is known to have settled it.
local was_settled = false -- by this very consumer: it is told once
local function standing(stream, group, consumer, entry, count, markers, resets)
  local row = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  if row.err and string.sub(row.err, 1, 7) ~= 'NOGROUP' then return row end
  row = not row.err and row[1]
  if row then
    if row[2] == consumer and row[4] == count then return 'ours', row[3] end
    return 'fenced'
  end
  if redis.call('HGET', markers, consumer) == stream .. ' ' .. entry .. ' ' .. count then
    was_settled = true
    return 'already'
  end
  if marked(markers, stream, entry) then return 'fenced' end
  local settler = redis.call('GET', settled_key(stream, entry))
  was_settled = settler == consumer .. ' ' .. count
  if settler then return was_settled and 'already' or 'fenced' end
  if #redis.call('XRANGE', stream, entry, entry) == 0 then return 'gone' end
  return row_was_lost(stream, group, entry, resets) and 'gone' or 'fenced'
end
