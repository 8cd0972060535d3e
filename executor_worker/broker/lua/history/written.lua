-- Note that records are in the database: from now on they expire. One that has changed meanwhile is still to be written.
-- KEYS: set of unwritten records. ARGV: ttl_ms, then key and SHA-1 of each record as it was written.
-- Reply: how many are done.

local done = 0
for i = 2, #ARGV, 2 do
  local record = redis.pcall('GET', ARGV[i])
  if type(record) ~= 'string' or redis.sha1hex(record) == ARGV[i + 1] then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('PEXPIRE', ARGV[i], ARGV[1])
    done = done + 1
  end
end
return done
