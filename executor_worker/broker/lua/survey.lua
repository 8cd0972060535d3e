-- Look at all throttles: renew the places of those who still call, forget throttles that hold nobody back any more.
-- KEYS: the set of throttles. ARGV: lease_ms, most entries wanted, then consumers whose calls go on.
-- Reply: {throttles that are left, ms until the next may open or -1, then stream and entry of what could be taken}.

local now, lease_ms, wanted = now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = {0, -1}
for _, throttle in ipairs(throttles()) do
  local calls, waiting = throttle .. ':calls', throttle .. ':waiting'
  for i = 3, #ARGV do
    if redis.call('ZADD', calls, 'XX', 'CH', now + lease_ms, ARGV[i]) == 1 then
      redis.call('PEXPIRE', calls, lease_ms)
    end
  end
  local opens = turn(throttle, '', now)
  if redis.call('EXISTS', throttle, waiting) == 0 then
    redis.call('SREM', THROTTLES, throttle)
  else
    reply[1] = reply[1] + 1
    if opens > 0 and (reply[2] < 0 or opens < reply[2]) then reply[2] = opens end
  end
  if opens == 0 then
    local limit = tonumber(redis.call('HGET', throttle, 'limit') or wanted)
    local free = math.min(limit - redis.call('ZCARD', calls), wanted)
    if free > 0 then
      for _, member in ipairs(redis.call('ZRANGE', waiting, 0, free - 1)) do
        local stream, entry = string.match(member, '^(.*) (%S+)$')
        table.insert(reply, stream)
        table.insert(reply, entry)
      end
    end
  end
end
if reply[1] == 0 then redis.call('DEL', PARKED) end
return reply
