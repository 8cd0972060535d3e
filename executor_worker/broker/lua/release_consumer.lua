-- Give back all that a consumer has pending.
-- KEYS: the streams. ARGV: group, consumer, forgive ('1'), channel. Reply: stream, entry of each.

local released = {}
for _, stream in ipairs(KEYS) do
  local rows = redis.pcall('XPENDING', stream, ARGV[1], '-', '+', 1000, ARGV[2])
  if rows.err and string.sub(rows.err, 1, 7) ~= 'NOGROUP' then return rows end
  for _, row in ipairs(rows) do
    if row[3] < GIVEN_BACK_MS then
      gates.limit.free_places(ARGV[1], stream, row[1])
      redis.call('XCLAIM', stream, ARGV[1], ARGV[2], 0, row[1], 'IDLE', RELEASED_MS, 'JUSTID')
      if ARGV[3] == '1' then redis.call('HINCRBY', stream .. UNCOUNTED, row[1], 1) end
    end
    table.insert(released, stream)
    table.insert(released, row[1])
    redis.pcall('PUBLISH', ARGV[4], stream .. ' ' .. row[1])
  end
end
return released
