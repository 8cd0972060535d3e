-- A call has ended: its place is free; an answer makes room for more.
-- KEYS: throttle. ARGV: consumer, answered ('1').

local throttle, calls = KEYS[1], KEYS[1] .. ':calls'
if redis.call('ZREM', calls, ARGV[1]) == 0 or ARGV[2] ~= '1' then return end
local about = redis.call('HMGET', throttle, 'limit', 'slow', 'grown', 'peak')
if not about[1] then return end
redis.call('HSET', throttle, 'strikes', 0)
-- A limit that nobody comes near is not tried out by growing.
local limit = tonumber(about[1])
if tonumber(about[4]) * 2 < limit then return end
if about[2] == '1' or tonumber(about[3]) + 1 >= limit then
  redis.call('HSET', throttle, 'limit', limit + 1, 'grown', 0)
else
  redis.call('HINCRBY', throttle, 'grown', 1)
end
