-- Read records that are not in the database yet, the oldest first, if no other writer is at work now.
-- KEYS: set of unwritten records, its writer. ARGV: who asks, for how long it is the writer then (ms), most records, most bytes.
-- Reply: 0 if another is the writer, else key and record of each; a record that is gone is passed over, and forgotten.

local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local reply, bytes = {}, 0
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1)) do
  local record = redis.pcall('GET', key)
  if type(record) ~= 'string' then
    redis.call('ZREM', KEYS[1], key)
  else
    bytes = bytes + #record
    if #reply > 0 and bytes > tonumber(ARGV[4]) then break end
    reply[#reply + 1] = key
    reply[#reply + 1] = record
  end
end
return reply
