-- Give an entry back until what it needs is there: it stays pending, held by no worker, and waits in its place.
-- KEYS: stream, settled markers, group resets, what it waits for. ARGV: group, consumer, entry, count, tries so far,
-- when it is too late for it (ms; 0: never), its state's key, ms until it is due or '': then this was an attempt of it.
-- Reply: 1, or 0 if it was not ours.

local where, idle = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if where ~= 'ours' then return 0 end
local uncounted = KEYS[1] .. UNCOUNTED
must_hold('hash', uncounted, PARKED, PARKED_COUNTS)
must_hold('zset', KEYS[4] .. ':waiting', KEYS[4] .. ':calls')
must_hold('set', AWAITED)
gates.limit.free_places(ARGV[1], KEYS[1], ARGV[3])
if idle < GIVEN_BACK_MS then -- else it was done, the reply to that was lost
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', RELEASED_MS, 'JUSTID')
  if ARGV[8] == '' then
    redis.call('HINCRBY', uncounted, ARGV[3], 1)
  else
    redis.call('HINCRBY', uncounted, ARGV[3] .. ' repeats', 1)
    waits.park(KEYS[1], ARGV[3], KEYS[4], ARGV[6], ARGV[7], whole(now_ms() + ARGV[8]))
  end
end
if ARGV[5] ~= '0' then
  redis.call('HSET', uncounted, ARGV[3] .. ' refused', ARGV[5])
else
  redis.call('HDEL', uncounted, ARGV[3] .. ' refused') -- that was a call before
end
if ARGV[8] == '' then waits.park(KEYS[1], ARGV[3], KEYS[4], ARGV[6], ARGV[7]) end
redis.call('ZREM', KEYS[4] .. ':calls', ARGV[2])
return 1
