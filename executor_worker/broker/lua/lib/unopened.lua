-- Entries that a blocking read has brought to a worker, which has not opened them yet. Several that were waiting for work
-- open theirs in any order; an earlier entry's place is kept for it that long. After kinds.lua.

local ON_ITS_WAY_MS = 2000 -- later than that its worker is taken for dead, or for frozen
local MOST_LOOKED_AT = 100 -- pending rows

local unopened = {} -- "stream entry" → what is before it: nothing of that is opened within this call

-- The limits of an entry that is not opened; none where it was trimmed away.
local function limits_of_unopened(stream, group, row)
  local found = redis.call('XRANGE', stream, row[1], row[1])[1]
  if not found then return {} end
  local one = {
    stream = stream, entry = row[1], fields = found[2], count = row[4], group = group, consumer = row[2],
  }
  local kind = kind_of(one)
  local needs = kind.limits and kind.limits(one)
  return needs and needs.names or {}
end

unopened_before = function(stream, group, entry)
  group = group_of(stream, group)
  local member = stream .. ' ' .. entry
  if unopened[member] then return unopened[member] end
  local since = whole(math.max(string.match(entry, '^%d+') - ON_ITS_WAY_MS, 0))
  local rows, found = redis.pcall('XPENDING', stream, group, since, '(' .. entry, MOST_LOOKED_AT), {}
  for _, row in ipairs(rows.err and {} or rows) do
    if row[3] < ON_ITS_WAY_MS and not redis.call('HGET', PLACES, stream .. ' ' .. row[1]) then
      found[#found + 1] = limits_of_unopened(stream, group, row)
    end
  end
  unopened[member] = found
  return found
end
