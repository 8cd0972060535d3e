-- Forget which deliveries did not count of entries that are pending no more: trimmed away, or lost with their group.
-- KEYS: stream. ARGV: group, most to be looked at. Reply: how many were forgotten.

local gone = 0
for _, field in ipairs(redis.call('HRANDFIELD', KEYS[1] .. UNCOUNTED, ARGV[2])) do
  local entry = string.match(field, '^%S+') -- or what its call was refused
  local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)
  if rows.err and string.sub(rows.err, 1, 7) ~= 'NOGROUP' then return rows end
  if rows.err or #rows == 0 then gone = gone + redis.call('HDEL', KEYS[1] .. UNCOUNTED, field) end
end
return gone
