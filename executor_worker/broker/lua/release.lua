-- Give an entry back: it stays pending, but stale at once for every worker, and all keepers are told.
-- KEYS: stream, settled markers, group resets. ARGV: group, consumer, entry, count, forgive ('1'), channel.
-- Reply: 1, or 0 if it was not ours.

local where, idle = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if where ~= 'ours' then return 0 end
if idle >= GIVEN_BACK_MS then return 1 end -- it was done, the reply to that was lost
must_hold('hash', KEYS[1] .. UNCOUNTED)
gates.limit.free_places(ARGV[1], KEYS[1], ARGV[3])
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', RELEASED_MS, 'JUSTID')
if ARGV[5] == '1' then redis.call('HINCRBY', KEYS[1] .. UNCOUNTED, ARGV[3], 1) end
redis.pcall('PUBLISH', ARGV[6], KEYS[1] .. ' ' .. ARGV[3])
return 1
