-- Look through one page of what is pending for entries that no worker seems to work on.
-- KEYS: stream. ARGV: group, lease_ms, first id, entries in a page, stale ones wanted.
-- Reply: {where to go on or '' at the end, stale entries…}.
-- XPENDING's own IDLE filter would scan all that is pending in one call where nothing is idle.

local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4])
if rows.err then
  if string.sub(rows.err, 1, 7) == 'NOGROUP' then return {''} end
  return rows
end
local lease_ms, wanted = tonumber(ARGV[2]), tonumber(ARGV[5])
local found = {''}
for _, row in ipairs(rows) do
  if row[3] >= lease_ms and not waits.holds(KEYS[1], row[1]) then
    table.insert(found, row[1])
    if #found > wanted then
      found[1] = '(' .. row[1]
      return found
    end
  end
end
if #rows == tonumber(ARGV[4]) then found[1] = '(' .. rows[#rows][1] end
return found
