-- A provider refuses the key of a call. If the key has worked before, calls of the model are held back, but for one every
-- probe_ms that tries; all keepers are told.
-- KEYS: throttle, the key's models. ARGV: consumer, model ('': the key is refused for all), known to have worked ('1'),
-- probe_ms, how long to remember (ms), why, channel.
-- Reply: ms to wait, -1 if the key has never worked.

local throttle, now = KEYS[1], now_ms()
local worked = ARGV[3] == '1'
if not worked and ARGV[2] == '' then worked = redis.call('EXISTS', KEYS[2]) == 1 end
if not worked and ARGV[2] ~= '' then worked = redis.call('HGET', KEYS[2], ARGV[2]) and true end
local calls = throttle .. ':calls'
redis.call('ZREM', calls, ARGV[1])
if not worked then return -1 end
local about = redis.call('HMGET', throttle, 'cuts', 'refused', 'began')
redis.call('HSET', throttle, 'limit', 1, 'cuts', tonumber(about[1] or 0) + 1, 'slow', '1', 'grown', 0, 'peak', 0,
  'strikes', 0, 'not_before', string.format('%.0f', now + ARGV[4]), 'since', string.format('%.0f', now),
  'refused', ARGV[6], 'why', ARGV[6], 'began', about[2] and about[3] or string.format('%.0f', now))
redis.call('PEXPIRE', throttle, ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5]) -- it stays one that has worked
redis.call('SADD', AWAITED, throttle)
redis.pcall('PUBLISH', ARGV[7], throttle)
return tonumber(ARGV[4])
