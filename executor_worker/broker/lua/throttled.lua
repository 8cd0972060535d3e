-- A worker was throttled: no worker calls before the time, and then fewer at once. All keepers are told.
-- KEYS: throttle. ARGV: consumer, wait_ms (-1: the provider named none), the cut its call was made under,
-- calls its pool has in flight, first wait_ms where none was named, longest such wait_ms, quiet_ms, channel, longest
-- wait_ms that is kept to: one call tries after that; why.
-- Reply: {the cut, ms to wait}.

local throttle, consumer, asked_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now, calls = now_ms(), throttle .. ':calls'
local about = redis.call('HMGET', throttle, 'not_before', 'limit', 'cuts', 'strikes', 'since', 'began')
local cuts, strikes = tonumber(about[3] or 0), tonumber(about[4] or 0)
-- A worker that called before the last cut says nothing new: all of a burst are refused, that is one refusal.
if cuts == 0 or cuts == tonumber(ARGV[3]) then
  redis.call('ZREMRANGEBYSCORE', calls, '-inf', now)
  local flying = cuts == 0 and tonumber(ARGV[4]) or math.min(tonumber(about[2]), redis.call('ZCARD', calls))
  local limit, slow = math.max(math.floor(flying / 2), 1), cuts == 0 and '1' or '0'
  cuts, strikes = cuts + 1, strikes + 1
  redis.call('HSET', throttle, 'limit', limit, 'cuts', cuts, 'slow', slow, 'grown', 0, 'strikes', strikes, 'peak', 0)
end
if asked_ms < 0 then asked_ms = math.min(ARGV[5] * 2 ^ math.min(strikes - 1, 20), tonumber(ARGV[6])) end
if asked_ms > tonumber(ARGV[9]) then
  asked_ms = tonumber(ARGV[9])
  redis.call('HSET', throttle, 'limit', 1, 'slow', '1', 'grown', 0, 'peak', 0)
end
local until_ms = math.max(gates.throttle.opening(about[1], about[5], now), now + math.floor(asked_ms))
redis.call('HSET', throttle, 'not_before', string.format('%.0f', until_ms), 'since', string.format('%.0f', now),
  'began', about[6] or string.format('%.0f', now), 'why', ARGV[10])
redis.call('HDEL', throttle, 'refused') -- its key is taken again
redis.call('PEXPIRE', throttle, string.format('%.0f', until_ms - now + ARGV[7]))
redis.call('ZREM', calls, consumer)
redis.call('SADD', AWAITED, throttle)
redis.pcall('PUBLISH', ARGV[8], throttle)
return {cuts, until_ms - now}
