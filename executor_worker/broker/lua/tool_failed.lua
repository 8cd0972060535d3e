-- A call of a tool brought no answer. Too many in a row, of whichever workers, and it is held back; all keepers are told of
-- the first, so that all say from then on which calls are answered.
-- KEYS: its breakers: the first that is open answers for those after it. ARGV: consumer, error code, how many in a row
-- are too many, how long one is remembered (ms), channel.
-- Reply: {ms until the next try, -1: nothing is held back; by which of them; 1 if it was before; failures in a row}.

local now, too_many = now_ms(), tonumber(ARGV[3])
for i, breaker in ipairs(KEYS) do
  local failures = redis.call('HINCRBY', breaker, 'failures', 1)
  if failures == 1 then redis.call('HSET', breaker, 'began', whole(now)) end
  redis.call('HSET', breaker, 'why', ARGV[2])
  local was_open = gates.breaker.is_open(breaker)
  local probed = redis.call('HGET', breaker, 'prober') == ARGV[1]
  if probed then redis.call('HDEL', breaker, 'prober') end
  if probed or (failures >= too_many and not was_open) then gates.breaker.try_again_later(breaker, now) end
  redis.call('PEXPIRE', breaker, ARGV[4])
  redis.call('SADD', AWAITED, breaker)
  if failures == 1 or (gates.breaker.is_open(breaker) and not was_open) then redis.pcall('PUBLISH', ARGV[5], breaker) end
  if gates.breaker.is_open(breaker) then return {gates.breaker.held_back(breaker, '', now), i, was_open and 1 or 0, failures} end
end
return {-1, 0, 0, 0}
