-- A call has ended: its place is free; an answer makes room for more, and shows that a refused key is taken again.
-- KEYS: throttle. ARGV: consumer, answered ('1'), how long until a refused key is tried again if it says nothing (ms).
-- Reply: 1 if calls are no longer held back.

local throttle, calls = KEYS[1], KEYS[1] .. ':calls'
if redis.call('ZREM', calls, ARGV[1]) == 0 then return 0 end
local about = redis.call('HMGET', throttle, 'limit', 'slow', 'grown', 'peak', 'refused')
if not about[1] then return 0 end
if about[5] then
  if ARGV[2] == '1' then return redis.call('DEL', throttle) end
  local now = now_ms()
  redis.call('HSET', throttle, 'not_before', string.format('%.0f', now + ARGV[3]), 'since', string.format('%.0f', now))
  return 0
end
if ARGV[2] ~= '1' then return 0 end
redis.call('HSET', throttle, 'strikes', 0)
-- A limit that no worker comes near is not tried out by growing.
local limit = tonumber(about[1])
if tonumber(about[4]) * 2 < limit then return 0 end
if about[2] == '1' or tonumber(about[3]) + 1 >= limit then
  redis.call('HSET', throttle, 'limit', limit + 1, 'grown', 0)
else
  redis.call('HINCRBY', throttle, 'grown', 1)
end
return 0
